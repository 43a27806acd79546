"""A bundle's tokens and prompt prefixes: what the user says, and for the rest the checkpoint."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from ..models._checkpoint import Checkpoint
from ..tokenization.published import TEKKEN
from ..tokenization.tokenizer_json import FILE_NAME
from . import BundleError
from .metadata import BundleParameters, check
from .rebuild import document
from .special_tokens import SpecialTokens, read_folder, read_gguf
from .templates import AFFIXES, ChatFormat, chat_of, read_template
from .tokenizer import check_tokens


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

    def given(self) -> dict[str, Any]:
        """The fields that are not None, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class TextFormat:
    """What a bundle says of its texts.

    parameters: what METADATA holds. chat: all that the template can write; METADATA has no place
    for a session prefix beside a system prefix, a chat template has. notes: what differs from the
    checkpoint's chat template, one line each.
    """

    parameters: BundleParameters
    chat: ChatFormat
    notes: tuple[str, ...] = ()


def parameters_for(
    checkpoint: Checkpoint | None, tokenizer: bytes, settings: BundleSettings
) -> TextFormat:
    """The text format of a bundle: what the user says, and for the rest the checkpoint.

    tokenizer: the SentencePiece model of the bundle, of which start and stop tokens must be
    pieces. Raises BundleError for those that are not, for a template that cannot be expressed,
    and where neither the user nor the checkpoint says what is needed.
    """
    given = settings.given()
    parameters, chat = BundleParameters(start_token="", stop_tokens=()), None
    if checkpoint is not None:
        parameters, chat = _of_checkpoint(_special_tokens(checkpoint), given)
    parameters = replace(parameters, **given)
    check(parameters)
    check_tokens(tokenizer, parameters.start_token, parameters.stop_tokens, "the tokenizer")
    if chat is None:
        return TextFormat(parameters, chat_of(parameters))
    return TextFormat(parameters, replace(chat, stops=parameters.stop_tokens), chat.notes)


def _of_checkpoint(
    special: SpecialTokens, given: Mapping[str, Any]
) -> tuple[BundleParameters, ChatFormat | None]:
    """What the checkpoint says, as far as it is not given; a chat where the template counts."""
    if special.chat_template is None or any(name in given for name in AFFIXES):
        # A prefix of the user's replaces the template: mixing the two would match neither.
        start = given.get("start_token") or special.named.get("bos_token", "")
        return BundleParameters(start_token=start, stop_tokens=special.stops), None
    chat = read_template(
        special.chat_template, special.named, special.added, given.get("start_token")
    )
    chat = _stripped(chat, special.stripping)
    stops = tuple(dict.fromkeys([*special.stops, *chat.stops]))
    return chat.parameters(stops), chat


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


def _special_tokens(checkpoint: Checkpoint) -> SpecialTokens:
    if checkpoint.folder is None:
        return read_gguf(checkpoint.metadata, checkpoint.path.name, document(checkpoint))
    if not any((checkpoint.folder / name).exists() for name in (FILE_NAME, TEKKEN)):
        raise BundleError(
            f"{checkpoint.path.name}: no {FILE_NAME}, which tells the special tokens; give the "
            "start and stop tokens to `taskpress bundle`"
        )
    return read_folder(checkpoint.folder, checkpoint.generation_config, document(checkpoint))
