"""The SentencePiece model inside a GGUF file whose tokenizer.ggml.model is `llama`.

Such a file holds the pieces of a SentencePiece BPE model with their scores and types, so that the
model comes back as it was, but for two things, in which it follows the tokenizer.json of the Hub.
A special token is a control piece there, which SentencePiece never finds in a text: here it is
user-defined, so that a chat's text gives its ids. And Gemma's user-defined runs of spaces, which
GGUF writes as spaces, are merged there, before all else: 32 spaces are two pieces of 16. Where they
are user-defined the longest one, of 31, comes first; that is what llama.cpp gives.
"""

import math
from collections.abc import Mapping
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from . import TokenizerError
from .gguf_vocabulary import special_ids, texts, token_types

proto: Any = sentencepiece_model_pb2  # generated at import, unknown to type checkers
Type = proto.ModelProto.SentencePiece
SPACE_SIGN = "\u2581"
NO_ID = -1
UNKNOWN_SURFACE = " \u2047 "  # SentencePiece's own
FLAGS = {  # key -> (field of the normalizer, what a file without the key means)
    "add_space_prefix": ("add_dummy_prefix", True),
    "remove_extra_whitespaces": ("remove_extra_whitespaces", False),
}


def model(metadata: Mapping[str, Any], where: str = "GGUF") -> bytes:
    """The ModelProto of a GGUF file's key/values.

    Raises TokenizerError when the vocabulary is missing or contradictory.
    """
    tokens = texts(metadata, "tokenizer.ggml.tokens", where)
    types = token_types(metadata, len(tokens), where)
    scores = _scores(metadata, len(tokens), where)
    unknown = _unknown(metadata, types, where)
    specials = special_ids(metadata, where)
    highest, longest = max(scores, default=0.0), max(map(len, tokens), default=0)
    result = proto.ModelProto()
    for token_id, (text, score, kind) in enumerate(zip(tokens, scores, types, strict=True)):
        if kind == Type.CONTROL:
            kind = Type.USER_DEFINED
        elif kind == Type.USER_DEFINED:
            text = text.replace(" ", SPACE_SIGN)
            if len(text) > 1 and not text.strip(SPACE_SIGN):
                kind, score = Type.NORMAL, highest + 1 + longest - len(text)
        kind = Type.UNKNOWN if token_id == unknown else kind
        try:
            result.pieces.add(piece=text, score=score, type=kind)
        except (UnicodeEncodeError, ValueError) as error:
            raise TokenizerError(
                f"{where}: tokenizer.ggml.tokens[{token_id}] is {text!r:.60}; UTF-8 is needed"
            ) from error
    trainer = result.trainer_spec
    trainer.model_type = proto.TrainerSpec.BPE
    trainer.vocab_size = len(tokens)
    trainer.byte_fallback = Type.BYTE in types
    trainer.unk_id, trainer.unk_piece = unknown, result.pieces[unknown].piece
    trainer.unk_surface = UNKNOWN_SURFACE
    for name in ("bos", "eos", "pad"):
        token_id = getattr(specials, name)
        setattr(trainer, f"{name}_id", NO_ID if token_id is None else token_id)
        if token_id is not None:
            setattr(trainer, f"{name}_piece", result.pieces[token_id].piece)
    result.normalizer_spec.name = "identity"
    result.normalizer_spec.escape_whitespaces = True
    for key, (field, default) in FLAGS.items():
        value = metadata.get(f"tokenizer.ggml.{key}", default)
        if not isinstance(value, bool):
            raise TokenizerError(
                f"{where}: tokenizer.ggml.{key} is {value!r:.60}; true or false is needed"
            )
        setattr(result.normalizer_spec, field, value)
    return result.SerializeToString(deterministic=True)


def _scores(metadata: Mapping[str, Any], count: int, where: str) -> list[float]:
    key = "tokenizer.ggml.scores"
    scores = metadata.get(key)
    if not isinstance(scores, list) or len(scores) != count:
        found = f"{len(scores)} entries" if isinstance(scores, list) else repr(scores)[:60]
        raise TokenizerError(f"{where}: {key} is {found}; {count} numbers are needed")
    for token_id, score in enumerate(scores):
        if not isinstance(score, int | float) or not math.isfinite(score):
            raise TokenizerError(
                f"{where}: {key}[{token_id}] is {score!r:.60}; a finite number is needed"
            )
    return scores


def _unknown(metadata: Mapping[str, Any], types: list[int], where: str) -> int:
    """The id for what has no piece: the key's, else that of the one piece of this type."""
    key = "tokenizer.ggml.unknown_token_id"
    found = [token_id for token_id, kind in enumerate(types) if kind == Type.UNKNOWN]
    named = metadata.get(key)
    if named is None and len(found) == 1:
        return found[0]
    if type(named) is not int or not 0 <= named < len(types) or found not in ([], [named]):
        raise TokenizerError(
            f"{where}: {key} is {named!r:.60} and the tokens {found[:3]} are of type 2, unknown; "
            "exactly one unknown token is needed"
        )
    return named
