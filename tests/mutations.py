"""Damaged bundles by the thousand: `python tests/mutations.py --count 100000` prints a table.

Small bundles of both formats, with each kind of metadata and tokenizer, are changed at random, by a
seed: bits and bytes, numbers at any place replaced by those that break readers, pieces cut out,
doubled, moved, or taken from another bundle, and the end cut off. Half of the `.task` inputs are
put together of a changed part, so that its CRC-32 is right. Each is then read by all that reads
files of others: the bundle, `inspect`, `doctor` without its trial, `unpack`, `repack` to the other
format, and `diff` with a whole one. A result or one error of ours, in one short line, is right;
everything else fails: another exception, more than 2 s, more than 300 MB, or the end of the
process. `--only KIND:NUMBER` makes one of them again, with its traceback.
"""

import argparse
import multiprocessing
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import product
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from queue import Empty
from typing import Any

from taskpress.bundler import BundleError, archive, hf_tokenizer, llm_metadata, metadata
from taskpress.bundler.both_metadata import encode as encode_both
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.comparing import differences
from taskpress.bundler.diagnosis import diagnose
from taskpress.bundler.litertlm import HF_TOKENIZER, write_litertlm
from taskpress.bundler.llm_metadata import LlmMetadata, Sampler
from taskpress.bundler.memory import peak_memory_bytes
from taskpress.bundler.packing import Packing
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from taskpress.bundler.repacking import repack
from taskpress.bundler.runtimes import LITERT_LM
from taskpress.bundler.settings import BundleSettings, TextFormat
from taskpress.bundler.summary import summarize
from taskpress.bundler.templates import ChatFormat
from taskpress.bundler.unpacking import unpack
from taskpress.tokenization import TokenizerError

MOST_SECONDS = 2.0
MOST_BYTES = 300 << 20
MOST_ADDRESSES = 4 << 30  # libraries map a good part of it
_TOLD = 500  # inputs after which a process tells what it has found
MOST_CHARACTERS = 500
KINDS = ("task", "litertlm")
CHAT = ChatFormat(
    start_token="<s>",
    session_prefix="<u>be kind</s>",
    user_prefix="<u>",
    user_suffix="</s>",
    model_prefix="<m>",
    model_suffix="</s>",
    stops=("</s>",),
)


@dataclass
class Outcome:
    """What became of some inputs. failures: "KIND:NUMBER: what happened"."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    peak: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        self.counts += other.counts
        self.slowest = max(self.slowest, other.slowest)
        self.peak = max(self.peak, other.peak)
        self.failures += other.failures


@dataclass(frozen=True)
class Base:
    """A whole bundle, and what it is made of."""

    data: bytes
    parts: dict[str, bytes]


def bases(folder: Path, model: bytes, tokenizers: list[bytes]) -> dict[str, list[Base]]:
    """Whole bundles, by kind. model, tokenizers: small ones."""
    described = LlmMetadata(64, chat_template="{{ 1 }}", sampler=Sampler("top_p", 4, 0.9, 0.5))
    parameters = CHAT.parameters(("</s>",))
    ids = ["<unk>", "<s>", "</s>"].index
    theirs = llm_metadata.encode(parameters, described, ids)
    both = encode_both(TextFormat(parameters, CHAT), described, ids)
    document = (
        b'{"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": '
        b'{"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3}, "merges": []}}'
    )
    found: dict[str, list[Base]] = {kind: [] for kind in KINDS}
    path = folder / "base"
    for data, tokenizer in product((metadata.encode(parameters), theirs, both), tokenizers):
        parts = {MODEL: model, TOKENIZER: tokenizer, METADATA: data}
        found["task"].append(Base(assembled(parts), parts))
    json = (HF_TOKENIZER, hf_tokenizer.pack(document))
    for name, data in (*((TOKENIZER, tokenizer) for tokenizer in tokenizers), json):
        parts = {METADATA: theirs, name: data, MODEL: model}
        write_litertlm(path, parts, force=True)
        found["litertlm"].append(Base(path.read_bytes(), parts))
    return found


def assembled(parts: dict[str, bytes]) -> bytes:
    """A `.task` of these parts, with the CRC-32 of each."""
    placed = archive.plan([(name, len(data)) for name, data in parts.items()])
    checked = [
        (place, zlib.crc32(data)) for place, data in zip(placed, parts.values(), strict=True)
    ]
    out = bytearray()
    for (place, crc32), data in zip(checked, parts.values(), strict=True):
        out += bytes(place.header - len(out)) + archive.local_header(place, crc32) + data
    return bytes(out) + archive.directory(checked, len(out))


def mutated(originals: list[Base], number: int, seed: int) -> bytes:
    """The input of a number; the same one for the same arguments."""
    draw = random.Random(f"{seed}:{number}")
    base = draw.choice(originals)
    if base.data[4:6] == b"PK" and draw.random() < 0.5:
        name = draw.choice(list(base.parts))
        others = [other.parts[name] for other in originals]
        return assembled(base.parts | {name: _changed(base.parts[name], others, draw)})
    return _changed(base.data, [other.data for other in originals], draw)


def _changed(original: bytes, others: list[bytes], draw: random.Random) -> bytes:
    data = bytearray(original)
    # half of a small bundle is padding: change what is something, most of the time
    filled = [at for at in range(0, len(data), 64) if any(data[at : at + 64])]
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at = min(len(data) - 1, draw.choice(filled) + draw.randrange(64))
        if at < 0:
            break
        draw.choice(CHANGES)(data, at, draw, others)
    return bytes(data)


Change = Callable[[bytearray, int, random.Random, list[bytes]], None]


def _bit(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    data[at] ^= 1 << draw.randrange(8)


def _byte(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    data[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))


def _number(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    """Another one of 1 to 8 bytes: a limit, or near what is there, or near the file's size."""
    size = draw.choice((1, 2, 4, 4, 8))
    at -= at % size
    there = int.from_bytes(data[at : at + size], "little")
    other = draw.choice(
        (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(data), at, there + 1, there - 1,
         there * 2, there + 4, -there, draw.getrandbits(64))
    )  # fmt: skip
    data[at : at + size] = (other % (1 << 8 * size)).to_bytes(size, "little")


def _cut(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    del data[at : at + draw.choice((1, 4, 64, draw.randrange(1, 4096)))]


def _end(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    del data[at:]


def _double(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    size = draw.choice((1, 4, 30, 64, 512))
    data[at:at] = data[at : at + size]


def _insert(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    data[at:at] = draw.randbytes(draw.choice((1, 2, 4, 16)))


def _move(data: bytearray, at: int, draw: random.Random, _: list[bytes]) -> None:
    size, start = draw.choice((4, 8, 32, 256)), draw.randrange(len(data))
    data[at : at + size] = data[start : start + size]


def _splice(data: bytearray, at: int, draw: random.Random, originals: list[bytes]) -> None:
    data[at:] = draw.choice(originals)[at:]


CHANGES: tuple[Change, ...] = (
    _bit, _bit, _byte, _byte, _number, _number, _number, _number,
    _cut, _end, _double, _insert, _move, _splice,
)  # fmt: skip


def read(path: Path, whole: Path, folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """All that reads a bundle, by name. whole: another one. folder: for what they write."""
    other = folder / ("out.litertlm" if path.suffix == ".task" else "out.task")
    yield "bundle", lambda: read_bundle(path)
    yield "inspect", lambda: _shown(summarize(path))
    yield "doctor", lambda: diagnose(path, trial=False)
    yield "unpack", lambda: unpack(path, folder / "unpacked")
    yield "repack", lambda: repack(path, other, BundleSettings(), Packing(LITERT_LM), force=True)
    yield "diff", lambda: list(differences(path, whole))


def _shown(summary: Any) -> str:
    return str(summary.to_dict()) + summary.table()


def attempt(path: Path, whole: Path, name: str, outcome: Outcome) -> None:
    """Lets everything read the input; what is wrong goes to the outcome's failures."""
    out = path.parent / "out"
    out.mkdir()
    for reader, call in read(path, whole, out):
        started = time.monotonic()
        try:
            call()
            outcome.counts[f"{reader}: a result"] += 1
        except (BundleError, TokenizerError) as error:
            outcome.counts[f"{reader}: an error"] += 1
            if not str(error).isprintable() or len(str(error)) > MOST_CHARACTERS:
                outcome.failures.append(f"{name}: {reader}: not one short line: {error!r:.600}")
        except Exception as error:
            trace = traceback.extract_tb(error.__traceback__)[-1]
            outcome.failures.append(
                f"{name}: {reader}: {error!r:.200} at {Path(trace.filename).name}:{trace.lineno}"
            )
        taken = time.monotonic() - started
        outcome.slowest = max(outcome.slowest, taken)
        if taken > MOST_SECONDS:
            outcome.failures.append(f"{name}: {reader}: took {taken:.1f} s")
    shutil.rmtree(out)
    outcome.peak = max(outcome.peak, peak_memory_bytes())


def run(originals: dict[str, list[Base]], kind: str, numbers: range, seed: int) -> Outcome:
    """In processes that may end: what they had begun then failed, and the rest goes on."""
    total, first = Outcome(), numbers.start
    context = multiprocessing.get_context("spawn")  # with nothing in memory of this one
    while first < numbers.stop:
        at = context.Value("q", first)
        queue = context.Queue()
        rest = range(first, numbers.stop)
        process = context.Process(target=_work, args=(originals[kind], kind, rest, seed, at, queue))
        process.start()
        ended = _ended(process, queue, at, total)
        if ended is None:
            break
        total.failures.append(f"{kind}:{at.value}: {ended}")
        first = at.value + 1
    if total.peak > MOST_BYTES:
        total.failures.append(f"{kind}: {total.peak >> 20} MB of memory")
    return total


def _ended(process: Any, queue: Any, at: "Synchronized[int]", total: Outcome) -> str | None:
    """Collects what the process finds; what became of it, unless it did all: it may hang."""
    last, since = at.value, time.monotonic()
    while True:
        alive = process.is_alive()  # before the queue is asked: it may put its last and end
        try:
            found = queue.get(timeout=0.5)
        except Empty:
            if not alive:
                return f"the process ended with {process.exitcode}"
        else:
            if found is None:
                process.join()
                return None
            total.add(found)
        if at.value != last:
            last, since = at.value, time.monotonic()
        if time.monotonic() - since > 5 * MOST_SECONDS:
            process.kill()
            process.join()
            return "hangs"


def _work(
    originals: list[Base],
    kind: str,
    numbers: range,
    seed: int,
    at: "Synchronized[int]",
    queue: Any,
) -> None:
    # memory that is asked for and never touched counts too: a reader must not ask for it
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    outcome = Outcome()
    shared = Path("/dev/shm")  # a file system in memory, where there is one
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        path, whole = Path(folder) / f"input.{kind}", Path(folder) / f"whole.{kind}"
        whole.write_bytes(originals[0].data)
        for number in numbers:
            at.value = number
            path.write_bytes(mutated(originals, number, seed))
            attempt(path, whole, f"{kind}:{number}", outcome)
            if number % _TOLD == 0:
                queue.put(outcome)
                outcome = Outcome()
    queue.put(outcome)
    queue.put(None)


def small_parts() -> tuple[bytes, list[bytes]]:
    """A model with the signatures of an LLM and no weights to speak of, and two tokenizers."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:  # torch's memory is not to be counted here
        return pool.apply(_small_parts)


def _small_parts() -> tuple[bytes, list[bytes]]:
    from echo_model import EchoModel
    from handmade_sentencepiece import CONTROL, NORMAL, UNKNOWN, USER_DEFINED
    from handmade_sentencepiece import model as sentencepiece
    from taskpress.converter.convert import plan_model, values_of, write_model
    from taskpress.converter.signatures import decoder_signatures

    model, out = EchoModel(64, 2), BytesIO()
    plan = plan_model(model, decoder_signatures(model, (4,), 16), values_of(model))
    write_model(plan, values_of(model), out)
    tokenizer = sentencepiece(
        ("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", USER_DEFINED), ("a", NORMAL)
    )
    return out.getvalue(), [tokenizer, _trained()]


def _trained() -> bytes:
    """A SentencePiece model with a character map, which native code walks."""
    import sentencepiece

    out = BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.write("41\t61\nC4\t61 65\n")  # A to a, Ä to ae
        rules.flush()
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(["a cat and a cart", "Äpfel at a bar"]),
            model_writer=out,
            model_type="bpe",
            vocab_size=32,
            normalization_rule_tsv=rules.name,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    return out.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="inputs, half of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND:NUMBER")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        originals = bases(Path(folder), *small_parts())
        if arguments.only:
            kind, _, number = arguments.only.partition(":")
            path, whole = Path(folder) / f"input.{kind}", Path(folder) / f"whole.{kind}"
            whole.write_bytes(originals[kind][0].data)
            path.write_bytes(mutated(originals[kind], int(number), arguments.seed))
            for reader, call in read(path, whole, Path(folder)):
                print(f"--- {reader}")
                try:
                    call()
                except (BundleError, TokenizerError) as error:
                    print(f"error: {error}")
            return 0
    failures = 0
    for kind in KINDS:
        outcome = run(originals, kind, range(arguments.count // 2), arguments.seed)
        print(f"{kind}: {arguments.count // 2:,} inputs, slowest {outcome.slowest:.2f} s, peak "
              f"{outcome.peak >> 20} MB, {len(outcome.failures)} failures")  # fmt: skip
        for name, count in sorted(outcome.counts.items()):
            print(f"  {name:<20} {count:>8,}")
        for failure in outcome.failures[:20]:
            print(f"  {failure}")
        failures += len(outcome.failures)
    return int(failures > 0)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    sys.exit(main())
