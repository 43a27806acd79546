"""The special tokens and the chat template that come with a checkpoint, and what a bundle takes.

Sources: a Hub folder's tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
generation_config.json, config.json and tokenizer.json; a GGUF file's tokenizer.* metadata.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import BundleError
from .files import read_file

_MAX_JSON_BYTES = 64 << 20
_VARIABLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
_MISTRAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_GGUF_IDS = {  # GGUF's names differ for two
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "sep_token": "seperator_token_id",
    "pad_token": "padding_token_id",
    "cls_token": "cls_token_id",
}
_GGUF_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")
_GGUF_CONTROL, _GGUF_USER_DEFINED = 3, 4


@dataclass(frozen=True)
class SpecialTokens:
    """What a checkpoint says of its text format.

    named: bos_token, eos_token ... -> text, as a chat template's variables.
    added: the texts of the tokens that are parsed as one, each.
    stripping: those that take the white space behind them (rstrip).
    stops: the texts of the tokens that end an answer, by generation_config and the tokenizer.
    chat_template: Jinja source, or None.
    """

    named: Mapping[str, str]
    added: tuple[str, ...]
    stripping: tuple[str, ...]
    stops: tuple[str, ...]
    chat_template: str | None


def read_folder(
    folder: Path,
    generation_config: Mapping[str, Any],
    document: Mapping[str, Any],
    config: Mapping[str, Any],
) -> SpecialTokens:
    """From a Hub folder. document: its tokenizer, validated; config: its config.json.

    Raises BundleError for a file that is no JSON object, a token that is no text, and an end-of-
    answer id that no token has.
    """
    tokenizer_config = _json(folder / "tokenizer_config.json")
    named: dict[str, str] = {}
    for file in ("special_tokens_map.json", "tokenizer_config.json"):  # the latter wins
        values = _json(folder / file)
        for name in _VARIABLES:
            if values.get(name) is not None:
                named[name] = _text(values[name], f"{folder / file}: {name}")
    if not named and not tokenizer_config:  # Mistral's own folders say no names at all
        added = _added(document)
        named = {name: text for name, text in _MISTRAL.items() if text in added}
    return SpecialTokens(
        named=named,
        added=_added(document),
        stripping=_added(document, "rstrip"),
        stops=_once(
            [
                *_ends(folder, generation_config, document, config),
                *([named["eos_token"]] if "eos_token" in named else []),
            ]
        ),
        chat_template=_folder_template(folder, tokenizer_config.get("chat_template")),
    )


def _ends(
    folder: Path,
    generation_config: Mapping[str, Any],
    document: Mapping[str, Any],
    config: Mapping[str, Any],
) -> list[str]:
    """The texts that end an answer by generation_config.json, or else by config.json."""
    file, ids = "generation_config.json", generation_config.get("eos_token_id")
    if ids is None:
        inner = config.get("text_config")
        inner = inner if isinstance(inner, dict) else {}
        file, ids = "config.json", config.get("eos_token_id", inner.get("eos_token_id"))
    where = f"{folder}/{file}: eos_token_id"
    ends = _texts_of(document, [] if ids is None else _integers(ids, where), where)
    strings = generation_config.get("stop_strings") or []
    strings = [strings] if isinstance(strings, str) else strings
    where = f"{folder}/generation_config.json: stop_strings"
    if not isinstance(strings, list):
        raise BundleError(f"{where} is {strings!r:.80}; a text or a list of them is needed")
    return [*ends, *(_text(each, where) for each in strings)]


def read_gguf(
    metadata: Mapping[str, Any], where: str, document: Mapping[str, Any]
) -> SpecialTokens:
    """From a GGUF file's key/values; document: the tokenizer.json rebuilt from them.

    Raises BundleError for an id that no token has and a template that is no text.
    """

    def texts(key: str) -> list[str]:
        ids = metadata.get(f"tokenizer.ggml.{key}")
        what = f"{where}: tokenizer.ggml.{key}"
        return [] if ids is None else _texts_of(document, _integers(ids, what), what)

    template = metadata.get("tokenizer.chat_template")
    if not isinstance(template, str | None):
        raise BundleError(f"{where}: tokenizer.chat_template is no text; give the prefixes")
    return SpecialTokens(
        named={name: text for name, key in _GGUF_IDS.items() for text in texts(key)},
        added=_added(document),
        stripping=_added(document, "rstrip"),
        stops=_once(text for key in _GGUF_ENDS for text in texts(key)),
        chat_template=template,
    )


def _folder_template(folder: Path, in_config: Any) -> str | None:
    """chat_template.jinja, or what tokenizer_config.json has: a text, or a list of named ones."""
    file = folder / "chat_template.jinja"
    if file.exists():
        try:
            return read_file(file).decode()
        except UnicodeDecodeError as error:
            raise BundleError(f"{file}: cannot be read: {error}; give the prefixes") from error
    if isinstance(in_config, list):
        named = {each.get("name"): each.get("template") for each in in_config if type(each) is dict}
        in_config = named.get("default")
        if in_config is None:
            raise BundleError(
                f"{folder}/tokenizer_config.json: chat_template: there is no 'default' among "
                f"{list(named)}; give the prefixes"
            )
    if not isinstance(in_config, str | None):
        raise BundleError(
            f"{folder}/tokenizer_config.json: chat_template is {in_config!r:.80}; a text is needed"
        )
    return in_config


def _json(path: Path) -> dict[str, Any]:
    """The object in the file; {} when there is no file."""
    if not path.exists():
        return {}
    if path.stat().st_size > _MAX_JSON_BYTES:
        raise BundleError(f"{path}: more than {_MAX_JSON_BYTES} bytes; that is no configuration")
    data = read_file(path)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is no JSON: {error}; get the file anew") from error
    if not isinstance(value, dict):
        raise BundleError(f"{path}: is a {type(value).__name__}; a JSON object is needed")
    return value


def _text(value: Any, where: str) -> str:
    """Of a token written as text, or as an object with its content."""
    content = value.get("content") if isinstance(value, dict) else value
    if not isinstance(content, str):
        raise BundleError(f"{where} is {value!r:.80}; the token's text is needed")
    return content


def _integers(value: Any, where: str) -> list[int]:
    ids = value if isinstance(value, list) else [value]
    if not all(type(each) is int for each in ids):
        raise BundleError(f"{where} is {value!r:.80}; a token's id is needed, or a list of them")
    return ids


def _added(document: Mapping[str, Any], flag: str | None = None) -> tuple[str, ...]:
    tokens = document.get("added_tokens") or []
    return tuple(token["content"] for token in tokens if flag is None or token.get(flag))


def _texts_of(document: Mapping[str, Any], ids: Sequence[int], where: str) -> list[str]:
    vocabulary = document["model"]["vocab"]
    # Unigram has [piece, score] pairs, the id is their place; the others piece -> id
    pairs = (
        ((piece, at) for at, (piece, _) in enumerate(vocabulary))
        if isinstance(vocabulary, list)
        else vocabulary.items()
    )
    texts = {at: piece for piece, at in pairs if at in ids}
    texts |= {token["id"]: token["content"] for token in document.get("added_tokens") or []}
    if missing := [each for each in ids if each not in texts]:
        raise BundleError(
            f"{where} {missing[0]}: the tokenizer has no such token; name stop tokens"
        )
    return [texts[each] for each in ids]


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
