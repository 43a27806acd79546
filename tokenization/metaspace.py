"""Writes the tokenizers that came from SentencePiece back as its models: nothing to rebuild.

BPE and Unigram over characters, with "▁" for a space and, in most, a piece for each byte that a
character without a piece is spelled with. SentencePiece does all of it itself: the merge that comes
first has the highest score, and what the document's normalizer and pre-tokenizer do is one of three
flags. Where each sign begins a word, a piece with one behind its first character is never given.
Other normalizers change the text in ways that have no flag, and are refused.

Left over, where there is a prefix: SentencePiece writes it once, at the start of the text. The step
Prepend writes it behind each added token too. The step Metaspace does not write it in front of a
space, nor, with the scheme "first", in front of an added token that begins the text.
Where several spaces are taken as one, SentencePiece strips the ends of a text too; the original
does not without the step Strip.
Unigram: ways to cut a text whose scores differ by less than float32 can tell (SentencePiece's) are
chosen between as it falls; `tokenizers` counts in float64. Of 15,131 lines without characters that
have no piece, 11 to 13 differ so. Where characters have none, they are joined in other ways.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sentencepiece import sentencepiece_model_pb2

from . import TokenizerError
from .double_array import charsmap
from .tokenizer_json import IGNORE, SpecialIds, original, split_merge

proto: Any = sentencepiece_model_pb2  # generated at import, unknown to type checkers
Type = proto.ModelProto.SentencePiece
SPACE_SIGN = "\u2581"
TWO_SPACES = {"Regex": " {2,}"}
# Source: Unicode, PropList.txt, White_Space
OTHER_SPACES = [  # a map writes them as a space
    text.encode()
    for text in "\t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
]
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
BYTES = 256
NO_ID = -1
UNKNOWN_SURFACE = " \u2047 "  # SentencePiece's own
OPTIONS_NOT_REBUILT = ("dropout", "end_of_word_suffix", "ignore_merges")
FLAGS_NOT_REBUILT = {  # flag of an added token -> why SentencePiece cannot keep it
    "rstrip": "SentencePiece would leave the spaces behind it in the text",
    "lstrip": "SentencePiece would leave the spaces in front of it in the text",
    "single_word": "SentencePiece would find it inside of words too",
}


@dataclass
class _Flags:
    """What is done to a text before it is merged.

    strips: SentencePiece does so with one_space; splits: each sign for the space begins a word.
    """

    dummy_prefix: bool = False
    escape: bool = False
    one_space: bool = False
    strips: bool = False
    splits: bool = False
    charsmap: bytes = b""


def prefix_of(contents: Iterable[str]) -> dict[str, str]:
    """The pattern of the prefix of a text that is one of these added tokens and nothing else.

    SentencePiece writes the prefix once a text, also in front of a user-defined piece. A document
    says that by added tokens that are looked for in the normalized text. But their own texts are
    normalized too, and would then have the prefix.
    """
    escaped = (re.escape(text.replace(" ", SPACE_SIGN)) for text in contents)
    return {"Regex": rf"\A{SPACE_SIGN}(?=(?:{'|'.join(escaped)})\z)"}


def is_metaspace(document: dict[str, Any]) -> bool:
    """Whether a document is Unigram, or BPE over characters with a sign for the space."""
    model = document["model"]
    if model.get("type") == "Unigram":
        return True
    steps = _parts(document.get("pre_tokenizer"), "pretokenizers")
    if any(step.get("type") == "ByteLevel" for step in steps):
        return False
    parts = _parts(document.get("normalizer"), "normalizers")
    return bool(model.get("byte_fallback")) or any(
        part.get("type") == "Metaspace" or SPACE_SIGN in (part.get("content"), part.get("prepend"))
        for part in (*steps, *parts)
    )


def build(document: dict[str, Any], specials: SpecialIds, where: str) -> bytes:
    """The bytes of the SentencePiece model; TokenizerError for what it cannot do."""
    model = document["model"]
    is_unigram = model.get("type") == "Unigram"
    flags = _flags(document, where)
    original(document, where)  # refuses what the library refuses
    entries = _unigram(model) if is_unigram else _bpe(model, where)
    added = {token["id"]: token for token in document.get("added_tokens") or []}
    for token in added.values():
        refuse_flags(token, where)
    unknown = _unknown(model, added, where)
    result = proto.ModelProto()
    for token_id in range(1 + max((*entries, *added, unknown))):
        text, score, kind = entries.get(token_id, (f"<|hole_{token_id}|>", 0.0, Type.CONTROL))
        if token_id in added and not (kind == Type.NORMAL and _is_escaped(added[token_id])):
            text, kind = added[token_id]["content"], Type.USER_DEFINED
            if flags.escape:  # SentencePiece looks for it once more behind its normalizer
                text = text.replace(" ", SPACE_SIGN)
        elif flags.splits and SPACE_SIGN in text[1:] and kind == Type.NORMAL:
            kind = Type.CONTROL  # a word begins with each sign: no merge may join two
        if token_id == unknown:
            kind = Type.UNKNOWN
        elif model.get("byte_fallback") and BYTE_PIECE.fullmatch(text):
            kind = Type.BYTE
        result.pieces.add(piece=text, score=score, type=kind)
    trainer = result.trainer_spec
    trainer.model_type = proto.TrainerSpec.UNIGRAM if is_unigram else proto.TrainerSpec.BPE
    trainer.vocab_size = len(result.pieces)
    trainer.byte_fallback = bool(model.get("byte_fallback"))
    trainer.unk_id, trainer.unk_piece = unknown, result.pieces[unknown].piece
    trainer.unk_surface = UNKNOWN_SURFACE
    for name in ("bos", "eos", "pad"):
        token_id = getattr(specials, name)
        setattr(trainer, f"{name}_id", NO_ID if token_id is None else token_id)
        if token_id is not None:
            setattr(trainer, f"{name}_piece", result.pieces[token_id].piece)
    normalizer = result.normalizer_spec
    normalizer.name = "user_defined" if flags.charsmap else "identity"
    normalizer.precompiled_charsmap = flags.charsmap
    normalizer.add_dummy_prefix = flags.dummy_prefix
    normalizer.remove_extra_whitespaces = flags.one_space
    normalizer.escape_whitespaces = flags.escape
    return result.SerializeToString(deterministic=True)


def refuse_flags(token: dict[str, Any], where: str) -> None:
    """Raises TokenizerError for an added token with a flag that SentencePiece cannot keep.

    It finds user-defined pieces wherever they stand, and takes no spaces beside them.
    """
    if taken := [flag for flag in FLAGS_NOT_REBUILT if token.get(flag)]:
        raise TokenizerError(
            f"{where}: the added token {token['content']!r} has {taken[0]}; "
            f"{FLAGS_NOT_REBUILT[taken[0]]}; only tokens without it can be rebuilt; {IGNORE}"
        )


def _is_escaped(token: dict[str, Any]) -> bool:
    """Whether an added token is a run of signs for the space, as Gemma has them.

    No text has it, for the spaces in it are not yet signs when added tokens are looked for: such
    pieces come from merges.
    """
    return not token["content"].strip(SPACE_SIGN) and not token.get("normalized", False)


def _parts(step: Any, key: str) -> list[dict[str, Any]]:
    """A normalizer or pre-tokenizer as the list of its steps."""
    if not isinstance(step, dict):
        return []
    if step.get("type") != "Sequence":
        return [step]
    inner = step.get(key)
    return [part for each in inner for part in _parts(each, key)] if isinstance(inner, list) else []


def _pattern(part: dict[str, Any]) -> dict[str, Any]:
    pattern = part.get("pattern")
    return pattern if isinstance(pattern, dict) else {}


def _flags(document: dict[str, Any], where: str) -> _Flags:
    flags = _Flags()
    added = document.get("added_tokens") or []
    added_prefix = prefix_of(token["content"] for token in added if token.get("normalized"))
    for part in _parts(document.get("normalizer"), "normalizers"):
        pattern = _pattern(part)
        match part.get("type"):
            case "Prepend" if part.get("prepend") == SPACE_SIGN:
                flags.dummy_prefix = True
            case "Replace" if pattern.get("String") == " " and part.get("content") == SPACE_SIGN:
                flags.escape = True
            case "Replace" if pattern == TWO_SPACES and part.get("content") in (" ", SPACE_SIGN):
                flags.one_space = True
            case "Replace" if pattern == added_prefix and part.get("content") == "":
                pass
            case "Strip":
                flags.strips = True
            case "Precompiled":
                flags.charsmap = _charsmap(part, where)
            case other:
                raise _refused("normalizer", other, where)
    for part in _parts(document.get("pre_tokenizer"), "pretokenizers"):
        pattern = _pattern(part)
        match part.get("type"):
            case "Metaspace" if part.get("replacement", SPACE_SIGN) == SPACE_SIGN:
                scheme = part.get("prepend_scheme", "always")
                flags.dummy_prefix |= scheme != "never" and part.get("add_prefix_space", True)
                flags.escape = True
                flags.splits |= bool(part.get("split", True))
            case "WhitespaceSplit":
                flags.one_space = True
                # the published maps make a space of all others, as this step takes them
                flags.charsmap = flags.charsmap or charsmap(dict.fromkeys(OTHER_SPACES, b" "))
            case "Split" if pattern.get("String") == " " and flags.escape:
                pass  # Gemma's: there are no spaces left when it looks for them
            case other:
                raise _refused("pre_tokenizer", other, where)
    if flags.strips and not flags.one_space:  # SentencePiece does both or none
        raise _refused("normalizer", "Strip", where)
    return flags


def _refused(name: str, kind: Any, where: str) -> TokenizerError:
    return TokenizerError(
        f"{where}: {name} has the step {kind} with a text that SentencePiece has no flag for; "
        "only a sign for the space, a prefix and a precompiled map can be rebuilt"
    )


def _charsmap(part: dict[str, Any], where: str) -> bytes:
    try:
        found = base64.b64decode(part["precompiled_charsmap"], validate=True)
        size = int.from_bytes(found[:4], "little")  # of the trie, in bytes, which comes first
        if len(found) < 4 or size % 4 or not 4 <= size <= len(found) - 4:
            raise ValueError(f"{len(found)} bytes with a trie of {size}")
        return found
    except (KeyError, TypeError, ValueError) as error:
        raise TokenizerError(
            f"{where}: normalizer.precompiled_charsmap: {error}; a map in base64 is needed"
        ) from error


def _bpe(model: dict[str, Any], where: str) -> dict[int, tuple[str, float, int]]:
    if taken := [option for option in OPTIONS_NOT_REBUILT if model.get(option)]:
        raise TokenizerError(
            f"{where}: model has {taken[0]}; with a sign for the space only plain merges can be "
            "rebuilt"
        )
    ranks: dict[str, int] = {}
    for merge in model["merges"]:
        parts = split_merge(merge)
        assert parts is not None, "validate() has looked at every merge"
        ranks.setdefault(parts[0] + parts[1], len(ranks))
    return {
        token_id: (
            text,
            -1.0 - ranks.get(text, 0),
            Type.NORMAL if len(text) == 1 or text in ranks else Type.CONTROL,
        )
        for text, token_id in model["vocab"].items()
    }


def _unigram(model: dict[str, Any]) -> dict[int, tuple[str, float, int]]:
    return {i: (text, score, Type.NORMAL) for i, (text, score) in enumerate(model["vocab"])}


def _unknown(model: dict[str, Any], added: dict[int, dict[str, Any]], where: str) -> int:
    """The id of the piece for what has none: SentencePiece needs exactly one.

    A model that spells all bytes has no use for it, and may name none; then it is one id more.
    """
    if model.get("type") == "Unigram":
        unknown, ids = model.get("unk_id"), {text: i for i, (text, _) in enumerate(model["vocab"])}
    else:
        ids = {token["content"]: token_id for token_id, token in added.items()} | model["vocab"]
        unknown = ids.get(model.get("unk_token"))
    missing = [text for byte in range(BYTES) if (text := f"<0x{byte:02X}>") not in ids]
    if unknown is not None:
        is_spelled = model.get("byte_fallback") and not missing
        if model.get("type") != "Unigram" and not model.get("fuse_unk") and not is_spelled:
            raise TokenizerError(
                f"{where}: model.fuse_unk is false and {len(missing)} bytes have no piece; "
                "SentencePiece makes one unknown token of several in a row"
            )
        return unknown
    if missing or not model.get("byte_fallback"):
        raise TokenizerError(
            f"{where}: model names no unknown token and has no piece for each byte; "
            "SentencePiece needs one of the two"
        )
    return 1 + max((*ids.values(), *added))
