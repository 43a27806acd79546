"""METADATA of a `.task`: the protobuf message odml.infra.proto.LlmParameters.

Names, numbers and types were read from the descriptor inside mediapipe 0.10.35. The fields that no
bundler writes are left out of the table; `unread_fields` names them when a file has them.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from . import BundleError
from .proto import Messages, message_class

_BYTES_TO_UNICODE = 1  # LlmParameters.InputOutputNormalization

# proto3's "optional" is left out: the bytes are the same, and an empty text means nothing here
_MESSAGES: Messages = {
    "PromptTemplate": {
        "session_prefix": (1, "string", ""),
        "prompt_prefix": (2, "string", ""),
        "prompt_suffix": (3, "string", ""),
    },
    "PromptTemplates": {
        "user_template": (1, "PromptTemplate", ""),
        "model_template": (2, "PromptTemplate", ""),
        "system_template": (3, "PromptTemplate", ""),
    },
    "LlmParameters": {
        "vocab_size": (2, "int32", ""),
        "start_token_id": (4, "int32", "start_token_union"),
        "start_token": (6, "string", "start_token_union"),
        "stop_tokens": (5, "string", "repeated"),
        # an open enum; int32 has the same bytes, and keeps numbers that have no name yet
        "input_output_normalizations": (7, "int32", "repeated"),
        "prompt_template": (8, "PromptTemplate", ""),
        "prompt_templates": (17, "PromptTemplates", ""),
        "user_role_token": (11, "string", ""),
        "system_role_token": (12, "string", ""),
        "model_role_token": (13, "string", ""),
        "end_role_token": (14, "string", ""),
    },
}


@dataclass(frozen=True)
class BundleParameters:
    """What the runtime must know of the model's text format; empty strings mean "not there".

    A chat is: start_token, session_prefix; then for each turn user_prefix, the user's text,
    user_suffix, model_prefix, the model's text, model_suffix. A system message, where the app
    gives one, stands in system_prefix and system_suffix after the start token; mediapipe's bundler
    refuses a session_prefix beside them, and so does `encode`.
    The runtime writes start_token itself: no prefix may repeat it.
    bytes_to_unicode: the tokenizer's pieces are spelled in GPT-2's byte alphabet.
    """

    start_token: str
    stop_tokens: tuple[str, ...]
    session_prefix: str = ""
    user_prefix: str = ""
    user_suffix: str = ""
    model_prefix: str = ""
    model_suffix: str = ""
    system_prefix: str = ""
    system_suffix: str = ""
    user_role_token: str = ""
    system_role_token: str = ""
    model_role_token: str = ""
    end_role_token: str = ""
    bytes_to_unicode: bool = False


_ROLE_TOKENS = ("user_role_token", "system_role_token", "model_role_token", "end_role_token")


def encode(parameters: BundleParameters) -> bytes:
    """The bytes of LlmParameters; the same parameters always give the same bytes.

    The prefixes are written twice, as mediapipe 0.10.35 does it: in field 8 (older engines) and by
    role in field 17. Field 8 has no place for the model's turn, so its suffix is user_suffix and
    model_prefix together; like mediapipe's, it has neither when user_suffix is empty (the chat
    template reader therefore never leaves user_suffix empty beside a model_prefix).
    Raises BundleError when start or stop tokens are missing, or text cannot be UTF-8.
    """
    check(parameters)
    message = _message()
    message.start_token = parameters.start_token
    message.stop_tokens.extend(parameters.stop_tokens)
    if parameters.bytes_to_unicode:
        message.input_output_normalizations.append(_BYTES_TO_UNICODE)
    for name in _ROLE_TOKENS:
        if token := getattr(parameters, name):
            setattr(message, name, token)
    # assigning an empty string to a plain proto3 field writes nothing, but touching the message
    # that holds it would, hence the tests
    if parameters.session_prefix:
        message.prompt_template.session_prefix = parameters.session_prefix
    if parameters.user_prefix:
        message.prompt_template.prompt_prefix = parameters.user_prefix
    if parameters.user_suffix:
        message.prompt_template.prompt_suffix = parameters.user_suffix + parameters.model_prefix
    for role in ("user", "model", "system"):
        prefix = getattr(parameters, f"{role}_prefix")
        suffix = getattr(parameters, f"{role}_suffix")
        if prefix or suffix:
            template = getattr(message.prompt_templates, f"{role}_template")
            template.prompt_prefix = prefix
            template.prompt_suffix = suffix
    return message.SerializeToString(deterministic=True)


def decode(data: bytes, where: str) -> BundleParameters:
    """Reads METADATA of any origin; `where` starts the message of the BundleError it may raise.

    A bundle with field 8 alone (before 0.10.35) gives all of its suffix as user_suffix. Refuses
    what is no LlmParameters, one with a start token given by id only, and normalizations that it
    does not know. Fields outside of the table are ignored here: see `unread_fields`.
    """
    message = _parse(data, where)
    if not message.start_token:
        has = f"the id {message.start_token_id}" if message.HasField("start_token_id") else "none"
        raise BundleError(
            f"{where}: start token: {has}; its text is needed (LlmParameters field 6)"
        )
    normalizations = set(message.input_output_normalizations)
    if normalizations - {_BYTES_TO_UNICODE}:
        raise BundleError(
            f"{where}: input_output_normalizations {sorted(normalizations)}: "
            f"only {_BYTES_TO_UNICODE} (bytes to Unicode) is known"
        )
    old, roles = message.prompt_template, message.prompt_templates
    by_role = message.HasField("prompt_templates")
    user = roles.user_template if by_role else old
    return BundleParameters(
        start_token=message.start_token,
        stop_tokens=tuple(message.stop_tokens),
        session_prefix=old.session_prefix,
        user_prefix=user.prompt_prefix,
        user_suffix=user.prompt_suffix,
        model_prefix=roles.model_template.prompt_prefix,
        model_suffix=roles.model_template.prompt_suffix,
        system_prefix=roles.system_template.prompt_prefix,
        system_suffix=roles.system_template.prompt_suffix,
        bytes_to_unicode=bool(normalizations),
        **{name: getattr(message, name) for name in _ROLE_TOKENS},
    )


def unread_fields(data: bytes, where: str) -> tuple[str, ...]:
    """What METADATA holds and `decode` does not give, for a report: "vocab_size", "field 18"."""
    message = _parse(data, where)
    known = {"start_token", "stop_tokens", "input_output_normalizations", *_ROLE_TOKENS}
    known |= {"prompt_template", "prompt_templates"}
    named = [field.name for field, _ in message.ListFields() if field.name not in known]
    numbers = sorted({field.field_number for field in UnknownFieldSet(message)})
    return (*named, *(f"field {number}" for number in numbers))


def check(parameters: BundleParameters) -> None:
    """Raises BundleError for what `encode` refuses."""
    if not parameters.start_token:
        raise BundleError("start token: there is none; the runtime begins every chat with one")
    if not parameters.stop_tokens or not all(parameters.stop_tokens):
        raise BundleError(
            f"stop tokens: {list(parameters.stop_tokens)}; one is needed at least, none empty, "
            "or the answer never ends"
        )
    if parameters.session_prefix and (parameters.system_prefix or parameters.system_suffix):
        raise BundleError(
            "session prefix: given beside a system prefix or suffix; a runtime would write both, "
            "give one of them"
        )
    for field in fields(parameters):
        value = getattr(parameters, field.name)
        for text in value if isinstance(value, tuple) else [value]:
            if isinstance(text, str) and not is_utf8(text):
                raise BundleError(
                    f"{field.name}: {text!r} holds half a character; give text that UTF-8 can hold"
                )


def is_utf8(text: str) -> bool:
    """Whether a text has no half characters, which arguments that are no UTF-8 become."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse(data: bytes, where: str) -> Any:
    message = _message()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(
            f"{where}: {len(data)} bytes are no LlmParameters message ({error}); "
            "build the bundle anew"
        ) from error
    return message


def _message() -> Any:
    """An empty LlmParameters. Any: its fields are known to protobuf, not to the type checker."""
    return _message_class()()


@cache
def _message_class() -> type[Message]:
    return message_class("odml.infra.proto", _MESSAGES, "LlmParameters")
