"""Checks a SentencePiece model against the tokenizer.json beside it, and completes it.

Folders of the Hub often hold both. The model then lacks the added tokens that came later, as that
of Phi-3 does from 32000 on, or has them as control pieces, which SentencePiece finds in no text, as
that of Mistral has [INST]. A chat is written with them, so the model gets them as user-defined
pieces.
"""

from collections.abc import Mapping
from typing import Any

from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2

from . import TokenizerError
from .metaspace import is_metaspace, refuse_flags
from .sentencepiece_document import parse
from .tokenizer_json import FILE_NAME, original

proto: Any = sentencepiece_model_pb2  # generated at import, unknown to type checkers
Type = proto.ModelProto.SentencePiece
NO_ID = -1
PROBED = 8  # pieces a text
PROBES = (
    "Two  spaces, three   and  \tmore;\n    def f(x):\n        return 12345  # it's",
    "na\u00efve \u0434\u043e\u0440\u043e\u0433\u0430 \u65e5\u672c\u8a9e \U0001f642!",
)
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def completed(model: bytes, document: dict[str, Any], where: str) -> bytes:
    """The model with all added tokens of the document; its very bytes where none is missing.

    Raises TokenizerError, beginning with `where`, that names the first id for which they disagree,
    and for flags of added tokens that SentencePiece cannot keep.
    """
    parsed = parse(model, where)
    added = {token["id"]: token["content"] for token in document.get("added_tokens") or []}
    texts = _texts(document["model"]) | added
    for token in document.get("added_tokens") or []:
        refuse_flags(token, where)
    if is_metaspace(document):
        _check_kind(parsed, document, where)
        _check_pieces(parsed.pieces, texts, where)
    else:
        _check_decoded(model, document, texts, where)
    changed = False
    for token_id in range(1 + max(texts)):
        if token_id >= len(parsed.pieces):
            if token_id not in added:
                raise TokenizerError(
                    f"{where}: has {len(parsed.pieces)} pieces; {FILE_NAME} has "
                    f"{texts.get(token_id)!r:.60} for {token_id}, which is no added token"
                )
            parsed.pieces.add(piece=added[token_id], score=0.0, type=Type.USER_DEFINED)
            changed = True
        elif token_id in added and parsed.pieces[token_id].type in (Type.CONTROL, Type.NORMAL):
            parsed.pieces[token_id].type = Type.USER_DEFINED
            changed = True
    if changed:
        parsed.trainer_spec.vocab_size = len(parsed.pieces)
        model = parsed.SerializeToString(deterministic=True)
    if is_metaspace(document) and document["model"].get("type") != "Unigram":
        _check_ids(model, document, texts, where)
    return model


def _texts(model: Mapping[str, Any]) -> dict[int, str]:
    if model.get("type") == "Unigram":
        return {i: text for i, (text, _) in enumerate(model["vocab"])}
    return {token_id: text for text, token_id in model["vocab"].items()}


def _check_kind(parsed: Any, document: Mapping[str, Any], where: str) -> None:
    is_unigram = document["model"].get("type") == "Unigram"
    kind = proto.TrainerSpec.UNIGRAM if is_unigram else proto.TrainerSpec.BPE
    if parsed.trainer_spec.model_type != kind:
        name = proto.TrainerSpec.ModelType.Name
        raise TokenizerError(
            f"{where}: a model of type {name(parsed.trainer_spec.model_type)}; {FILE_NAME} is one "
            f"of type {name(kind)}: remove the one that the weights do not belong to"
        )


def _check_pieces(pieces: Any, texts: Mapping[int, str], where: str) -> None:
    for token_id, piece in enumerate(pieces):
        text = texts.get(token_id)
        if text is not None and text != piece.piece:
            raise _contradiction(token_id, piece.piece, text, where)


def _check_decoded(
    model: bytes, document: dict[str, Any], texts: Mapping[int, str], where: str
) -> None:
    """Of a byte-level document: a model rebuilt from it spells the pieces in its own letters."""
    processor = SentencePieceProcessor(model_proto=model)
    tokenizer = original(document, where)
    for token_id in sorted(texts):
        if token_id >= processor.get_piece_size() or processor.is_control(token_id):
            continue
        got = processor.decode([token_id])
        text = tokenizer.decode([token_id], skip_special_tokens=False)
        if got != text and REPLACEMENT not in got + text:
            raise _contradiction(token_id, got, text, where)


def _check_ids(
    model: bytes, document: dict[str, Any], texts: Mapping[int, str], where: str
) -> None:
    """Compares the ids of texts that hold every piece: merges may come in another order.

    Not of Unigram models, of which two ways to cut a text may have scores too near to tell apart.
    """
    processor = SentencePieceProcessor(model_proto=model)
    tokenizer = original(document, where)
    added = {token["id"] for token in document.get("added_tokens") or []}
    words = [
        tokenizer.decode([token_id]).strip() for token_id in sorted(texts) if token_id not in added
    ]
    words = [word for word in words if word and REPLACEMENT not in word]
    lines = ["  ".join(words[i : i + PROBED]) for i in range(0, len(words), PROBED)]
    probes = [*PROBES, *lines]
    encodings = tokenizer.encode_batch(probes, add_special_tokens=False)
    for probe, encoding in zip(probes, encodings, strict=True):
        got = processor.encode(probe)
        if got == encoding.ids:
            continue
        pairs = zip([*got, NO_ID], [*encoding.ids, NO_ID], strict=False)
        one, other = next(pair for pair in pairs if pair[0] != pair[1])
        raise TokenizerError(
            f"{where}: gives {one} where {FILE_NAME} gives {other}, in {probe!r:.60}: remove the "
            "one that the weights do not belong to"
        )


def _contradiction(token_id: int, piece: str, text: str, where: str) -> TokenizerError:
    return TokenizerError(
        f"{where}: {token_id} is {piece!r:.60}; {FILE_NAME} has {text!r:.60} for it: remove the "
        "one that the weights do not belong to"
    )
