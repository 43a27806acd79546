"""Rebuilds a tokenizer.json document from the vocabulary inside a GGUF file."""

from collections.abc import Mapping
from typing import Any

from . import TokenizerError, patterns
from .tokenizer_json import SpecialIds, validate

# token types; source: gguf-py, constants.TokenType
TYPES = range(1, 7)
CONTROL, USER_DEFINED = 3, 4

GPT2: dict[str, Any] = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
LONE_NUMBERS: dict[str, Any] = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, GPT2],
}


def _split(expression: str) -> dict[str, Any]:
    """The steps of an expression, as published tokenizer.json files write them."""
    split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated"}
    return {
        "type": "Sequence",
        "pretokenizers": [split | {"invert": False}, GPT2 | {"use_regex": False}],
    }


# tokenizer.ggml.pre -> pre_tokenizer; the expressions are those of the models' own tokenizer.json,
# of which a file holds the name only; smollm was checked
# with a real file, the expressions of the others with their vocabularies from elsewhere.
PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "gpt-2": GPT2,
    "smollm": LONE_NUMBERS,
    "starcoder": LONE_NUMBERS,
    "llama-bpe": _split(patterns.CL100K),
    "qwen2": _split(patterns.QWEN2),
    "tekken": _split(patterns.TEKKEN),
}
LOOKED_UP = ("llama-bpe", "tekken")  # whose tokenizer.json has ignore_merges
COMPOSED = ("qwen2",)  # whose tokenizer.json has NFC


# tokenizer.ggml.model -> why it cannot be rebuilt
REASONS = {
    "bert": "WordPiece takes the longest piece first and a whole word as unknown, which no "
    "SentencePiece model does",
    "t5": "a GGUF file of a Unigram model does not say which model it was made of; take its "
    "tokenizer.json",
    "rwkv": "it takes the longest token at each place, without merges or scores",
    "plamo2": "it is no SentencePiece model but a table of its own",
}


def tokenizer_json(metadata: Mapping[str, Any], where: str = "GGUF") -> dict[str, Any]:
    """The tokenizer.json document of a GGUF file's key/values.

    Raises TokenizerError when the vocabulary is missing, contradictory or of a kind that cannot be
    rebuilt. The document passes tokenizer_json.validate.
    """
    model = metadata.get("tokenizer.ggml.model")
    if model != "gpt2":
        raise refused(model, where)
    pre = metadata.get("tokenizer.ggml.pre")
    if not isinstance(pre, str) or pre not in PRE_TOKENIZERS:
        raise TokenizerError(
            f"{where}: tokenizer.ggml.pre is {pre!r}; known are {', '.join(PRE_TOKENIZERS)}"
        )
    if metadata.get("tokenizer.ggml.add_space_prefix"):
        raise TokenizerError(
            f"{where}: tokenizer.ggml.add_space_prefix is set; only vocabularies without it "
            "can be rebuilt"
        )
    tokens = texts(metadata, "tokenizer.ggml.tokens", where)
    types = token_types(metadata, len(tokens), where)
    vocabulary: dict[str, int] = {}
    for token_id, token in enumerate(tokens):
        if token in vocabulary:
            raise TokenizerError(
                f"{where}: tokenizer.ggml.tokens[{vocabulary[token]}] and [{token_id}] are both "
                f"{token!r}; each token may be there once"
            )
        vocabulary[token] = token_id
    document = {
        "version": "1.0",
        "added_tokens": [
            _added_token(token_id, tokens[token_id], special=kind == CONTROL)
            for token_id, kind in enumerate(types)
            if kind in (CONTROL, USER_DEFINED)
        ],
        "normalizer": {"type": "NFC"} if pre in COMPOSED else None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": GPT2,
        "model": {
            "type": "BPE",
            "ignore_merges": pre in LOOKED_UP,
            "vocab": vocabulary,
            "merges": [m.split(" ") for m in texts(metadata, "tokenizer.ggml.merges", where)],
        },
    }
    validate(document, where)
    return document


def refused(model: Any, where: str) -> TokenizerError:
    """What to raise for a kind of vocabulary that is neither `gpt2` nor `llama`."""
    reason = REASONS.get(model) if isinstance(model, str) else None
    kinds = "gpt2 (byte-level BPE) and llama (SentencePiece BPE) can be rebuilt"
    return TokenizerError(
        f"{where}: tokenizer.ggml.model is {model!r:.60}; "
        + (f"{reason}; {kinds}" if reason else f"only {kinds}")
    )


def special_ids(metadata: Mapping[str, Any], where: str = "GGUF") -> SpecialIds:
    """The ids of the tokens that begin, end and pad a text, as far as the GGUF file names them."""
    size = len(texts(metadata, "tokenizer.ggml.tokens", where))
    return SpecialIds(
        bos=_special_id(metadata, "bos", size, where),
        eos=_special_id(metadata, "eos", size, where),
        pad=_special_id(metadata, "padding", size, where),
    )


def _special_id(metadata: Mapping[str, Any], name: str, size: int, where: str) -> int | None:
    key = f"tokenizer.ggml.{name}_token_id"
    token_id = metadata.get(key)
    is_id = type(token_id) is int and 0 <= token_id < size
    if token_id is not None and not is_id:
        raise TokenizerError(
            f"{where}: {key} is {token_id!r}; an id from 0 to {size - 1} is needed"
        )
    return token_id


def texts(metadata: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = metadata.get(key)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        found = "missing" if value is None else f"a {type(value).__name__}"
        raise TokenizerError(f"{where}: {key} is {found}; a list of texts is needed")
    return value


def token_types(metadata: Mapping[str, Any], count: int, where: str) -> list[int]:
    key = "tokenizer.ggml.token_type"
    types = metadata.get(key)
    if not isinstance(types, list) or not all(kind in TYPES for kind in types):
        raise TokenizerError(f"{where}: {key} is not a list of types 1 to 6; one a token is needed")
    if len(types) != count:
        raise TokenizerError(
            f"{where}: {key} has {len(types)} entries; tokenizer.ggml.tokens has {count}"
        )
    return types


def _added_token(token_id: int, content: str, *, special: bool) -> dict[str, Any]:
    return {
        "id": token_id,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": special,
    }
