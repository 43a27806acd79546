"""Counts where a SentencePiece model gives other ids than the original tokenizer.

Random id pairs are counted as litert-torch counts them, except that its check also accepts a lost
first token: two different ids are decoded to a text, and both encode it. A pair is a *strict*
mismatch when the ids differ at all, and also a *loose* one when the original gave the pair back
itself, so that the text is one that the original would be asked to continue.

A corpus is read in blocks of whole lines. A token is *wrong* when an alignment of both id
sequences does not find it; a block's *round trip is broken* when decoding does not give its text
back although the original's own decoding does.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer

from . import TokenizerError
from .sentencepiece_model import check
from .tokenizer_json import original

BLOCK_CHARACTERS = 4096
SHOWN = 10  # mismatches kept of each part
ROWS = 20  # corpora in the table; JSON has all
CONTEXT_TOKENS = 3  # shown before and after the tokens that differ
PAIRS_A_STEP = 500  # between two calls of progress
PROGRESS_BYTES_PER_PAIR = 64  # a pair takes about as long as this much of a corpus


@dataclass(frozen=True)
class Mismatch:
    """The first tokens that differ in one text, with a few around them."""

    text: str
    expected: tuple[str, ...]
    got: tuple[str, ...]


@dataclass(frozen=True)
class PairResult:
    """The count over random id pairs."""

    pairs: int
    seed: int
    strict: int
    loose: int
    first: tuple[Mismatch, ...]


@dataclass(frozen=True)
class CorpusResult:
    """The count over one file. Seconds are of encoding alone, one block at a time."""

    name: str
    size_bytes: int
    blocks: int
    blocks_wrong: int
    tokens: int
    tokens_wrong: int
    round_trips_broken: int
    seconds_original: float
    seconds_rebuilt: float
    first: tuple[Mismatch, ...]


@dataclass(frozen=True)
class Report:
    """Everything that was compared."""

    vocabulary_size: int
    pieces: int
    pairs: PairResult
    corpora: tuple[CorpusResult, ...]

    @property
    def worst_rate(self) -> float:
        """The largest of all rates, 0.0 to 1.0: what a threshold is compared with."""
        rates = [_rate(self.pairs.strict, self.pairs.pairs)]
        for corpus in self.corpora:
            rates.append(_rate(corpus.tokens_wrong, corpus.tokens))
            rates.append(_rate(corpus.round_trips_broken, corpus.blocks))
        return max(rates)

    def to_json(self) -> str:
        """The report as a JSON object, with the rates beside the counts."""
        document: dict[str, Any] = asdict(self) | {"worst_rate": self.worst_rate}
        document["pairs"] |= {
            "strict_rate": _rate(self.pairs.strict, self.pairs.pairs),
            "loose_rate": _rate(self.pairs.loose, self.pairs.pairs),
        }
        for corpus in document["corpora"]:
            corpus["tokens_wrong_rate"] = _rate(corpus["tokens_wrong"], corpus["tokens"])
        return json.dumps(document, ensure_ascii=False, indent=2)

    def table(self) -> str:
        """The report as plain text for people."""
        pairs = self.pairs
        lines = [
            f"{self.vocabulary_size} ids, {self.pieces} pieces",
            f"random id pairs (seed {pairs.seed}): {pairs.strict} of {pairs.pairs} strict "
            f"({_percent(pairs.strict, pairs.pairs)}), {pairs.loose} loose "
            f"({_percent(pairs.loose, pairs.pairs)})",
        ]
        if self.corpora:
            lines += ["", *_corpus_table(self.corpora)]
        shown = [*pairs.first, *(m for corpus in self.corpora for m in corpus.first)][:SHOWN]
        if shown:
            lines += ["", "first mismatches (expected, then got):"]
        for mismatch in shown:
            lines.append(f"  {mismatch.text!r}")
            lines.append("    " + " ".join(map(repr, mismatch.expected)))
            lines.append("    " + " ".join(map(repr, mismatch.got)))
        return "\n".join(lines)


def _rate(count: int, total: int) -> float:
    return count / total if total else 0.0


def _percent(count: int, total: int) -> str:
    return f"{100 * _rate(count, total):.4g} %"


def _corpus_table(corpora: Sequence[CorpusResult]) -> list[str]:
    """One line each for the worst corpora and for the sum of all; columns are aligned."""
    rows = [
        ("corpus", "MB", "tokens", "tokens wrong", "blocks wrong", "round trip", "MB/s", "original")
    ]
    worst = sorted(corpora, key=lambda corpus: -_rate(corpus.tokens_wrong, corpus.tokens))
    entries = [*worst[:ROWS], _total(corpora)] if len(corpora) > 1 else worst
    for corpus in entries:
        megabytes = corpus.size_bytes / 1e6
        rows.append(
            (
                corpus.name,
                f"{megabytes:.2f}",
                str(corpus.tokens),
                f"{corpus.tokens_wrong} ({_percent(corpus.tokens_wrong, corpus.tokens)})",
                f"{corpus.blocks_wrong} of {corpus.blocks}",
                f"{corpus.round_trips_broken} broken",
                f"{_rate_per_second(megabytes, corpus.seconds_rebuilt):.1f}",
                f"{_rate_per_second(megabytes, corpus.seconds_original):.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if position else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _rate_per_second(amount: float, seconds: float) -> float:
    return amount / seconds if seconds else 0.0


def _total(corpora: Sequence[CorpusResult]) -> CorpusResult:
    return CorpusResult(
        name=f"all {len(corpora)}",
        size_bytes=sum(c.size_bytes for c in corpora),
        blocks=sum(c.blocks for c in corpora),
        blocks_wrong=sum(c.blocks_wrong for c in corpora),
        tokens=sum(c.tokens for c in corpora),
        tokens_wrong=sum(c.tokens_wrong for c in corpora),
        round_trips_broken=sum(c.round_trips_broken for c in corpora),
        seconds_original=sum(c.seconds_original for c in corpora),
        seconds_rebuilt=sum(c.seconds_rebuilt for c in corpora),
        first=(),
    )


def compare(
    document: dict[str, Any],
    model: bytes,
    *,
    pairs: int = 20_000,
    seed: int = 0,
    corpora: Sequence[Path] = (),
    progress: Callable[[float], None] | None = None,
) -> Report:
    """Compares a SentencePiece model with the tokenizer of a validated tokenizer.json document.

    pairs: random id pairs, drawn with `seed`; corpora: text files, read as UTF-8 (bytes that are
    none count as U+FFFD); progress: called with 0.0 to 1.0. Raises TokenizerError when the model
    or a file cannot be used.
    """
    pieces = check(model, "SentencePiece model")
    comparison = _Comparison(original(document), SentencePieceProcessor(model_proto=model))
    sizes = [_size(path) for path in corpora]
    total = sum(sizes) + pairs * PROGRESS_BYTES_PER_PAIR
    done = 0

    def advance(amount: int) -> None:
        nonlocal done
        done += amount
        if progress is not None:
            progress(done / total)

    pair_result = comparison.pairs(pairs, seed, lambda n: advance(n * PROGRESS_BYTES_PER_PAIR))
    corpus_results = tuple(
        comparison.corpus(path, size, advance) for path, size in zip(corpora, sizes, strict=True)
    )
    size = comparison.original.get_vocab_size(with_added_tokens=True)
    return Report(size, pieces, pair_result, corpus_results)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> TokenizerError:
    return TokenizerError(f"{path}: {error.strerror or error}; a readable text file is needed")


def _blocks(path: Path) -> Iterator[str]:
    """The text of a file in pieces of about BLOCK_CHARACTERS, cut behind a line if there is one."""
    rest = ""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            while text := file.read(BLOCK_CHARACTERS):
                rest += text
                end = rest.rfind("\n") + 1 or len(rest)
                yield rest[:end]
                rest = rest[end:]
    except OSError as error:
        raise _unreadable(path, error) from error
    if rest:
        yield rest


@dataclass
class _Timer:
    original: float = 0.0
    rebuilt: float = 0.0


@dataclass(frozen=True)
class _Comparison:
    original: Tokenizer
    rebuilt: SentencePieceProcessor
    timer: _Timer = field(default_factory=_Timer)

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """The ids that both give, and adds the time that each took."""
        start = time.perf_counter()
        expected = self.original.encode(text, add_special_tokens=False).ids
        middle = time.perf_counter()
        got = self.rebuilt.encode(text)
        self.timer.original += middle - start
        self.timer.rebuilt += time.perf_counter() - middle
        return expected, got

    def pairs(self, count: int, seed: int, advance: Callable[[int], None]) -> PairResult:
        ids = sorted(self.original.get_vocab(with_added_tokens=True).values())
        draw = random.Random(seed)
        strict = loose = 0
        first: list[Mismatch] = []
        for position in range(count):
            pair = draw.sample(ids, 2)
            text = self.original.decode(pair, skip_special_tokens=False)
            expected, got = self.encode(text)
            if expected != got:
                strict += 1
                loose += expected == pair
                if len(first) < SHOWN:
                    first.append(self.mismatch(expected, got))
            if position % PAIRS_A_STEP == 0:
                advance(min(PAIRS_A_STEP, count - position))
        return PairResult(count, seed, strict, loose, tuple(first))

    def corpus(self, path: Path, size_bytes: int, advance: Callable[[int], None]) -> CorpusResult:
        before = (self.timer.original, self.timer.rebuilt)
        blocks = blocks_wrong = tokens = tokens_wrong = broken = 0
        first: list[Mismatch] = []
        for block in _blocks(path):
            expected, got = self.encode(block)
            blocks += 1
            tokens += len(expected)
            if expected != got:
                blocks_wrong += 1
                tokens_wrong += _not_found(expected, got)
                if len(first) < SHOWN:
                    first.append(self.mismatch(expected, got))
            broken += self.rebuilt.decode(got) != block and self.keeps(expected, block)
        advance(size_bytes)
        return CorpusResult(
            name=str(path),
            size_bytes=size_bytes,
            blocks=blocks,
            blocks_wrong=blocks_wrong,
            tokens=tokens,
            tokens_wrong=tokens_wrong,
            round_trips_broken=broken,
            seconds_original=self.timer.original - before[0],
            seconds_rebuilt=self.timer.rebuilt - before[1],
            first=tuple(first),
        )

    def keeps(self, ids: list[int], text: str) -> bool:
        """Whether the original itself gives the text back."""
        return self.original.decode(ids, skip_special_tokens=False) == text

    def mismatch(self, expected: list[int], got: list[int]) -> Mismatch:
        start, end_expected, end_got = _difference(expected, got)
        start = max(0, start - CONTEXT_TOKENS)
        end_expected += CONTEXT_TOKENS
        shown = expected[start : min(end_expected, start + 6 * CONTEXT_TOKENS)]
        also = got[start : min(end_got + CONTEXT_TOKENS, start + 6 * CONTEXT_TOKENS)]
        return Mismatch(
            self.original.decode(shown, skip_special_tokens=False),
            tuple(self.name(token_id) for token_id in shown),
            tuple(self.name(token_id) for token_id in also),
        )

    def name(self, token_id: int) -> str:
        return self.original.id_to_token(token_id) or f"<id {token_id}>"


def _difference(expected: list[int], got: list[int]) -> tuple[int, int, int]:
    """Where the sequences begin to differ, and where the difference ends in each of them."""
    shorter = min(len(expected), len(got))
    start = next((i for i in range(shorter) if expected[i] != got[i]), shorter)
    same = 0
    while same < shorter - start and expected[-1 - same] == got[-1 - same]:
        same += 1
    return start, len(expected) - same, len(got) - same


def _not_found(expected: list[int], got: list[int]) -> int:
    """The tokens of `expected` that an alignment does not find in `got`, at least 1.

    A sequence that only has tokens too many differs as well: it counts as one wrong token.
    """
    start, end_expected, end_got = _difference(expected, got)
    between = expected[start:end_expected]
    matcher = SequenceMatcher(None, between, got[start:end_got], autojunk=False)
    found = sum(match.size for match in matcher.get_matching_blocks())
    return max(1, len(between) - found)
