"""The verb `taskpress diff`: how two bundles differ, part by part."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import BundleError

if TYPE_CHECKING:
    from .bundle import Bundle

_SHOWN = 5  # pieces of the tokenizers, and characters around a difference
_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class Difference:
    """where: a part, or a part and what of it. first, second: what each bundle has."""

    where: str
    first: str
    second: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the two bundles."""
    parser.add_argument("first", type=Path, help="a .task or .litertlm")
    parser.add_argument("second", type=Path, help="another one")


def verb(arguments: argparse.Namespace) -> int:
    """Prints the differences; returns 1 where there are any."""
    found = list(differences(arguments.first, arguments.second))
    if arguments.json:
        print(json.dumps([asdict(each) for each in found], indent=2, ensure_ascii=False))
    else:
        for each in found:
            print(f"{each.where}\n  - {each.first}\n  + {each.second}")
    return int(bool(found))


def differences(first: Path, second: Path) -> Iterator[Difference]:
    """What differs: the format, parts, metadata, header, and of the model and the tokenizer how.

    Where a part lies is no difference, nor how a format spells the same metadata. Parts are
    compared a chunk at a time. Raises BundleError for a file that is no bundle of an LLM.
    """
    from .bundle import read_bundle
    from .parts import METADATA, MODEL, TOKENIZER

    one, other = read_bundle(first), read_bundle(second)
    if one.kind != other.kind:
        yield Difference("format", one.kind, other.kind)
    for name in sorted(one.entries.keys() | other.entries.keys()):
        sizes = [_size(bundle, name) for bundle in (one, other)]
        if sizes[0] != sizes[1]:
            if name != METADATA:
                yield Difference(name, *sizes)
        elif name == METADATA or (at := _first_difference(one, other, name)) is None:
            continue
        else:
            yield Difference(name, f"{sizes[0]}", f"as many, other ones from byte {at} on")
        if name == MODEL and "none" not in sizes:
            yield from _of_models(first, second)
        if name == TOKENIZER and "none" not in sizes:
            yield from _of_tokenizers(one, other)
    yield from _of_values("metadata", _metadata(one), _metadata(other))
    if one.header and other.header:
        yield from _of_values(
            "header",
            {**one.header.system, **one.header.said()},
            {**other.header.system, **other.header.said()},
        )


def _size(bundle: "Bundle", name: str) -> str:
    return f"{bundle.entries[name].size:,} bytes" if name in bundle.entries else "none"


def _first_difference(one: "Bundle", other: "Bundle", name: str) -> int | None:
    """The first byte of a part in which two bundles differ, that have as many of it."""
    from .parts import opened

    left, at = one.entries[name].size, 0
    with opened(one.path) as mine, opened(other.path) as theirs:
        mine.seek(one.entries[name].offset)
        theirs.seek(other.entries[name].offset)
        while left:
            chunks = [file.read(min(left, _CHUNK_BYTES)) for file in (mine, theirs)]
            if not chunks[0] or len(chunks[0]) != len(chunks[1]):
                raise BundleError(f"{one.path}: {name}: ended too early; it changed meanwhile")
            if chunks[0] != chunks[1]:
                pairs = zip(*chunks, strict=True)
                return at + next(i for i, (a, b) in enumerate(pairs) if a != b)
            left, at = left - len(chunks[0]), at + len(chunks[0])
    return None


def _metadata(bundle: "Bundle") -> dict[str, Any]:
    from .metadata import described

    besides = asdict(bundle.llm_metadata) if bundle.llm_metadata else {}
    return described(bundle.parameters) | besides


def _of_values(where: str, one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*one, *other]):
        mine, theirs = one.get(name), other.get(name)
        if (mine or None) != (theirs or None):
            yield Difference(f"{where}: {name}", _shown(mine), _shown(theirs))


def _shown(value: Any) -> str:
    return "none" if not value else repr(value)


def _of_models(first: Path, second: Path) -> Iterator[Difference]:
    """Of their signatures, kinds of weights and operators."""
    from .summary import summarize

    models = [summarize(path).model for path in (first, second)]
    assert models[0] is not None
    assert models[1] is not None
    one, other = (
        {
            "cache": f"{model.cache_bytes:,} bytes",
            **{f"weights: {w.kind}": f"{w.count}, {w.size_bytes:,} bytes" for w in model.weights},
            **{f"operators: {name}": count for name, count in model.operators.items()},
            **{
                f"{signature.name}: {side}: {tensor.name}": f"{tensor.dtype} {tensor.shape}"
                for signature in model.signatures
                for side in ("inputs", "outputs")
                for tensor in getattr(signature, side)
            },
        }
        for model in (models[0], models[1])
    )
    yield from _of_values("model", one, other)


def _of_tokenizers(one: "Bundle", other: "Bundle") -> Iterator[Difference]:
    """How many pieces they have, and the first that differ."""
    from .parts import TOKENIZER
    from .tokenizer import load_tokenizer

    loaded = [
        load_tokenizer(bundle.read(TOKENIZER), f"{bundle.path}: {TOKENIZER}")
        for bundle in (one, other)
    ]
    counts = [len(tokenizer.kinds) for tokenizer in loaded]
    if counts[0] != counts[1]:
        yield Difference("tokenizer: pieces", f"{counts[0]:,}", f"{counts[1]:,}")
    differing = [
        (piece, *(f"{t.spelling(piece)!r}, {t.kinds[piece]}" for t in loaded))
        for piece in range(min(counts))
        if len({(t.spelling(piece), t.kinds[piece]) for t in loaded}) > 1
    ]
    for piece, mine, theirs in differing[:_SHOWN]:
        yield Difference(f"tokenizer: piece {piece}", mine, theirs)
    if len(differing) > _SHOWN:
        count = f"{len(differing):,} of {min(counts):,}"
        yield Difference("tokenizer: pieces that differ", count, "the same")
