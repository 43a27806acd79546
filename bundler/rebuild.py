"""The SentencePiece model of a checkpoint: its own, or rebuilt from what it has."""

from collections.abc import Callable, Mapping
from typing import Any

from sentencepiece import SentencePieceProcessor

from ..models._checkpoint import Checkpoint
from ..tokenization import TokenizerError
from ..tokenization.gguf_vocabulary import special_ids, tokenizer_json
from ..tokenization.sentencepiece_model import build, check
from ..tokenization.tokenizer_json import FILE_NAME, SpecialIds, original, read
from .files import read_file

Encode = Callable[[str], list[int]]

OWN = "tokenizer.model"


def has_tokenizer(checkpoint: Checkpoint) -> bool:
    """Whether there is anything to make a tokenizer of."""
    if checkpoint.folder is None:
        return "tokenizer.ggml.model" in checkpoint.metadata
    return any((checkpoint.folder / name).exists() for name in (OWN, FILE_NAME))


def document(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint's tokenizer.json, or a GGUF vocabulary in its form.

    Raises TokenizerError where there is none, or one of a kind that cannot be rebuilt.
    """
    if checkpoint.folder is None:
        return tokenizer_json(checkpoint.metadata, checkpoint.path.name)
    return read(checkpoint.folder / FILE_NAME)


def sentencepiece_model(
    checkpoint: Checkpoint, progress: Callable[[float], None] | None = None
) -> bytes:
    """The ModelProto to bundle: the checkpoint's own tokenizer.model unchanged, else rebuilt.

    progress: called with the share that is done, 0 to 1. Raises TokenizerError.
    """
    if not has_tokenizer(checkpoint):
        raise TokenizerError(
            f"{checkpoint.path.name}: no tokenizer; needs {FILE_NAME} or {OWN} beside the weights"
        )
    own = checkpoint.folder / OWN if checkpoint.folder is not None else None
    if own is not None and own.exists():
        model = read_file(own)
        check(model, OWN)
        return model
    original_document = document(checkpoint)
    specials = _special_ids(checkpoint, original_document)
    return build(original_document, progress, specials=specials)


def encoder(checkpoint: Checkpoint) -> Encode:
    """Text to ids, by the checkpoint's own tokenizer. Raises TokenizerError where it has none."""
    if checkpoint.folder is not None and not (checkpoint.folder / FILE_NAME).exists():
        return encoder_of(sentencepiece_model(checkpoint))
    tokenizer = original(document(checkpoint), checkpoint.path.name)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def encoder_of(model: bytes) -> Encode:
    """Text to ids, by a SentencePiece model."""
    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    return processor.Encode


def _special_ids(checkpoint: Checkpoint, document: Mapping[str, Any]) -> SpecialIds:
    """The ids that begin, end and pad a text, as the checkpoint's own files name them."""
    if checkpoint.folder is None:
        return special_ids(checkpoint.metadata, checkpoint.path.name)
    added = (token["id"] for token in document.get("added_tokens") or [])
    known = {*document["model"]["vocab"].values(), *added}
    named: dict[str, int | None] = {}
    for name in ("bos", "eos", "pad"):
        key = f"{name}_token_id"
        value = checkpoint.generation_config.get(key, checkpoint.config.get(key))
        # Several end an answer: the first is the one that ends a text.
        first = value[0] if isinstance(value, list) and value else value
        named[name] = first if type(first) is int and first >= 0 else None
        if named[name] is not None and named[name] not in known:
            raise TokenizerError(
                f"{checkpoint.path}: {key} {first}: the tokenizer has no such token"
            )
    return SpecialIds(**named)
