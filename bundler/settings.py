"""A bundle's tokens and prompt prefixes: what the user says, and for the rest the checkpoint."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ..models._checkpoint import Checkpoint
from ..tokenization.tokenizer_json import original
from . import BundleError
from .metadata import BundleParameters, Channel, check
from .proof import ProvenChat, prove
from .rebuild import document
from .special_tokens import SpecialTokens, read_folder, read_gguf
from .templates import AFFIXES, ChatFormat, chat_of, read_template
from .tokenizer import Tokenizer, load_tokenizer

_AS_IT_IS = {"add_special_tokens": False}  # a template writes those itself


@dataclass(frozen=True)
class BundleSettings:
    """What the user says about the text format; None leaves it to the checkpoint.

    The fields are those of `BundleParameters`.
    """

    start_token: str | None = None
    stop_tokens: tuple[str, ...] | None = None
    session_prefix: str | None = None
    user_prefix: str | None = None
    user_suffix: str | None = None
    model_prefix: str | None = None
    model_suffix: str | None = None
    system_prefix: str | None = None
    system_suffix: str | None = None
    user_role_token: str | None = None
    system_role_token: str | None = None
    model_role_token: str | None = None
    end_role_token: str | None = None
    suppressed_tokens: tuple[int, ...] | None = None
    channels: tuple[Channel, ...] | None = None
    bytes_to_unicode: bool | None = None

    def gives_affixes(self) -> bool:
        """Whether a prefix or suffix is given, which all others then go with."""
        return any(getattr(self, name) is not None for name in AFFIXES)

    def given(self) -> dict[str, Any]:
        """The fields that are not None, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class TextFormat:
    """What a bundle says of its texts.

    parameters: what METADATA holds. chat: all that the template can write; METADATA has no place
    for a session prefix beside a system prefix, a chat template has. notes: what differs from the
    checkpoint's chat template, one line each. proven: the chats whose tokens were compared with the
    template's.
    """

    parameters: BundleParameters
    chat: ChatFormat
    notes: tuple[str, ...] = ()
    proven: tuple[ProvenChat, ...] = ()


def parameters_for(
    checkpoint: Checkpoint | None, tokenizer: bytes, settings: BundleSettings
) -> TextFormat:
    """The text format of a bundle: what the user says, and for the rest the checkpoint.

    tokenizer: the SentencePiece model of the bundle, of which start and stop tokens must be
    pieces. Raises BundleError for those that are not, for a template that cannot be expressed,
    and where neither the user nor the checkpoint says what is needed.
    """
    given = settings.given()
    loaded = load_tokenizer(
        tokenizer, "the tokenizer", bytes_to_unicode=bool(settings.bytes_to_unicode)
    )
    if loaded.bytes_to_unicode:
        loaded.check_letters()
    if checkpoint is None:
        return _as_given(BundleParameters(start_token="", stop_tokens=()), given, loaded)
    published = document(checkpoint)
    special = _special_tokens(checkpoint, published)
    if special.chat_template is None or settings.gives_affixes():
        # A prefix of the user's replaces the template: mixing the two would match neither.
        start = special.named.get("bos_token", "")
        return _as_given(BundleParameters(start, special.stops), given, loaded)
    template = read_template(
        special.chat_template, special.named, special.added, given.get("start_token")
    )
    chat = _stripped(template, special.stripping)
    stops = tuple(dict.fromkeys([*special.stops, *chat.stops]))
    parameters = replace(chat.parameters(stops), **given)
    _check(parameters, loaded)
    chat = replace(chat, stops=parameters.stop_tokens)
    encoder = original(published, checkpoint.path.name)
    proven = prove(template, chat, lambda text: encoder.encode(text, **_AS_IT_IS).ids, loaded)
    added = {token["id"] for token in published.get("added_tokens") or []}
    notes = chat.notes + _differing(proven, added, len(loaded.kinds))
    return TextFormat(parameters, chat, notes, proven)


def changed(text: TextFormat, settings: BundleSettings, tokenizer: Tokenizer) -> TextFormat:
    """The text format of a bundle that exists, with what the user says in the place of its own.

    A prefix that is given makes all chats those of the prefixes. Raises BundleError for tokens
    that the tokenizer has not.
    """
    given = settings.given()
    if settings.gives_affixes():
        return _as_given(text.parameters, given, tokenizer)
    parameters = replace(text.parameters, **given)
    _check(parameters, tokenizer)
    start = parameters.start_token
    return replace(
        text,
        parameters=parameters,
        chat=replace(text.chat, start_token=start, stops=parameters.stop_tokens),
    )


def _as_given(
    parameters: BundleParameters, given: Mapping[str, Any], tokenizer: Tokenizer
) -> TextFormat:
    parameters = replace(parameters, **given)
    _check(parameters, tokenizer)
    return TextFormat(parameters, chat_of(parameters))


def _check(parameters: BundleParameters, tokenizer: Tokenizer) -> None:
    check(parameters)
    tokenizer.check_start(parameters.start_token)
    tokenizer.check_stops(parameters.stop_tokens)
    for token in parameters.suppressed_tokens:
        if token >= len(tokenizer.kinds):
            raise BundleError(
                f"{tokenizer.where}: has {len(tokenizer.kinds)} tokens; {token} to suppress is none"
            )


def _differing(
    proven: Sequence[ProvenChat], added: Collection[int], vocabulary: int
) -> tuple[str, ...]:
    """A note on the first chat with other tokens, of those without and those with a system message.

    added: the ids of added tokens. Raises BundleError where the simplest chat of all lacks one of
    them, as the model would see no turn, or a token that is beyond the bundle's vocabulary.
    """
    notes: list[str] = []
    for system in (False, True):
        chat = next((c for c in proven if c.system == system and c.difference), None)
        if chat is None or chat.difference is None:
            continue
        text, token = chat.difference.text, chat.difference.template
        lacks = token is not None and (token in added or token >= vocabulary)
        if chat is proven[0] and lacks:
            raise BundleError(
                f"chat template: prefixes and suffixes do not give the tokens of its {chat}: "
                f"{text}; give the prefixes"
            )
        notes.append(f"{chat}: the tokens are not those of the chat template: {text}")
    return tuple(notes)


def _stripped(chat: ChatFormat, tokens: Sequence[str]) -> ChatFormat:
    """The texts without the white space that is part of the token in front of it (rstrip)."""
    if not tokens:
        return chat
    found = re.compile(rf"({'|'.join(map(re.escape, tokens))})\s+")
    texts = {field.name: getattr(chat, field.name) for field in fields(chat)}
    return replace(
        chat,
        **{name: found.sub(r"\1", text) for name, text in texts.items() if name.endswith("fix")},
    )


def _special_tokens(checkpoint: Checkpoint, published: Mapping[str, Any]) -> SpecialTokens:
    if checkpoint.folder is None:
        return read_gguf(checkpoint.metadata, checkpoint.path.name, published)
    return read_folder(
        checkpoint.folder, checkpoint.generation_config, published, checkpoint.config
    )
