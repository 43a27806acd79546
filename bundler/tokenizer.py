"""The SentencePiece model of a bundle: loaded, counted, and asked whether a token can stop it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sentencepiece
from google.protobuf.message import DecodeError, Message

from . import BundleError
from .proto import Messages, message_class

_SPACE = "\u2581"  # how SentencePiece writes a space
_KINDS = ("?", "normal", "unknown", "control", "user defined", "unused", "byte")
_MODEL_TYPES = ("?", "unigram", "bpe", "word", "char")

# source: sentencepiece_model.proto; the enums are read as numbers, 0 where the default (1) is meant
_MESSAGES: Messages = {
    "SentencePiece": {"piece": (1, "bytes", ""), "type": (3, "int32", "")},
    "TrainerSpec": {"model_type": (3, "int32", "")},
    "ModelProto": {
        "pieces": (1, "SentencePiece", "repeated"),
        "trainer_spec": (2, "TrainerSpec", ""),
    },
}


@dataclass(frozen=True)
class Tokenizer:
    """A loaded model; `kinds` has each id's kind of piece, `where` begins the errors' messages."""

    processor: sentencepiece.SentencePieceProcessor
    kinds: tuple[str, ...]
    model_type: str
    where: str

    def count_kinds(self) -> Mapping[str, int]:
        return Counter(self.kinds)

    def check_start(self, token: str) -> None:
        """Refuses a start token that the runtime would not find: it takes the unknown id then."""
        if self._piece(token) is None:
            raise BundleError(
                f"{self.where}: start token {token!r} is {self._as_ids(token)}; "
                "it must be one token of this tokenizer"
            )

    def check_stops(self, tokens: Sequence[str]) -> None:
        """Refuses stop tokens that would never stop an answer, or stop it in mid-sentence.

        Each must be one control or user-defined piece, and its text no other id: engines compare
        ids, or the text of single pieces.
        """
        for token in tokens:
            if reason := self._why_no_stop(token):
                raise BundleError(f"{self.where}: stop token {token!r} {reason}")

    def _why_no_stop(self, token: str) -> str | None:
        if not token.strip(" \t\r\n" + _SPACE):
            return "is white space; an answer would stop at the first one"
        piece = self._piece(token)
        if piece is None:
            return f"is {self._as_ids(token)}; it must be one token of this tokenizer"
        if self.kinds[piece] == "control":
            return None  # no text gives a control piece, by definition
        if self.kinds[piece] != "user defined":
            return f"is the {self.kinds[piece]} piece {piece}; any answer may contain it"
        ids = self.processor.EncodeAsIds(token)
        if ids and self.processor.IdToPiece(ids[0]) == _SPACE:
            ids = ids[1:]  # some models put a space in front of every text
        if ids != [piece]:
            return f"is the piece {piece}, but its text gives the ids {ids}; only that one may be"
        return None

    def _piece(self, token: str) -> int | None:
        """The id of the piece that is spelled so, unless it is the unknown one."""
        piece = self.processor.PieceToId(token)
        known = self.processor.IdToPiece(piece) == token and self.kinds[piece] != "unknown"
        return piece if known else None

    def _as_ids(self, token: str) -> str:
        ids = self.processor.EncodeAsIds(token)
        return f"{len(ids)} ids {ids[:20]}"


def check_tokens(model: bytes, start_token: str, stop_tokens: Sequence[str], where: str) -> None:
    """Refuses a start token or stop tokens that this model's runtime would not find.

    model: a SentencePiece ModelProto. Raises BundleError, as the Tokenizer's checks do.
    """
    tokenizer = load_tokenizer(model, where)
    tokenizer.check_start(start_token)
    tokenizer.check_stops(stop_tokens)


def load_tokenizer(model: bytes, where: str) -> Tokenizer:
    """Loads a SentencePiece ModelProto. Raises BundleError for bytes that are none."""
    processor = sentencepiece.SentencePieceProcessor()
    message: Any = _model_class()()
    try:
        processor.LoadFromSerializedProto(model)
        message.ParseFromString(model)
    except (RuntimeError, DecodeError) as error:
        raise BundleError(
            f"{where}: {len(model)} bytes are no SentencePiece model "
            f"({' '.join(str(error).split())[:200]}); make one with taskpress tokenizer"
        ) from error
    return Tokenizer(
        processor=processor,
        kinds=tuple(_name(_KINDS, piece.type or 1) for piece in message.pieces),
        model_type=_name(_MODEL_TYPES, message.trainer_spec.model_type or 1),
        where=where,
    )


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 < number < len(names) else names[0]


@cache
def _model_class() -> type[Message]:
    return message_class("sentencepiece", _MESSAGES, "ModelProto")
