"""The tokenizer.json document of a SentencePiece model: the same tokenizer in the other form.

What reads documents, the parity report and the special tokens, then reads such models too. A BPE
model holds no merges, only the scores of what they make: each way to cut a piece into two others is
a merge, in the order of the scores, as in the documents that the Hub's converters write.
"""

import base64
import math
from typing import Any

from google.protobuf.message import DecodeError
from sentencepiece import sentencepiece_model_pb2

from . import TokenizerError
from .metaspace import SPACE_SIGN, prefix_of
from .tokenizer_json import validate

proto: Any = sentencepiece_model_pb2  # generated at import, unknown to type checkers
Type = proto.ModelProto.SentencePiece


def parse(model: bytes, where: str) -> Any:
    """The ModelProto in some bytes; raises TokenizerError where they are none that can be used."""
    try:
        parsed = proto.ModelProto.FromString(model)
    except DecodeError as error:
        raise TokenizerError(
            f"{where}: {len(model)} bytes that are no ModelProto; a SentencePiece model is needed"
        ) from error
    if not parsed.pieces:
        raise TokenizerError(f"{where}: a ModelProto without pieces; some are needed")
    for token_id, piece in enumerate(parsed.pieces):
        try:
            is_sound = bool(piece.piece) and math.isfinite(piece.score)
        except UnicodeDecodeError:  # proto2 looks at a text when it is asked for
            is_sound = False
        if not is_sound:
            raise TokenizerError(
                f"{where}: piece {token_id} is empty, not UTF-8 or without a finite score; "
                "a sound SentencePiece model is needed"
            )
    return parsed


def document(model: bytes, where: str, *, controls: bool = False) -> dict[str, Any]:
    """The document of a BPE or Unigram model; raises TokenizerError for any other.

    The added tokens are the user-defined pieces: SentencePiece finds no control piece in a text.
    controls: make added tokens of those too, as the Hub's converters do.
    """
    parsed = parse(model, where)
    trainer, normalizer = parsed.trainer_spec, parsed.normalizer_spec
    if trainer.model_type not in (proto.TrainerSpec.BPE, proto.TrainerSpec.UNIGRAM):
        kind = proto.TrainerSpec.ModelType.Name(trainer.model_type)
        raise TokenizerError(f"{where}: a model of type {kind}; BPE or UNIGRAM is needed")
    if parsed.denormalizer_spec.precompiled_charsmap:
        raise TokenizerError(
            f"{where}: has a denormalizer, so that it was rebuilt from another tokenizer; "
            "that one is needed"
        )
    unused = [i for i, piece in enumerate(parsed.pieces) if piece.type == Type.UNUSED]
    if unused or trainer.treat_whitespace_as_suffix:
        what = f"piece {unused[0]} is unused" if unused else "spaces end words"
        raise TokenizerError(f"{where}: {what}, which no tokenizer.json says; use the model alone")
    has_prefix = normalizer.add_dummy_prefix
    kinds = (Type.USER_DEFINED, Type.CONTROL) if controls else (Type.USER_DEFINED,)
    added = [
        _added_token(i, piece.piece, normalized=has_prefix and piece.type == Type.USER_DEFINED)
        for i, piece in enumerate(parsed.pieces)
        if piece.type in kinds
    ]
    built: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": [*_charsmap(normalizer), *_spaces(normalizer, added)],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": _decoder(has_prefix),
        "model": _bpe(parsed, where)
        if trainer.model_type == proto.TrainerSpec.BPE
        else _unigram(parsed),
    }
    validate(built, where)
    return built


def _charsmap(normalizer: Any) -> list[dict[str, Any]]:
    if not normalizer.precompiled_charsmap:
        return []
    text = base64.b64encode(normalizer.precompiled_charsmap).decode()
    return [{"type": "Precompiled", "precompiled_charsmap": text}]


def _spaces(normalizer: Any, added: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is done to spaces: runs made one, those at the ends dropped, a prefix, signs for all.

    added: the added tokens; what is normalized to find one of them gets no prefix.
    """
    steps: list[dict[str, Any]] = []
    if normalizer.remove_extra_whitespaces:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if normalizer.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": SPACE_SIGN})
    if normalizer.escape_whitespaces:
        steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE_SIGN})
    if contents := [token["content"] for token in added if token["normalized"]]:
        steps.append({"type": "Replace", "pattern": prefix_of(contents), "content": ""})
    return steps


def _decoder(has_prefix: bool) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE_SIGN}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if has_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def _unknown_id(parsed: Any) -> int | None:
    unknown = (i for i, piece in enumerate(parsed.pieces) if piece.type == Type.UNKNOWN)
    return next(unknown, None)


def _bpe(parsed: Any, where: str) -> dict[str, Any]:
    vocabulary: dict[str, int] = {}
    for token_id, piece in enumerate(parsed.pieces):
        if piece.piece in vocabulary:
            raise TokenizerError(
                f"{where}: the pieces {vocabulary[piece.piece]} and {token_id} are both "
                f"{piece.piece!r}; each text may be there once"
            )
        vocabulary[piece.piece] = token_id
    unknown = _unknown_id(parsed)
    return {
        "type": "BPE",
        "unk_token": None if unknown is None else parsed.pieces[unknown].piece,
        "fuse_unk": True,
        "byte_fallback": parsed.trainer_spec.byte_fallback,
        "vocab": vocabulary,
        "merges": _merges(parsed.pieces),
    }


def _merges(pieces: Any) -> list[list[str]]:
    """All merges of two pieces into one, by the score of what they make, the best first."""
    normal = {piece.piece for piece in pieces if piece.type == Type.NORMAL}
    ordered = sorted(
        (piece for piece in pieces if piece.type == Type.NORMAL and len(piece.piece) > 1),
        key=lambda piece: -piece.score,
    )
    return [
        [text[:cut], text[cut:]]
        for text in (piece.piece for piece in ordered)
        for cut in range(1, len(text))
        if text[:cut] in normal and text[cut:] in normal
    ]


def _unigram(parsed: Any) -> dict[str, Any]:
    return {
        "type": "Unigram",
        "unk_id": _unknown_id(parsed),
        "byte_fallback": parsed.trainer_spec.byte_fallback,
        "vocab": [[piece.piece, piece.score] for piece in parsed.pieces],
    }


def _added_token(token_id: int, content: str, *, normalized: bool) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "special"), False)
    return {"id": token_id, "content": content, **flags, "normalized": normalized}
