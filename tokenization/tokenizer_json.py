"""Reads tokenizer.json, the Hub's description of a tokenizer, and checks it first."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from . import TokenizerError

FILE_NAME = "tokenizer.json"
FLAGS_NOT_REBUILT = ("lstrip", "rstrip", "single_word")
IGNORE = "--ignore-flags builds one that keeps the spaces beside it"
ADDED_TOKEN_FLAGS = ("special", "normalized", *FLAGS_NOT_REBUILT)
MODEL_OPTIONS_NOT_REBUILT = (
    "dropout",
    "end_of_word_suffix",
)
OPTIONS_OF_UNKNOWN_BYTES = ("byte_fallback", "fuse_unk")  # they do nothing where all are known
MAX_ID = 2**21  # ids are positions in the model, so that one absurd id would fill the memory


def without_flags(document: dict[str, Any]) -> dict[str, Any]:
    """A document whose added tokens have none of the flags that cannot be rebuilt."""
    unset = dict.fromkeys(FLAGS_NOT_REBUILT, False)
    added = document.get("added_tokens") or []
    return document | {"added_tokens": [token | unset for token in added]}


def _byte_letters() -> dict[int, str]:
    """The printable character that GPT-2's vocabulary writes for each byte.

    Source: Radford et al. 2019, the released encoder: printable Latin-1 stands for itself, the
    other 68 bytes for U+0100 onwards, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable}
    return letters | {byte: chr(0x100 + position) for position, byte in enumerate(others)}


BYTE_LETTERS = _byte_letters()
LETTER_BYTES = {letter: byte for byte, letter in BYTE_LETTERS.items()}


@dataclass(frozen=True)
class AddedToken:
    """A text that the original cuts out of the input before anything else, with its id."""

    id: int
    content: str
    special: bool


@dataclass(frozen=True)
class SpecialIds:
    """Ids of tokens with a part to play; None where the checkpoint names none."""

    bos: int | None = None
    eos: int | None = None
    pad: int | None = None


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary in bytes.

    tokens: id -> bytes, without the added tokens; ranks: merged bytes -> rank of the merge that
    makes them, 0 first; size: one more than the largest id; looked_up: whether a pre-token that is
    a token is taken as it is, without merges (`ignore_merges`).
    """

    tokens: dict[int, bytes]
    ranks: dict[bytes, int]
    added: dict[int, AddedToken]
    size: int
    looked_up: bool = False


def read(path: Path) -> dict[str, Any]:
    """Reads and validates a tokenizer.json; raises TokenizerError where it cannot be believed."""
    document = load(path)
    validate(document, str(path))
    return document


def load(path: Path) -> Any:
    """The JSON in a file, of any tokenizer; raises TokenizerError where it is none."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise TokenizerError(
            f"{path}: {error.strerror or error}; a readable {FILE_NAME} is needed"
        ) from error
    except RecursionError as error:
        raise TokenizerError(f"{path}: nested too deeply; not a {FILE_NAME}") from error
    except ValueError as error:  # not JSON, or not UTF-8
        raise TokenizerError(f"{path}: {error}; a JSON document is needed") from error


def validate(document: Any, where: str) -> None:
    """Raises TokenizerError, beginning with `where`, unless it is a BPE or Unigram tokenizer."""
    top = _object(document, where, "document")
    model = _object(top.get("model"), where, "model")
    kind = model.get("type", "BPE")  # files from before 2020 leave the type out
    if kind == "WordPiece":
        raise TokenizerError(
            f"{where}: model.type is 'WordPiece'; it takes the longest piece first and a whole "
            "word as unknown, which no SentencePiece model does; take BPE or Unigram"
        )
    if kind not in ("BPE", "Unigram"):
        raise TokenizerError(
            f"{where}: model.type is {kind!r}; only BPE and Unigram can be rebuilt"
        )
    if kind == "Unigram":
        vocabulary = _validate_unigram(model, where)
    else:
        if prefix := model.get("continuing_subword_prefix"):
            # the library ends the whole process over some merges of such a model
            raise TokenizerError(
                f"{where}: model.continuing_subword_prefix is {_shown(prefix)}; only a model "
                "without it can be rebuilt"
            )
        vocabulary = _validate_vocabulary(model.get("vocab"), where)
        _validate_merges(model.get("merges"), vocabulary, where)
    _validate_added_tokens(top.get("added_tokens"), vocabulary, where)
    for key in ("normalizer", "pre_tokenizer", "decoder", "post_processor"):
        if top.get(key) is not None:
            _object(top[key], where, key)


def _object(value: Any, where: str, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TokenizerError(f"{where}: {name} is {_shown(value)}; a JSON object is needed")
    return value


def _shown(value: Any) -> str:
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MAX_ID


def _validate_vocabulary(vocabulary: Any, where: str) -> dict[str, int]:
    vocabulary = _object(vocabulary, where, "model.vocab")
    if not vocabulary:
        raise TokenizerError(f"{where}: model.vocab is empty; at least one token is needed")
    owners: dict[int, str] = {}
    for token, token_id in vocabulary.items():
        if not token or not _is_id(token_id):
            raise TokenizerError(
                f"{where}: model.vocab[{_shown(token)}] is {_shown(token_id)}; "
                f"a text with an id from 0 to {MAX_ID - 1} is needed"
            )
        if token_id in owners:
            raise TokenizerError(
                f"{where}: {_shown(owners[token_id])} and {_shown(token)} in model.vocab are both "
                f"{token_id}; each id may be used once"
            )
        owners[token_id] = token
    return vocabulary


def _validate_unigram(model: dict[str, Any], where: str) -> dict[str, int]:
    """The vocabulary of a Unigram model: its entries' texts with their positions."""
    entries = model.get("vocab")
    if not isinstance(entries, list) or not entries:
        raise TokenizerError(f"{where}: model.vocab is {_shown(entries)}; a list is needed")
    ids: dict[str, int] = {}
    for position, entry in enumerate(entries):
        if not _is_scored(entry) or entry[0] in ids:
            raise TokenizerError(
                f"{where}: model.vocab[{position}] is {_shown(entry)}; a text that was not there "
                "before and a finite score are needed"
            )
        ids[entry[0]] = position
    unknown = model.get("unk_id")
    if unknown is not None and (not _is_id(unknown) or unknown >= len(ids)):
        raise TokenizerError(
            f"{where}: model.unk_id is {_shown(unknown)}; an id from 0 to {len(ids) - 1} is needed"
        )
    return ids


def _is_scored(entry: Any) -> bool:
    if not isinstance(entry, list) or len(entry) != 2:
        return False
    text, score = entry
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    return isinstance(text, str) and bool(text) and is_number and math.isfinite(score)


def split_merge(merge: Any) -> tuple[str, str] | None:
    """The two parts of a merge, written as "a b" or ["a", "b"]; None when it is neither."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if isinstance(parts, list) and len(parts) == 2 and all(isinstance(p, str) for p in parts):
        return parts[0], parts[1]
    return None


def _validate_merges(merges: Any, vocabulary: dict[str, int], where: str) -> None:
    if not isinstance(merges, list):
        raise TokenizerError(f"{where}: model.merges is {_shown(merges)}; a list is needed")
    for rank, merge in enumerate(merges):
        parts = split_merge(merge)
        if parts is None:
            raise TokenizerError(
                f"{where}: model.merges[{rank}] is {_shown(merge)}; two texts are needed"
            )
        for piece in (*parts, parts[0] + parts[1]):
            if piece not in vocabulary:
                raise TokenizerError(
                    f"{where}: model.merges[{rank}] needs {_shown(piece)}, "
                    "which is not in model.vocab"
                )


def _validate_added_tokens(added: Any, vocabulary: dict[str, int], where: str) -> None:
    if not isinstance(added, list | None):
        raise TokenizerError(f"{where}: added_tokens is {_shown(added)}; a list is needed")
    ids: set[int] = set()
    contents: set[str] = set()
    owners = {token_id: token for token, token_id in vocabulary.items()}
    for position, token in enumerate(added or []):
        name = f"added_tokens[{position}]"
        token_id, content = _validate_added_token(token, where, name)
        owner = owners.get(token_id, content)
        if token_id in ids or content in contents or owner != content:
            raise TokenizerError(
                f"{where}: {name}, {_shown(content)} with id {token_id}, is there twice or "
                "contradicts model.vocab; each id and each text may be used once"
            )
        if vocabulary.get(content, token_id) != token_id:
            raise TokenizerError(
                f"{where}: {name}, {_shown(content)}, has id {token_id} and in model.vocab "
                f"{vocabulary[content]}; one id is needed"
            )
        ids.add(token_id)
        contents.add(content)


def _validate_added_token(token: Any, where: str, name: str) -> tuple[int, str]:
    """The id and the content of an added token, once its types are right."""
    token = _object(token, where, name)
    token_id, content = token.get("id"), token.get("content")
    if not _is_id(token_id) or not isinstance(content, str) or not content:
        raise TokenizerError(
            f"{where}: {name} has id {_shown(token_id)} and content {_shown(content)}; "
            f"an id from 0 to {MAX_ID - 1} and a text are needed"
        )
    for flag in ADDED_TOKEN_FLAGS:
        if not isinstance(token.get(flag, False), bool):
            raise TokenizerError(
                f"{where}: {name}.{flag} is {_shown(token[flag])}; true or false is needed"
            )
    return token_id, content


def to_bytes(token: str) -> bytes | None:
    """The bytes that a byte-level token stands for; None when it is not written in byte letters."""
    try:
        return bytes(LETTER_BYTES[letter] for letter in token)
    except KeyError:
        return None


def vocabulary(document: dict[str, Any], where: str = FILE_NAME) -> Vocabulary:
    """The vocabulary of a validated byte-level document, in bytes.

    Raises TokenizerError for what changes the ids and cannot be rebuilt: flags of added tokens and
    options of the model, and tokens that are neither added nor written in byte letters.
    """
    model = document["model"]
    for option in MODEL_OPTIONS_NOT_REBUILT:
        if model.get(option):
            raise TokenizerError(
                f"{where}: model.{option} is {_shown(model[option])}; only a model without it "
                "can be rebuilt"
            )
    for token in document.get("added_tokens") or []:
        for flag in FLAGS_NOT_REBUILT:
            if token.get(flag):
                raise TokenizerError(
                    f"{where}: the added token {_shown(token['content'])} has {flag}; "
                    f"only tokens without it can be rebuilt; {IGNORE}"
                )
    added = {
        token["id"]: AddedToken(token["id"], token["content"], token.get("special", False))
        for token in document.get("added_tokens") or []
    }
    tokens: dict[int, bytes] = {}
    for token, token_id in model["vocab"].items():
        if token_id in added:
            continue
        raw = to_bytes(token)
        if raw is None:
            raise TokenizerError(
                f"{where}: model.vocab[{_shown(token)}], id {token_id}, is not written in the "
                "letters of byte-level BPE; only byte-level vocabularies can be rebuilt"
            )
        tokens[token_id] = raw
    bytes_known = sum(len(raw) == 1 for raw in tokens.values())
    for option in OPTIONS_OF_UNKNOWN_BYTES:
        if model.get(option) and bytes_known < 256:
            raise TokenizerError(
                f"{where}: model.{option} is {_shown(model[option])} and {256 - bytes_known} bytes "
                "have no token; only a model without it, or with all bytes, can be rebuilt"
            )
    if model.get("unk_token") is not None and bytes_known < 256:
        raise TokenizerError(
            f"{where}: model.unk_token is {_shown(model['unk_token'])} and {256 - bytes_known} "
            "bytes have no token; only models that drop such bytes can be rebuilt"
        )
    ranks: dict[bytes, int] = {}
    for left, right in _split_merges(model["merges"]):
        merged = to_bytes(left + right)
        if merged is not None:
            ranks.setdefault(merged, len(ranks))  # several merges may make one token
    size = 1 + max((*tokens, *added))
    return Vocabulary(tokens, ranks, added, size, bool(model.get("ignore_merges")))


def _split_merges(merges: Iterable[Any]) -> Iterable[tuple[str, str]]:
    for merge in merges:
        parts = split_merge(merge)
        assert parts is not None, "validate() has looked at every merge"
        yield parts


def original(document: dict[str, Any], where: str = FILE_NAME) -> Tokenizer:
    """The tokenizer of the `tokenizers` library that the document describes: the original.

    Raises TokenizerError when the library cannot use the document, or gives an added token another
    id than the document says: it numbers them itself, from the size of the vocabulary on.
    """
    try:
        tokenizer = Tokenizer.from_str(json.dumps(document))
    except Exception as error:
        # the library raises bare Exception for a document it cannot use, and nothing narrower
        if type(error) is not Exception:
            raise
        raise TokenizerError(
            f"{where}: {error}; a document that the tokenizers library can load is needed"
        ) from error
    for token in document.get("added_tokens") or []:
        token_id = tokenizer.token_to_id(token["content"])
        if token_id != token["id"]:
            raise TokenizerError(
                f"{where}: the added token {_shown(token['content'])} has id {token['id']}, but "
                f"the tokenizers library gives it {token_id}; they must be the same"
            )
    return tokenizer
