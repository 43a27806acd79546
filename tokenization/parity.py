"""Counts where a SentencePiece model gives other ids than the original tokenizer.

The sections of the report, by name. Where the rate is a share of strings, a string is wrong when
its ids differ at all; else it is a share of the original's tokens. In both cases decoding is tried
as well: a round trip is broken when the rebuilt model does not give the text back although the
original does.

pairs/honest, pairs/strict, pairs/loose: texts that two random ids stand for; what each counts is
    said in `comparer.Comparer.compare_pairs`. Shares of strings.
sample/CATEGORY: the corpus that ships, in blocks of whole lines (`corpus`). Shares of tokens.
corpus/FILE: the same of the user's files.
fuzz/CLASS: random texts (`fuzz`). Shares of strings.
added/alone, added/in-text: each added token, and each between letters, spaces and its own likes.
vocabulary: the text of each other token.
bytes: for each byte that UTF-8 has, characters that are written with it; code-points: each up to
    U+07FF. All of them alone, between letters, and behind a space.

Work is cut into chunks in an order that does not depend on how many processes share it, and the
results are added up in that order: the counts and the mismatches shown are the same for any number.
"""

import random
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from . import TokenizerError, corpus, fuzz
from .comparer import HONEST, LOOSE, STRICT, Comparer, Pair
from .sentencepiece_model import check
from .tally import Section, Tally

ROUND_TRIP = "round-trip"
GROUPS = ("pairs", "sample", "corpus", "fuzz", "added", "vocabulary", "bytes", "code-points")
TEXTS_A_CHUNK = 500
BLOCKS_A_CHUNK = 32
WAITING_A_PROCESS = 3  # chunks, so that a corpus is never in memory as a whole
STRING_BYTES = 64  # a short string takes about as long as this much of a corpus
LAST_POINT = 0x7FF
SURROUNDED = "{0}", "a{0}b", " {0} ", "{0}{0}"
ADDED_IN_TEXT = "a{0}b", " {0} ", "{0}{0}", "x\n{0}\n", "'{0}'s", "1{0}2", "({0})"
FIRST_BYTES = (*range(0xC2, 0xF5),)  # Source: Unicode 16, table 3-7


@dataclass(frozen=True)
class Options:
    """What to compare on.

    pairs: random id pairs; fuzz: texts of each class; seed: of both; corpora: text files, read as
    UTF-8 (bytes that are none count as U+FFFD), or with engine "ray" paths that Ray Data can read:
    of text files, or with `column` of Parquet files; jobs: processes; groups: the sections to make.
    """

    pairs: int = 20_000
    fuzz: int = 2_000
    seed: int = 0
    corpora: tuple[str, ...] = ()
    jobs: int = 1
    engine: Literal["local", "ray"] = "local"
    column: str | None = None
    groups: tuple[str, ...] = GROUPS


@dataclass(frozen=True)
class Report:
    """Everything that was compared."""

    vocabulary_size: int
    pieces: int
    options: Options
    sections: tuple[Section, ...]

    def section(self, name: str) -> Section:
        """The section of that name, which must be there."""
        (found,) = [section for section in self.sections if section.name == name]
        return found

    @property
    def round_trip(self) -> Section:
        """The round trips of all sections: a share of the strings."""
        # strict and loose pairs are the honest ones counted again
        once = [s.tally for s in self.sections if s.name not in (STRICT, LOOSE)]
        strings = sum(tally.strings for tally in once)
        broken = sum(tally.round_trips_broken for tally in once)
        return Section(ROUND_TRIP, "strings", Tally(strings=strings, strings_wrong=broken))

    def above(self, thresholds: Mapping[str, float]) -> list[Section]:
        """The sections whose rate is above their threshold.

        thresholds: by the name of a section, of a group, as "fuzz", or "" for all others.
        """
        return [
            section
            for section in (*self.sections, self.round_trip)
            if section.rate > threshold(section.name, thresholds)
        ]


@dataclass(frozen=True)
class Plan:
    """A section to make: the texts in chunks, and how much work they are, in bytes of a corpus."""

    name: str
    by: Literal["strings", "tokens"]
    work: int
    chunks: Callable[[], Iterator["Chunk"]]


@dataclass(frozen=True)
class Chunk:
    """Some texts of a section, with the ids that they were decoded from if it is of pairs."""

    texts: list[str]
    pairs: list[Pair] = field(default_factory=list)


Results = dict[str, Tally]
Progress = Callable[[float], None]


def compare(
    document: dict[str, Any],
    model: bytes,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Report:
    """Compares a SentencePiece model with the tokenizer of a validated tokenizer.json document.

    progress: called with 0.0 to 1.0. Raises TokenizerError when the model or a file cannot be used.
    """
    options = options or Options()
    pieces = check(model, "SentencePiece model")
    comparer = Comparer(document, model)
    plans = list(_plans(comparer, options))
    total = max(1, sum(plan.work for plan in plans))  # files may be empty
    sections: list[Section] = []
    done = 0
    with _Runner(document, model, comparer, options.jobs) as runner:
        for plan in plans:

            def advance(work: int, most: int = plan.work, before: int = done) -> None:
                if progress is not None:
                    progress((before + min(work, most)) / total)

            sections += _sections(plan, runner.run(plan, advance))
            done += plan.work
            advance(plan.work)
    if options.engine == "ray" and "corpus" in options.groups:
        sections += _with_ray(document, model, options)
    size = comparer.reference.tokenizer.get_vocab_size(with_added_tokens=True)
    return Report(size, pieces, options, tuple(sections))


def _with_ray(document: dict[str, Any], model: bytes, options: Options) -> Iterator[Section]:
    from . import parity_ray

    for path in options.corpora:
        tally = parity_ray.compare(document, model, path, options.column, options.jobs)
        yield Section(f"corpus/{path}", "tokens", tally)


def threshold(name: str, thresholds: Mapping[str, float]) -> float:
    """The threshold of a section: its own, its group's, or the one for all, else 0.0."""
    for key in (name, name.partition("/")[0], ""):
        if key in thresholds:
            return thresholds[key]
    return 0.0


def threshold_names(options: Options) -> set[str]:
    """What a threshold may be given for: the groups, and the sections that these options give."""
    return {*GROUPS, *_section_names(options), ROUND_TRIP}


def _section_names(options: Options) -> list[str]:
    names = {
        "pairs": [HONEST, STRICT, LOOSE],
        "sample": [f"sample/{category}" for category in corpus.CATEGORIES],
        "corpus": [f"corpus/{path}" for path in options.corpora],
        "fuzz": [f"fuzz/{name}" for name in fuzz.CLASSES],
        "added": ["added/alone", "added/in-text"],
    }
    return [name for group in options.groups for name in names.get(group, [group])]


def _sections(plan: Plan, results: Results) -> Iterator[Section]:
    if plan.name == "pairs":
        names = (HONEST, STRICT, LOOSE)
        yield from (Section(name, plan.by, results.get(name, Tally())) for name in names)
    else:
        yield Section(plan.name, plan.by, results.get(plan.name, Tally()))


def _plans(comparer: Comparer, options: Options) -> Iterator[Plan]:
    """The sections to make, in the order of the report. Looks at the corpora's files first."""
    corpora = [Path(path) for path in options.corpora] if options.engine == "local" else []
    sizes = {path: corpus.size_bytes(path) for path in corpora}
    groups = options.groups
    if "pairs" in groups:
        pairs = lambda: _pairs(comparer, options)  # noqa: E731
        yield Plan("pairs", "strings", options.pairs * STRING_BYTES, pairs)
    if "sample" in groups:
        for category in corpus.CATEGORIES:
            files = corpus.sample(category)
            size = sum(map(corpus.size_bytes, files))
            yield Plan(f"sample/{category}", "tokens", size, _files(files))
    if "corpus" in groups:
        for path, size in sizes.items():
            yield Plan(f"corpus/{path}", "tokens", size, _files([path]))
    if "fuzz" in groups:
        for name in fuzz.CLASSES:
            yield _strings(f"fuzz/{name}", _fuzz(name, options), options.fuzz)
    added = [content for _, content in sorted(comparer.reference.added.items())]
    in_text = [form.format(content) for content in added for form in ADDED_IN_TEXT]
    if "added" in groups:
        yield _strings("added/alone", lambda: iter(added), len(added))
        yield _strings("added/in-text", lambda: iter(in_text), len(in_text))
    if "vocabulary" in groups:
        size = comparer.reference.tokenizer.get_vocab_size(with_added_tokens=False)
        yield _strings("vocabulary", lambda: _vocabulary(comparer), size)
    for name, characters in (("bytes", every_byte()), ("code-points", every_point())):
        if name in groups:
            texts = [form.format(c) for c in characters for form in SURROUNDED]
            yield _strings(name, lambda texts=texts: iter(texts), len(texts))


def _files(paths: Sequence[Path]) -> Callable[[], Iterator[Chunk]]:
    def chunks() -> Iterator[Chunk]:
        for path in paths:
            yield from _chunks(corpus.blocks(path), BLOCKS_A_CHUNK)

    return chunks


def _fuzz(name: str, options: Options) -> Callable[[], Iterator[str]]:
    return lambda: fuzz.texts(name, options.fuzz, options.seed)


def _strings(name: str, texts: Callable[[], Iterator[str]], count: int) -> Plan:
    work = count * STRING_BYTES
    return Plan(name, "strings", work, lambda: _chunks(texts(), TEXTS_A_CHUNK))


def _chunks(texts: Iterable[str], size: int) -> Iterator[Chunk]:
    iterator = iter(texts)
    while some := list(islice(iterator, size)):
        yield Chunk(some)


def _pairs(comparer: Comparer, options: Options) -> Iterator[Chunk]:
    """The texts of random pairs of different ids."""
    tokenizer = comparer.reference.tokenizer
    ids = sorted(tokenizer.get_vocab(with_added_tokens=True).values())
    draw = random.Random(options.seed)
    for start in range(0, options.pairs, TEXTS_A_CHUNK):
        count = min(TEXTS_A_CHUNK, options.pairs - start)
        pairs = [(pair[0], pair[1]) for pair in (draw.sample(ids, 2) for _ in range(count))]
        yield Chunk([tokenizer.decode(p, skip_special_tokens=False) for p in pairs], pairs)


def _vocabulary(comparer: Comparer) -> Iterator[str]:
    """The text of each token that is not added; U+FFFD for bytes that are no UTF-8 alone."""
    reference = comparer.reference
    for token_id in sorted(reference.bytes_of.keys() - reference.added.keys()):
        yield reference.tokenizer.decode([token_id], skip_special_tokens=False)


def every_byte() -> list[str]:
    """Characters whose UTF-8 has, all together, every byte that UTF-8 can have."""
    ascii_characters = [chr(byte) for byte in range(0x80)]
    continued = [chr(0x80 + byte) for byte in range(0x40)]
    return [*ascii_characters, *continued, *map(_first_with, FIRST_BYTES)]


def _first_with(first: int) -> str:
    """The first character that is assigned a text whose UTF-8 begins with a byte."""
    lengths = ((0xF0, 0x07, 18), (0xE0, 0x0F, 12), (0xC0, 0x1F, 6))
    mask, shift = next((mask, shift) for least, mask, shift in lengths if first >= least)
    point = (first & mask) << shift
    return chr(max(point, {12: 0x800, 18: 0x10000}.get(shift, 0x80)))


def every_point() -> list[str]:
    """Every code point up to LAST_POINT."""
    return [chr(point) for point in range(LAST_POINT + 1)]


class _Runner:
    """Compares the chunks of a plan: here for one job, else in so many processes."""

    def __init__(
        self, document: dict[str, Any], model: bytes, comparer: Comparer, jobs: int
    ) -> None:
        self.comparer = comparer
        self.jobs = jobs
        self.pool = (
            ProcessPoolExecutor(jobs, get_context("spawn"), _start, (document, model))
            if jobs > 1
            else None
        )

    def __enter__(self) -> "_Runner":
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)

    def run(self, plan: Plan, advance: Callable[[int], None]) -> Results:
        """The counts of a plan; `advance` is called with the bytes of the texts done so far."""
        totals: Results = {}
        work = 0
        for chunk, results in self._results(plan):
            for name, tally in results.items():
                totals.setdefault(name, Tally()).add(tally)
            work += sum(max(STRING_BYTES, len(text)) for text in chunk.texts)
            advance(work)
        return totals

    def _results(self, plan: Plan) -> Iterator[tuple[Chunk, Results]]:
        """Each chunk with its counts, in order."""
        if self.pool is None:
            for chunk in plan.chunks():
                yield chunk, _compared(self.comparer, plan.name, chunk)
            return
        waiting: deque[tuple[Chunk, Future[Results]]] = deque()
        try:
            for chunk in plan.chunks():
                waiting.append((chunk, self.pool.submit(_work, plan.name, chunk)))
                if len(waiting) > WAITING_A_PROCESS * self.jobs:
                    oldest, future = waiting.popleft()
                    yield oldest, future.result()
            for oldest, future in waiting:
                yield oldest, future.result()
        except BrokenProcessPool as error:
            raise TokenizerError(
                f"--jobs {self.jobs}: a process was ended from outside, as by lack of memory; "
                "fewer jobs may be needed"
            ) from error


def _compared(comparer: Comparer, name: str, chunk: Chunk) -> Results:
    if chunk.pairs:
        return comparer.compare_pairs(chunk.texts, chunk.pairs)
    return {name: comparer.compare(chunk.texts)}


_comparer: Comparer | None = None  # of a process of the pool, which lives for one comparison


def _start(document: dict[str, Any], model: bytes) -> None:
    global _comparer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to handle
    _comparer = Comparer(document, model)


def _work(name: str, chunk: Chunk) -> Results:
    assert _comparer is not None, "_start() has run"
    return _compared(_comparer, name, chunk)
