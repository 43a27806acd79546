"""Rebuilt tokenizers in the LiteRT-LM engine: `python benchmarks/engine_parity.py` prints a table.

Each tokenizer is rebuilt and bundled with a model that repeats its prompt (see echo_model), as a
`.task` of ours, a `.task` with LiteRT-LM's metadata and a `.litertlm`. For each line, the original
says what is right:

ids: what Engine.tokenize gives, in each of the three bundles;
fed: the ids that the engine feeds to the model, read back from its logits;
answered: the text that the engine decodes, token by token, in our `.task`;
streamed: the same in pieces, in `.litertlm`. Where a character whose first byte is 0xEF is several
tokens, LiteRT-LM 0.18.1 streams that byte alone: it takes it for the one that U+FFFD begins with,
which stood for the half character. Its Python API loses such pieces, from any tokenizer;
by id: the text from the library itself, a token at a time, and up to 5 at a time, the way other
engines do: what ends in half a character waits for more.

A number is of lines that differ. "open" is the median of the seconds to open the three bundles.
Lines are made up, and windows of the standard library; --text takes windows of files instead.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from echo_model import Echo, answered, letters_of, opened, streamed
from published import documents, names
from rich.console import Console
from rich.table import Table
from sample_lines import lines_of_files, made_up_lines
from sentencepiece import SentencePieceProcessor
from taskpress.tokenization import sentencepiece_model, tokenizer_json
from tokenizers import Tokenizer

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Parity:
    """Of one tokenizer: lines that differ, by what was compared, and the first such lines."""

    tokenizer: str
    lines: int
    tokens: int
    differing: dict[str, int]
    examples: dict[str, list[str]]
    open_seconds: float


class Compared:
    """Lines with what the original makes of them, and what was seen to differ."""

    def __init__(self, original: Tokenizer, lines: list[str]) -> None:
        encodings = original.encode_batch(lines, add_special_tokens=False)
        self.lines = lines
        self.vocabulary = 1 + max(original.get_vocab(with_added_tokens=True).values())
        self.ids = [encoding.ids for encoding in encodings]
        self.texts = original.decode_batch(self.ids, skip_special_tokens=False)
        self.differing: dict[str, list[str]] = {}

    def compare(self, name: str, expected: list[Any], got: Callable[[str], Any]) -> None:
        """Adds the lines that differ, to those that did under the same name."""
        pairs = zip(self.lines, expected, strict=True)
        found = {line for line, right in pairs if got(line) != right}
        known = self.differing.setdefault(name, [])
        known += sorted(found.difference(known))


def by_id(processor: SentencePieceProcessor, ids: list[int], sizes: Iterator[int]) -> str:
    """Decodes a few ids at a time; those whose text ends in half a character wait for more."""
    text, waiting, start = "", [], 0
    while start < len(ids):
        size = next(sizes)
        waiting += ids[start : start + size]
        start += size
        part = processor.decode(waiting, out_type=bytes).decode(errors="replace")
        if not part.endswith(INCOMPLETE) or start >= len(ids):
            text, waiting = text + part, []
    return text


def at_a_time(most: int) -> Iterator[int]:
    """How many ids come at a time: up to `most`."""
    draw = random.Random(0)
    while True:
        yield draw.randint(1, most)


def parity(name: str, document: dict[str, Any], model: bytes, lines: list[str]) -> Parity:
    """Bundles a rebuilt tokenizer and compares it, inside the engine, with the original."""
    start, stop = [t["content"] for t in document["added_tokens"] if t.get("special")][-2:]
    lines = [line for line in lines if start not in line and stop not in line]
    compared = Compared(tokenizer_json.original(document), lines)
    _library(compared, SentencePieceProcessor(model_proto=model))
    with tempfile.TemporaryDirectory() as folder:
        echo = Echo(model, compared.vocabulary, start, stop)
        seconds = _texts(compared, echo, Path(folder))
        _fed(compared, echo, Path(folder) / "spelled.task")
    return Parity(
        tokenizer=name,
        lines=len(lines),
        tokens=sum(map(len, compared.ids)),
        differing={key: len(found) for key, found in compared.differing.items()},
        examples={key: found[:5] for key, found in compared.differing.items() if found},
        open_seconds=statistics.median(seconds),
    )


def _library(compared: Compared, processor: SentencePieceProcessor) -> None:
    right = dict(zip(compared.lines, compared.ids, strict=True))

    def one(line: str) -> str:
        return by_id(processor, right[line], at_a_time(1))

    def few(line: str) -> str:
        return by_id(processor, right[line], at_a_time(5))

    compared.compare("by id", compared.texts, one)
    compared.compare("by id", compared.texts, few)


def _texts(compared: Compared, echo: Echo, folder: Path) -> list[float]:
    """Ids and texts in all kinds of bundles; returns the seconds that each took to open."""
    ours, theirs, packed = (folder / f"{name}" for name in ("a.task", "b.task", "c.litertlm"))
    echo.write_task(ours)
    echo.write_task(theirs, llm_metadata=True)
    echo.write_litertlm(packed)
    seconds = []
    texts = [echo.start + text for text in compared.texts]
    for bundle in (ours, theirs, packed):
        began = time.perf_counter()
        with opened(bundle) as engine:
            seconds.append(time.perf_counter() - began)
            compared.compare("ids", compared.ids, engine.tokenize)
            if bundle == ours:
                compared.compare("answered", texts, partial(answered, engine))
            if bundle == packed:
                compared.compare("streamed", texts, partial(_streamed, engine))
    return seconds


def _streamed(engine: Any, line: str) -> str:
    return "".join(streamed(engine, line))


def _fed(compared: Compared, echo: Echo, bundle: Path) -> None:
    processor = SentencePieceProcessor(model_proto=echo.tokenizer)
    letters = letters_of(processor.encode, compared.vocabulary)
    replace(echo, letters=letters).write_task(bundle)
    start = processor.piece_to_id(echo.start)
    with opened(bundle) as engine:
        compared.compare(
            "fed",
            [[start, *ids] for ids in compared.ids],
            lambda line: letters.read(answered(engine, line)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tokenizers", nargs="*", help=f"of {', '.join(names())}; without, all")
    parser.add_argument("--lines", type=int, default=1000, help="for each (%(default)s)")
    parser.add_argument("--text", type=Path, nargs="*", help="files to take the lines from")
    parser.add_argument("--models", type=Path, help="folder that keeps the rebuilt models")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    # what `streamed` says of lost pieces shows in its column
    sys.unraisablehook = lambda _: None
    draw = random.Random(0)
    if arguments.text:
        lines = lines_of_files(arguments.text, arguments.lines, draw)
    else:
        lines = made_up_lines(arguments.lines, draw)
    rows = []
    for name, document in documents(arguments.tokenizers or None):
        model = _model(name, document, arguments.models)
        rows.append(parity(name, document, model, lines))
        print(rows[-1], file=sys.stderr)
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        Console(width=120).print(table(rows))


def _model(name: str, document: dict[str, Any], folder: Path | None) -> bytes:
    """The rebuilt model, kept in the folder if there is one."""
    path = folder / f"{name}.model" if folder else None
    if path is not None and path.exists():
        return path.read_bytes()
    model = sentencepiece_model.build(document)
    if path is not None:
        path.write_bytes(model)
    return model


def table(rows: list[Parity]) -> Table:
    kinds = ("ids", "fed", "answered", "streamed", "by id")
    result = Table("tokenizer", "lines", "tokens", *kinds, "open s")
    for row in rows:
        counts = [str(row.differing[kind]) for kind in kinds]
        seconds = f"{row.open_seconds:.2f}"
        result.add_row(row.tokenizer, str(row.lines), str(row.tokens), *counts, seconds)
    return result


if __name__ == "__main__":
    main()
