"""Measures rebuilt tokenizers, and a peer's rebuilds beside them, and prints a table.

    python benchmarks/corpora.py out/corpora
    python benchmarks/tokenizer_table.py --corpus prose=out/corpora/prose.txt ... \\
        --training out/corpora/training.txt --peer PYTHON --json out/table.json

The comparer is the library's (`taskpress parity`). Four kinds of models:

ours: rebuilt from the tokenizer.json form; plain: likewise, in plain form; kept: the SentencePiece
model that was published;
peer: litert-torch's converter, called in another Python, on the same tokenizer.json. Models with a
null character in a piece do not load; "peer, null" is the same with another character for it.

pairs: random id pairs that differ, strict and loose as litert-torch's check counts; categories:
tokens of the original that are not there; fuzz: strings that differ at all; round trip: strings of
all that do not come back; all in %. load: seconds to open the model, median of 3; speed: how many
times as fast as `tokenizers` it encodes the categories, in this run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from taskpress.tokenization import TokenizerError, corpus, fuzz, metaspace, parity, parity_report
from taskpress.tokenization import sentencepiece_model as rebuilding
from taskpress.tokenization.tally import Tally
from vocabularies import Vocabulary, names, vocabularies

Row = dict[str, Any]
Corpora = list[tuple[str, Path]]

proto: Any = sentencepiece_model_pb2  # generated at import, unknown to type checkers
LOADS = 3
PEER_BYTES = 500_000  # of each corpus: what is wrong by whole percents is slow to explain
STAND_IN = "\ue000"
PEER = """
import sys
from litert_torch.generative.tools import tokenizer_to_sentencepiece_lib
from transformers import AutoTokenizer
with open(sys.argv[2], "wb") as out:
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    out.write(tokenizer_to_sentencepiece_lib.convert(tokenizer))
"""
GROUPS = ("pairs", "corpus", "fuzz")


def main(arguments: list[str] | None = None) -> int:
    """Measures row by row; what was measured is in the JSON file even when it is interrupted."""
    options = _parser().parse_args(arguments)
    rows: list[Row] = []
    if options.json is not None and options.json.exists():
        rows = json.loads(options.json.read_bytes())
    chosen = options.tokenizers or ([] if options.show else names())
    with tempfile.TemporaryDirectory() as folder:
        short = _shortened(options.corpus, Path(folder)) if options.peer else []
        for vocabulary in vocabularies(chosen, options.training):
            for kind, model in _models(vocabulary, options.peer, options.kinds):
                print(f"{vocabulary.name}: {kind}", file=sys.stderr)
                row: Row = {"tokenizer": vocabulary.name, "model": kind}
                corpora = short if kind.startswith("peer") else options.corpus
                row |= measured(vocabulary, model, options, corpora)
                rows = [*(old for old in rows if not _is_same(old, row)), row]
                _write(rows, options.json)
    print(tables(sorted(rows, key=lambda row: names().index(row["tokenizer"]))))
    return 0


def _is_same(one: Row, other: Row) -> bool:
    return all(one[key] == other[key] for key in ("tokenizer", "model"))


def _write(rows: list[Row], path: Path | None) -> None:
    if path is not None:
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
        beside.replace(path)


def _parser() -> argparse.ArgumentParser:
    def category(text: str) -> tuple[str, Path]:
        name, _, file = text.partition("=")
        if not name or not Path(file).is_file():
            raise argparse.ArgumentTypeError(f"{text}: CATEGORY=FILE is needed")
        return name, Path(file)

    def name(text: str) -> str:
        if text not in names():
            raise argparse.ArgumentTypeError(f"{text}: one of {', '.join(names())} is needed")
        return text

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tokenizers", nargs="*", type=name, help=", ".join(names()))
    parser.add_argument("--corpus", nargs="+", type=category, default=[], metavar="CATEGORY=FILE")
    parser.add_argument("--training", type=Path, help="text for those that must be trained")
    parser.add_argument("--pairs", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--fuzz", type=int, default=2000, help="strings a class (%(default)s)")
    parser.add_argument("--peer", metavar="PYTHON", help="that has litert-torch and transformers")
    parser.add_argument(
        "--kinds", nargs="+", default=["ours", "plain", "kept", "peer"], help="of models"
    )
    parser.add_argument("--json", type=Path, help="file of the rows; measured ones replace theirs")
    parser.add_argument("--show", action="store_true", help="print the file's rows, measure none")
    return parser


def _models(
    vocabulary: Vocabulary, peer: str | None, kinds: Sequence[str]
) -> Iterator[tuple[str, bytes]]:
    """The models to measure, by kind, each made when it is asked for."""
    if "ours" in kinds:
        yield "ours", rebuilding.build(vocabulary.document)
    if "plain" in kinds and not metaspace.is_metaspace(vocabulary.document):
        yield "plain", rebuilding.build(vocabulary.document, form="plain")
    if "kept" in kinds and vocabulary.model is not None:
        yield "kept", vocabulary.model
    if "peer" in kinds and peer is not None:
        model = peer_model(vocabulary, peer)
        yield "peer", model
        if without_null := _without_null(model):
            yield "peer, null", without_null


def peer_model(vocabulary: Vocabulary, python: str) -> bytes:
    """What litert-torch makes of the tokenizer.json, in the Python that has it."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": vocabulary.ending,
        "clean_up_tokenization_spaces": False,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tokenizer.json").write_text(json.dumps(vocabulary.document))
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        command = [python, "-c", PEER, name, str(folder / "peer.model")]
        subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        return (folder / "peer.model").read_bytes()


def _without_null(model: bytes) -> bytes | None:
    """The model with another character for null, without which it may load; None if it has none."""
    parsed = proto.ModelProto.FromString(model)
    having = [piece for piece in parsed.pieces if "\0" in piece.piece]
    for piece in having:
        piece.piece = piece.piece.replace("\0", STAND_IN)
    return parsed.SerializeToString() if having else None


def _shortened(corpora: Corpora, folder: Path) -> Corpora:
    """Blocks from all over each corpus, for the peer's models."""
    shorter = []
    for position, (category, path) in enumerate(corpora):
        short = folder / f"{position}-{path.name}"
        step = 1 + corpus.size_bytes(path) // PEER_BYTES
        with short.open("w", encoding="utf-8", newline="") as out:
            out.writelines(islice(corpus.blocks(path), 0, None, step))
        shorter.append((category, short))
    return shorter


def measured(
    vocabulary: Vocabulary, model: bytes, options: argparse.Namespace, corpora: Corpora
) -> Row:
    """The cells of a row, and the report that they were taken from."""
    paths = tuple(str(path) for _, path in corpora)
    asked = parity.Options(pairs=options.pairs, fuzz=options.fuzz, corpora=paths, groups=GROUPS)
    try:
        load = statistics.median(_load_seconds(model) for _ in range(LOADS))
        report = parity.compare(vocabulary.document, model, asked, _tell())
    except (TokenizerError, RuntimeError) as error:
        return {"error": str(error), "megabytes": len(model) / 1e6}
    total = Tally()
    rates: dict[str, float] = {}
    for category in dict(corpora):
        sections = [report.section(f"corpus/{path}") for name, path in corpora if name == category]
        tokens = sum(section.total for section in sections)
        rates[category] = sum(section.wrong for section in sections) / tokens
        for section in sections:
            total.add(section.tally)
    return {
        "strict": report.section("pairs/strict").rate,
        "loose": report.section("pairs/loose").rate,
        "categories": rates,
        "fuzz": {name: report.section(f"fuzz/{name}").rate for name in fuzz.CLASSES},
        "round trip": report.round_trip.rate,
        "megabytes": len(model) / 1e6,
        "load seconds": load,
        "speed": total.seconds_original / total.seconds_rebuilt if total.seconds_rebuilt else None,
        "report": json.loads(parity_report.to_json(report, {})),
    }


def _load_seconds(model: bytes) -> float:
    start = time.perf_counter()
    SentencePieceProcessor(model_proto=model)
    return time.perf_counter() - start


def _tell() -> parity.Progress | None:
    if not sys.stderr.isatty():
        return None
    return lambda share: print(f"{share:4.0%}", end="\r", file=sys.stderr)


def tables(rows: list[Row]) -> str:
    """Markdown: what was compared on texts, then on made-up strings."""
    measured_rows = [row for row in rows if "error" not in row]
    categories = list(dict.fromkeys(c for row in measured_rows for c in row["categories"]))
    titles = ["strict", "loose", *categories, "round trip", "MB", "load s", "speed"]
    first = [
        [
            *map(_percent, (row["strict"], row["loose"])),
            *(_percent(row["categories"].get(category)) for category in categories),
            _percent(row["round trip"]),
            f"{row['megabytes']:.1f}",
            f"{row['load seconds']:.2f}",
            "" if row["speed"] is None else f"{row['speed']:.1f}",
        ]
        if "error" not in row
        else [f"n/a: {row['error']}"]
        for row in rows
    ]
    second = [[_percent(row["fuzz"].get(c)) for c in fuzz.CLASSES] for row in measured_rows]
    return f"{_table(rows, titles, first)}\n\n{_table(measured_rows, [*fuzz.CLASSES], second)}"


def _table(rows: list[Row], titles: list[str], cells: list[list[str]]) -> str:
    lines = [["", "model", *titles], ["---"] * (2 + len(titles))]
    for row, some in zip(rows, cells, strict=True):
        padded = some + [""] * (len(titles) - len(some))
        lines.append([row["tokenizer"], row["model"], *padded])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(rate: float | None) -> str:
    """A rate in percent to two digits, without what says nothing."""
    if rate is None:
        return "not measured"
    percent = 100 * rate
    shown = f"{percent:.0f}" if percent >= 10 else f"{percent:.2g}"
    return shown.removeprefix("0") if percent else "0"


if __name__ == "__main__":
    sys.exit(main())
