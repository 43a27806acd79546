"""Reads a tokenizer in any form that one is published in; what a file is, its content says.

- tokenizer.json, of the Hub; tekken.json, of Mistral: both hold all that is needed;
- a table of ranks, as tiktoken and Meta's Llama 3 have it: its expression and its special tokens
  stand elsewhere, and must be given;
- a SentencePiece model, which is taken as it is.

In a folder, the first of FOLDER_FILES that is there counts. Meta gives its table of ranks the name
of a SentencePiece model. A SentencePiece model beside a tokenizer.json is checked against it, and
is what comes out, with the added tokens that it lacks (`agreement`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import (
    FULL,
    TokenizerError,
    agreement,
    gguf_sentencepiece,
    gguf_vocabulary,
    rank_table,
    sentencepiece_document,
    sentencepiece_model,
    tokenizer_json,
)
from .patterns import PATTERNS
from .tokenizer_json import SpecialIds

OWN = "tokenizer.model"
TEKKEN = "tekken.json"
FOLDER_FILES = (tokenizer_json.FILE_NAME, TEKKEN, OWN)
RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\s*")
SNIFFED_BYTES = 4096
BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"


@dataclass(frozen=True)
class Given:
    """What a table of ranks does not hold.

    pattern: the expression that cuts a text, or its name in PATTERNS; specials: text -> id.
    """

    pattern: str | None = None
    specials: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """A tokenizer as it was read.

    document: in the form of a tokenizer.json; None where a SentencePiece model is all there is.
    model: the SentencePiece model that was there; None where one must be rebuilt.
    specials: the ids that the file itself names. where: begins the errors' messages.
    """

    document: dict[str, Any] | None
    model: bytes | None
    where: str
    specials: SpecialIds = field(default_factory=SpecialIds)

    def as_document(self, *, controls: bool = False) -> dict[str, Any]:
        """The document, made of the SentencePiece model where there is no other.

        controls: with the control pieces of such a model as added tokens.
        """
        if self.document is not None:
            return self.document
        assert self.model is not None
        return sentencepiece_document.document(self.model, self.where, controls=controls)

    def build(
        self,
        progress: Callable[[float], None] | None = None,
        specials: SpecialIds | None = None,
        form: str = FULL,
        *,
        ignore_flags: bool = False,
    ) -> bytes:
        """The ModelProto: the one that was there where it will do, else rebuilt.

        form: as for `sentencepiece_model.build`; one that was there is in plain form already.
        ignore_flags: of added tokens, those that SentencePiece cannot keep.
        """
        document = self.document
        if document is not None and ignore_flags:
            document = tokenizer_json.without_flags(document)
        if self.model is None:
            assert document is not None
            chosen = specials or self.specials
            return sentencepiece_model.build(
                document, progress, specials=chosen, where=self.where, form=form
            )
        if document is None:
            return self.model
        return agreement.completed(self.model, document, self.where)


def read(path: Path, given: Given | None = None) -> Published:
    """Reads a file or a folder; raises TokenizerError where it is none of these, or not sound."""
    if path.is_dir():
        return _read_folder(path, given)
    head = _head(path)
    if RANK_LINE.fullmatch(head.partition(b"\n")[0]):
        return Published(_rank_table(path, given or Given()), None, str(path))
    if given is not None and (given.pattern is not None or given.specials):
        raise TokenizerError(
            f"{path}: is no table of ranks; --pattern and --special are for those only"
        )
    if head.lstrip(BEFORE_JSON)[:1] not in (b"{", b"["):
        return _sentencepiece(path)
    data = _bytes(path)
    if b'"token_bytes"' in data and b'"default_vocab_size"' in data:
        return _tekken(path)
    return Published(tokenizer_json.read(path), None, str(path))


def read_gguf(metadata: Mapping[str, Any], where: str) -> Published:
    """Reads the vocabulary of a GGUF file's key/values."""
    specials = gguf_vocabulary.special_ids
    if metadata.get("tokenizer.ggml.model") == "llama":
        model = gguf_sentencepiece.model(metadata, where)
        sentencepiece_model.check(model, where)
        return Published(None, model, where, specials(metadata, where))
    document = gguf_vocabulary.tokenizer_json(metadata, where)
    return Published(document, None, where, specials(metadata, where))


def _read_folder(folder: Path, given: Given | None) -> Published:
    there = [name for name in FOLDER_FILES if (folder / name).exists()]
    if not there:
        raise TokenizerError(f"{folder}: no tokenizer; needs one of {', '.join(FOLDER_FILES)}")
    path = folder / there[0]
    if there[0] == OWN:
        return read(path, given)
    if there[0] == TEKKEN:
        return _tekken(path)
    document = tokenizer_json.read(path)
    if OWN in there and not RANK_LINE.fullmatch(_head(folder / OWN).partition(b"\n")[0]):
        return Published(document, _sentencepiece(folder / OWN).model, str(folder / OWN))
    return Published(document, None, str(path))  # a table of ranks has nothing to add to it


def _sentencepiece(path: Path) -> Published:
    model = _bytes(path)
    sentencepiece_document.parse(model, str(path))
    sentencepiece_model.check(model, str(path))
    return Published(None, model, str(path))


def _tekken(path: Path) -> Published:
    document = rank_table.read_tekken(path)
    return Published(document, None, str(path), _named_ids(document))


def _rank_table(path: Path, given: Given) -> dict[str, Any]:
    if given.pattern is None:
        raise TokenizerError(
            f"{path}: a table of ranks without the expression that cuts a text; --pattern must "
            f"name it ({', '.join(PATTERNS)}) or give it, and --special the special tokens"
        )
    pattern = PATTERNS.get(given.pattern, given.pattern)
    return rank_table.read_tiktoken(path, pattern, given.specials)


def _named_ids(document: Mapping[str, Any]) -> SpecialIds:
    """The ids of the tokens that go by the names that Mistral gives them."""
    ids = {token["content"]: token["id"] for token in document["added_tokens"]}
    return SpecialIds(bos=ids.get("<s>"), eos=ids.get("</s>"), pad=ids.get("<pad>"))


def _head(path: Path) -> bytes:
    return _bytes(path, SNIFFED_BYTES)


def _bytes(path: Path, most: int = -1) -> bytes:
    """The first bytes of a file, or all of them."""
    try:
        if not path.is_file() and not path.is_dir():
            raise TokenizerError(f"{path}: is not a regular file; a tokenizer's file is needed")
        with path.open("rb") as file:  # a pipe would wait for its writer; a folder says so itself
            return file.read(most)
    except OSError as error:
        raise TokenizerError(
            f"{path}: cannot be read: {error.strerror or error}; a tokenizer's file is needed"
        ) from error
