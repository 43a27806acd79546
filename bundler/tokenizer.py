"""The SentencePiece model of a bundle: loaded, counted, and asked whether a token can stop it.

A bundle that says BYTES_TO_UNICODE has the engine write each byte of a text as a letter of GPT-2's
alphabet before SentencePiece sees it, and back again. Such a model spells its pieces in those
letters, has all 256 of them, and changes none: no space in front, no normal form.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sentencepiece
from google.protobuf.message import DecodeError, Message

from ..tokenization.tokenizer_json import BYTE_LETTERS, LETTER_BYTES
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
    """A loaded model; `kinds` has each id's kind of piece, `where` begins the errors' messages.

    bytes_to_unicode: the engine writes texts in GPT-2's letters.
    """

    processor: sentencepiece.SentencePieceProcessor
    kinds: tuple[str, ...]
    model_type: str
    where: str
    bytes_to_unicode: bool = False

    def spelling(self, piece: int) -> str:
        """A piece as it is written. Raises BundleError for one that is no UTF-8."""
        try:
            return self.processor.IdToPiece(piece)
        except UnicodeDecodeError as error:
            raise BundleError(
                f"{self.where}: the piece {piece} is no UTF-8: {error}; the model is damaged"
            ) from error

    def encode(self, text: str) -> list[int]:
        """The ids of a text, as the engine makes them."""
        return self.processor.EncodeAsIds(_in_letters(text) if self.bytes_to_unicode else text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, as the engine makes it; bytes that are no UTF-8 become U+FFFD."""
        text = self.processor.DecodeIds(list(ids))
        if not self.bytes_to_unicode:
            return text
        # SentencePiece shows the unknown piece by a sign of its own
        spelled = (
            bytes([LETTER_BYTES[letter]]) if letter in LETTER_BYTES else letter.encode()
            for letter in text
        )
        return b"".join(spelled).decode(errors="replace")

    def check_letters(self) -> None:
        """Refuses a model that does not read GPT-2's letters, as BYTES_TO_UNICODE needs it."""
        for piece, kind in enumerate(self.kinds):
            text = self.spelling(piece)
            if kind == "byte":
                raise self._no_letters(f"has the byte piece {text!r}, so that it reads bytes")
            if kind in ("normal", "user defined") and not LETTER_BYTES.keys() >= set(text):
                raise self._no_letters(f"has the piece {piece}, {text!r}")
        for byte, letter in BYTE_LETTERS.items():
            pieces = self.processor.EncodeAsPieces(letter)
            if pieces != [letter] or self._piece(letter) is None:
                raise self._no_letters(f"makes {pieces} of {letter!r}, the letter of byte {byte}")

    def _no_letters(self, what: str) -> BundleError:
        return BundleError(
            f"{self.where}: {what}; BYTES_TO_UNICODE needs pieces in GPT-2's byte alphabet, each "
            "of its 256 letters among them, and no normalization"
        )

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
        # a user-defined piece is spelled in letters already where the engine writes those
        ids = self.processor.EncodeAsIds(token)
        if ids and self.spelling(ids[0]) == _SPACE:
            ids = ids[1:]  # some models put a space in front of every text
        if ids != [piece]:
            return f"is the piece {piece}, but its text gives the ids {ids}; only that one may be"
        return None

    def _piece(self, token: str) -> int | None:
        """The id of the piece that is spelled so, unless it is the unknown one."""
        piece = self.processor.PieceToId(token)
        known = self.spelling(piece) == token and self.kinds[piece] != "unknown"
        return piece if known else None

    def _as_ids(self, token: str) -> str:
        ids = self.processor.EncodeAsIds(token)
        return f"{len(ids)} ids {ids[:20]}"


def load_tokenizer(model: bytes, where: str, *, bytes_to_unicode: bool = False) -> Tokenizer:
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
        bytes_to_unicode=bytes_to_unicode,
    )


def _in_letters(text: str) -> str:
    return "".join(map(BYTE_LETTERS.__getitem__, text.encode()))


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 < number < len(names) else names[0]


@cache
def _model_class() -> type[Message]:
    return message_class("sentencepiece", _MESSAGES, "ModelProto")
