"""The SentencePiece model of a checkpoint: its own, or rebuilt from what it has."""

from collections.abc import Callable
from typing import Any

from ..models._checkpoint import Checkpoint
from ..tokenization import TokenizerError
from ..tokenization.gguf_vocabulary import tokenizer_json
from ..tokenization.sentencepiece_model import build, check
from ..tokenization.tokenizer_json import FILE_NAME, read

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
        model = own.read_bytes()
        check(model, OWN)
        return model
    return build(document(checkpoint), progress)
