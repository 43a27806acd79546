"""Reads tables of byte strings and ranks: tiktoken's files and Mistral's tekken.json.

Such a tokenizer merges the two neighbours whose bytes together have the lowest rank, and looks a
whole pre-token up before it merges. Both can be said in a tokenizer.json: every way to cut a token
into two others is a merge, and `ignore_merges` is set.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import TokenizerError
from .tokenizer_json import BYTE_LETTERS, MAX_ID, validate

BYTES = 256
# what tekken.json calls them when it lists none; source: mistral-common, tekken.py
TEKKEN_SPECIALS = (
    "<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] "
    "[/TOOL_RESULTS] [TOOL_CALLS] [IMG] <pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] "
    "[SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT]"
)


def read_tiktoken(path: Path, pattern: str, specials: Mapping[str, int]) -> dict[str, Any]:
    """The tokenizer.json document of a tiktoken file: lines of a token in base64 and its rank.

    pattern, specials: what such a file does not hold: the expression that cuts a text, and the
    special tokens with their ids. Raises TokenizerError where the file is no such table.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if not line.strip():
            continue
        fields = line.split()
        try:
            token, rank = base64.b64decode(fields[0], validate=True), int(fields[1])
        except (IndexError, ValueError, binascii.Error) as error:
            raise TokenizerError(
                f"{path}: line {number} is {line[:60]!r}; a token in base64 and a rank are needed"
            ) from error
        if token in ranks:
            raise TokenizerError(f"{path}: line {number} has a token that was there before")
        ranks[token] = rank
    return document(ranks, pattern, specials, str(path))


def read_tekken(path: Path) -> dict[str, Any]:
    """The tokenizer.json document of a tekken.json; raises TokenizerError where it is none.

    The special tokens come first; the ids of the others are their ranks behind those.
    """
    try:
        table = json.loads(_read(path))
        config = table["config"]
        size, reserved = (
            int(config["default_vocab_size"]),
            int(config["default_num_special_tokens"]),
        )
        if not 0 <= reserved <= size <= MAX_ID:
            raise ValueError(f"{reserved} of {size} tokens are special, of {MAX_ID} at most")
        pattern = config["pattern"]
        entries = table["vocab"][: size - reserved]
        tokens = [base64.b64decode(entry["token_bytes"], validate=True) for entry in entries]
        ranks = {token: int(entry["rank"]) for token, entry in zip(tokens, entries, strict=True)}
        names = {
            entry["token_str"]: int(entry["rank"]) for entry in table.get("special_tokens") or []
        }
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TokenizerError(
            f"{path}: {type(error).__name__}: {error}; config (default_vocab_size, "
            "default_num_special_tokens, pattern) and vocab (token_bytes, rank) are needed"
        ) from error
    names = names or {name: token_id for token_id, name in enumerate(TEKKEN_SPECIALS.split())}
    taken = set(names.values())
    names |= {f"<SPECIAL_{i}>": i for i in range(reserved) if i not in taken}
    shifted = {token: rank + reserved for token, rank in ranks.items()}
    return document(shifted, pattern, names, str(path))


def document(
    ranks: Mapping[bytes, int], pattern: str, specials: Mapping[str, int], where: str
) -> dict[str, Any]:
    """The tokenizer.json document of a table of ranks, which are the ids too."""
    if any(not token or not 0 <= rank < MAX_ID for token, rank in ranks.items()):
        raise TokenizerError(f"{where}: tokens that are empty or whose rank is not 0 to {MAX_ID}")
    missing = [byte for byte in range(BYTES) if bytes([byte]) not in ranks]
    if missing:
        raise TokenizerError(
            f"{where}: the byte {missing[0]:#04x} and {len(missing) - 1} others have no rank; "
            "a table with all 256 bytes is needed"
        )
    spelled = {token: "".join([BYTE_LETTERS[b] for b in token]) for token in ranks}
    merges: list[list[str]] = []
    for token in sorted(ranks, key=lambda token: ranks[token]):
        parts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        merges += [[spelled[a], spelled[b]] for a, b in parts if a in ranks and b in ranks]
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    built: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [_special(content, i) for content, i in specials.items()],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [split | {"invert": False}, byte_level | {"use_regex": False}],
        },
        "post_processor": None,
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "ignore_merges": True,
            "vocab": {text: ranks[token] for token, text in spelled.items()} | dict(specials),
            "merges": merges,
        },
    }
    validate(built, where)
    return built


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TokenizerError(
            f"{path}: {error.strerror or error}; a readable file of ranks is needed"
        ) from error


def _special(content: str, token_id: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, **flags, "special": True}
