"""What a file holds, for `taskpress inspect`: a .task, a .tflite or a SentencePiece model."""

import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import BundleError, hf_tokenizer, llm_metadata, metadata
from .bundle import LITERTLM, MAX_TOKENIZER_BYTES, Bundle, read_bundle
from .files import open_file, unreadable
from .litertlm import HF_TOKENIZER, MAGIC, MODEL_TYPE, Header, Value, read_header
from .llm_metadata import LlmMetadata
from .parts import METADATA, MODEL, TOKENIZER
from .tflite import IDENTIFIER, ModelSummary, SignatureSummary, TensorSummary, summarize_model
from .tokenizer import load_tokenizer

_SNIFFED_BYTES = 8
_SHOWN_TENSORS = 4  # of the same kind, in the table


@dataclass(frozen=True)
class EntrySummary:
    """items: what the header of a `.litertlm` says of the section besides."""

    name: str
    offset: int
    size_bytes: int
    items: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenizerSummary:
    """How many pieces of each kind a tokenizer has.

    model_type: of a SentencePiece model, whose ids of unk, bos, eos and pad are told (-1: none), or
    "tokenizer.json", which names none.
    """

    size_bytes: int
    model_type: str
    vocabulary: int
    kinds: Mapping[str, int]
    ids: Mapping[str, int]


@dataclass(frozen=True)
class Summary:
    """What a file holds; the parts that its kind has not are None or empty.

    kind: "task", "litertlm", "tflite" or "sentencepiece". entries: of the bundle. header: what that
    of a `.litertlm` says of the whole file. unread: fields of METADATA that `parameters` and
    `llm_metadata` have no place for.
    """

    file: str
    kind: str
    size_bytes: int
    entries: tuple[EntrySummary, ...] = ()
    header: Mapping[str, Value] = field(default_factory=dict)
    model: ModelSummary | None = None
    tokenizer: TokenizerSummary | None = None
    parameters: metadata.BundleParameters | None = None
    llm_metadata: LlmMetadata | None = None
    unread: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        values = asdict(self)
        if self.parameters is not None:
            values["parameters"] = metadata.described(self.parameters)
        return values

    def table(self) -> str:
        """The same as text for people, tensors of one kind together."""
        return "\n".join(_lines(self))


def summarize(path: Path) -> Summary:
    """Reads what the file holds; weights are not read, and nothing is run.

    Raises BundleError for a file that cannot be read, is of no known kind, or is damaged.
    """
    try:
        with open_file(path) as file:
            start = file.read(_SNIFFED_BYTES)
            size_bytes = file.seek(0, 2)
            if start[4:] == IDENTIFIER:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    model = summarize_model(data, 0, size_bytes, str(path))
                return Summary(str(path), "tflite", size_bytes, model=model)
            if b"PK" in (start[:2], start[4:6]) or start == MAGIC:
                header = read_header(path) if start == MAGIC else None
                if header and not {MODEL, METADATA} <= header.entries().keys():
                    # of an embedding model, say: there is no text format, but parts there are
                    return _with_header(Summary(str(path), LITERTLM, size_bytes), header)
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    summary = _bundle(read_bundle(path), data)
                return _with_header(summary, header) if header else summary
            if start[:1] != b"\n" or size_bytes > MAX_TOKENIZER_BYTES:
                raise BundleError(
                    f"{path}: begins with {start!r}; needs a .task, .litertlm, .tflite or "
                    "SentencePiece model"
                )
            file.seek(0)
            tokenizer = _tokenizer(file.read(), str(path))
            return Summary(str(path), "sentencepiece", size_bytes, tokenizer=tokenizer)
    except OSError as error:
        raise unreadable(path, error) from error


def _bundle(bundle: Bundle, data: mmap.mmap) -> Summary:
    model, where = bundle.entries[MODEL], f"{bundle.path}: {METADATA}"
    unread = metadata if bundle.llm_metadata is None else llm_metadata
    tokenizer = None
    if TOKENIZER in bundle.entries:
        size = bundle.entries[TOKENIZER].size
        if size > MAX_TOKENIZER_BYTES:
            raise BundleError(
                f"{bundle.path}: {TOKENIZER}: {size} bytes; at most {MAX_TOKENIZER_BYTES} are read"
            )
        tokenizer = _tokenizer(bundle.read(TOKENIZER), f"{bundle.path}: {TOKENIZER}")
    elif HF_TOKENIZER in bundle.entries:
        tokenizer = _tokenizer_json(bundle.read(HF_TOKENIZER), f"{bundle.path}: {HF_TOKENIZER}")
    return Summary(
        file=str(bundle.path),
        kind=bundle.kind,
        size_bytes=len(data),
        entries=tuple(
            EntrySummary(name, part.offset, part.size) for name, part in bundle.entries.items()
        ),
        model=summarize_model(data, model.offset, model.size, f"{bundle.path}: {MODEL}"),
        tokenizer=tokenizer,
        parameters=bundle.parameters,
        llm_metadata=bundle.llm_metadata,
        unread=unread.unread_fields(bundle.read(METADATA), where),
    )


def _with_header(summary: Summary, header: Header) -> Summary:
    sections = tuple(
        EntrySummary(each.name, each.extent.offset, each.extent.size, each.items)
        for each in header.sections
    )
    return replace(summary, entries=sections, header=header.system)


def _tokenizer_json(data: bytes, where: str) -> TokenizerSummary:
    tokenizer = hf_tokenizer.load(data, where)
    words, all_words = (
        tokenizer.get_vocab_size(with_added_tokens=added) for added in (False, True)
    )
    return TokenizerSummary(
        size_bytes=len(data),
        model_type="tokenizer.json",
        vocabulary=all_words,
        kinds={"normal": words, "added": all_words - words},
        ids={},
    )


def _tokenizer(model: bytes, where: str) -> TokenizerSummary:
    tokenizer = load_tokenizer(model, where)
    processor = tokenizer.processor
    return TokenizerSummary(
        size_bytes=len(model),
        model_type=tokenizer.model_type,
        vocabulary=len(tokenizer.kinds),
        kinds=dict(sorted(tokenizer.count_kinds().items())),
        ids={
            "unk": processor.unk_id(),
            "bos": processor.bos_id(),
            "eos": processor.eos_id(),
            "pad": processor.pad_id(),
        },
    )


def _lines(summary: Summary) -> Iterator[str]:
    yield f"{summary.file}: {summary.kind}, {_size(summary.size_bytes)}"
    if summary.entries:
        yield from _section(
            "entries",
            [
                (entry.name, f"{_size(entry.size_bytes)} at byte {entry.offset}{_items(entry)}")
                for entry in summary.entries
            ],
        )
    if summary.header:
        yield from _section("header", [(key, repr(value)) for key, value in summary.header.items()])
    if summary.parameters is not None:
        values = metadata.described(summary.parameters).items()
        yield from _section(
            "metadata",
            [
                (name, _shown(value))
                for name, value in values
                if value not in ("", (), None) and (value or name == "start_token_id")
            ],
        )
        if summary.llm_metadata is not None:
            described = asdict(summary.llm_metadata).items()
            yield from _section(
                "LiteRT-LM", [(name, _shown(value)) for name, value in described if value]
            )
        if summary.unread:
            yield f"  not shown: {', '.join(summary.unread)}"
    if summary.tokenizer is not None:
        yield from _section("tokenizer", _tokenizer_rows(summary.tokenizer))
    if summary.model is not None:
        yield from _model_lines(summary.model)


def _items(entry: EntrySummary) -> str:
    # the model type is in the name
    items = [(key, value) for key, value in entry.items.items() if key != MODEL_TYPE]
    return "".join(f"; {key} {value!r}" for key, value in items)


def _tokenizer_rows(tokenizer: TokenizerSummary) -> Iterator[tuple[str, str]]:
    kind = f"SentencePiece {tokenizer.model_type}" if tokenizer.ids else tokenizer.model_type
    yield "model", f"{kind}, {_size(tokenizer.size_bytes)}"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in tokenizer.kinds.items())
    yield "pieces", f"{tokenizer.vocabulary:,}: {kinds}"
    if tokenizer.ids:
        yield "ids", ", ".join(f"{name} {number}" for name, number in tokenizer.ids.items())


def _model_lines(model: ModelSummary) -> Iterator[str]:
    yield from _section(
        "weights",
        [
            (weights.kind, f"{_size(weights.size_bytes)} in {weights.count:,} tensors")
            for weights in model.weights
        ],
    )
    yield from _section("key/value cache", [("size", _size(model.cache_bytes))])
    operators = ", ".join(f"{name} {count:,}" for name, count in model.operators.items())
    yield from _section("operators", [("of all signatures", operators)])
    for signature in model.signatures:
        yield from _section(f"signature {signature.name}", _signature_rows(signature))


def _signature_rows(signature: SignatureSummary) -> Iterator[tuple[str, str]]:
    for side, tensors in (("in", signature.inputs), ("out", signature.outputs)):
        for group in _alike(tensors):
            first, last = group[0], group[-1]
            shape = f"{first.dtype} {list(first.shape)}"
            if len(group) > _SHOWN_TENSORS:
                yield f"{side:<3} {first.name} ... {last.name}", f"{shape}, {len(group)} of them"
            else:
                yield from ((f"{side:<3} {tensor.name}", shape) for tensor in group)


def _alike(tensors: Iterable[TensorSummary]) -> list[list[TensorSummary]]:
    """Tensors whose names differ in the number at the end, and that are of one type and shape."""
    groups: dict[tuple[str, str, tuple[int, ...]], list[TensorSummary]] = {}
    for tensor in tensors:
        key = (tensor.name.rstrip("0123456789"), tensor.dtype, tensor.shape)
        groups.setdefault(key, []).append(tensor)
    return list(groups.values())


def _section(title: str, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A heading and two columns."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    yield ""
    yield title
    for name, value in rows:
        yield f"  {name:<{width}}  {value}"


def _shown(value: object) -> str:
    """Texts in quotes, as white space matters in them."""
    if isinstance(value, tuple):
        return ", ".join(_shown(each) for each in value)
    return repr(value)


def _size(size_bytes: float) -> str:
    for unit, digits in (("bytes", 0), ("kB", 1), ("MB", 1)):
        if size_bytes < 10_000:
            return f"{size_bytes:,.{digits}f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} GB"
