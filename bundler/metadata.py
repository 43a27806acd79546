"""METADATA of a `.task`: the protobuf message odml.infra.proto.LlmParameters.

Names, numbers and types were read from the descriptor inside mediapipe 0.10.35, which ends with
field 17, and for 18 to 20 from that inside the web engine of npm's @mediapipe/tasks-genai 0.10.29.

What only the old engine reads, whose models were no TFLite graphs, is not asked for on the command
line, but read, shown and written again: vocab_size, num_draft_tokens, and the four messages that
tell how to build a transformer or an encoder (`engine_parameters` knows their fields).
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from . import BundleError, engine_parameters
from .proto import Messages, message_class, parsed

_BYTES_TO_UNICODE = 1  # LlmParameters.InputOutputNormalization
_MAX_INT32 = (1 << 31) - 1

# proto3's "optional" is left out: the bytes are the same, and an empty text means nothing here
_MESSAGES: Messages = {
    "PromptTemplate": {
        "session_prefix": (1, "string", ""),
        "prompt_prefix": (2, "string", ""),
        "prompt_suffix": (3, "string", ""),
    },
    "Channel": {
        "channel_name": (1, "string", ""),
        "start": (2, "string", ""),
        "end": (3, "string", ""),
    },
    "PromptTemplates": {
        "user_template": (1, "PromptTemplate", ""),
        "model_template": (2, "PromptTemplate", ""),
        "system_template": (3, "PromptTemplate", ""),
    },
    "LlmParameters": {
        # messages of the old engine: their bytes are kept as they are, so that nothing is lost
        "transformer_parameters": (1, "bytes", "_transformer_parameters"),
        "vocab_size": (2, "int32", ""),
        "start_token_id": (4, "int32", "start_token_union"),
        "start_token": (6, "string", "start_token_union"),
        "stop_tokens": (5, "string", "repeated"),
        # an open enum; int32 has the same bytes, and keeps numbers that have no name yet
        "input_output_normalizations": (7, "int32", "repeated"),
        "prompt_template": (8, "PromptTemplate", ""),
        "prompt_templates": (17, "PromptTemplates", ""),
        "num_draft_tokens": (9, "int32", ""),
        "audio_encoder_parameters": (10, "bytes", "_audio_encoder_parameters"),
        "user_role_token": (11, "string", ""),
        "system_role_token": (12, "string", ""),
        "model_role_token": (13, "string", ""),
        "end_role_token": (14, "string", ""),
        "vision_encoder_parameters": (15, "bytes", "_vision_encoder_parameters"),
        "submodel_transformer_parameters": (16, "bytes", "_submodel_transformer_parameters"),
        "stop_token_ids": (18, "int32", "repeated"),
        "channels": (19, "Channel", "repeated"),
        "suppressed_tokens": (20, "int32", "repeated"),
    },
}


@dataclass(frozen=True)
class Channel:
    """A part of the answer that is not told as its text, such as the model's thoughts.

    start, end: the texts between which it stands.
    """

    channel_name: str
    start: str
    end: str


@dataclass(frozen=True)
class BundleParameters:
    """What the runtime must know of the model's text format; empty strings mean "not there".

    A chat is: start_token, session_prefix; then for each turn user_prefix, the user's text,
    user_suffix, model_prefix, the model's text, model_suffix. A system message, where the app
    gives one, stands in system_prefix and system_suffix after the start token; mediapipe's bundler
    refuses a session_prefix beside them, and so does `encode`.
    The runtime writes start_token itself: no prefix may repeat it.
    bytes_to_unicode: the tokenizer's pieces are spelled in GPT-2's byte alphabet.

    start_token_id: in the place of start_token, never beside it. stop_token_ids, suppressed_tokens:
    ids that end an answer, and that no answer may hold; mediapipe 0.10.35 knows neither, nor
    channels. vocab_size, num_draft_tokens and what follows are the old engine's: 0 and None mean
    "not there", and the messages are in protobuf's bytes.
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
    start_token_id: int | None = None
    stop_token_ids: tuple[int, ...] = ()
    suppressed_tokens: tuple[int, ...] = ()
    channels: tuple[Channel, ...] = ()
    vocab_size: int = 0
    num_draft_tokens: int = 0
    transformer_parameters: bytes | None = None
    submodel_transformer_parameters: bytes | None = None
    vision_encoder_parameters: bytes | None = None
    audio_encoder_parameters: bytes | None = None


_ROLE_TOKENS = ("user_role_token", "system_role_token", "model_role_token", "end_role_token")
_REPEATED = ("stop_tokens", "stop_token_ids", "suppressed_tokens")
_NUMBERS = ("vocab_size", "num_draft_tokens")
ENGINE_MESSAGES = (
    "transformer_parameters",
    "submodel_transformer_parameters",
    "vision_encoder_parameters",
    "audio_encoder_parameters",
)


def encode(parameters: BundleParameters, *, by_role_alone: bool = False) -> bytes:
    """The bytes of LlmParameters; the same parameters always give the same bytes.

    The prefixes are written twice, as mediapipe 0.10.35 does it: in field 8 (older engines) and by
    role in field 17. Field 8 has no place for the model's turn, so its suffix is user_suffix and
    model_prefix together; like mediapipe's, it has neither when user_suffix is empty (the chat
    template reader therefore never leaves user_suffix empty beside a model_prefix).
    by_role_alone: leave field 8 out, where another reader would mistake it (see both_metadata).
    Raises BundleError when start or stop tokens are missing, or text cannot be UTF-8.
    """
    check(parameters)
    message = _message_of(parameters)
    if by_role_alone:
        message.ClearField("prompt_template")
    return message.SerializeToString(deterministic=True)


def _message_of(parameters: BundleParameters) -> Any:
    message = _message()
    if parameters.start_token_id is not None:
        message.start_token_id = parameters.start_token_id
    else:
        message.start_token = parameters.start_token
    for name in _REPEATED:
        getattr(message, name).extend(getattr(parameters, name))
    if parameters.bytes_to_unicode:
        message.input_output_normalizations.append(_BYTES_TO_UNICODE)
    # assigning an empty string or 0 to a plain proto3 field writes nothing
    for name in (*_ROLE_TOKENS, *_NUMBERS):
        setattr(message, name, getattr(parameters, name))
    for name in ENGINE_MESSAGES:
        if (data := getattr(parameters, name)) is not None:
            setattr(message, name, data)
    for channel in parameters.channels:
        message.channels.add(**asdict(channel))
    _set_templates(message, parameters)
    return message


def _set_templates(message: Any, parameters: BundleParameters) -> None:
    # touching the message that holds an empty string would write the message, hence the tests
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


def decode(data: bytes, where: str) -> BundleParameters:
    """Reads METADATA of any origin; `where` starts the message of the BundleError it may raise.

    A bundle with field 8 alone (before 0.10.35) gives all of its suffix as user_suffix. Refuses
    what is no LlmParameters, one without a start token, and normalizations that it does not know.
    Fields outside of the table are ignored here: see `unread_fields`.
    """
    message = _parse(data, where)
    start_token_id = message.start_token_id if message.HasField("start_token_id") else None
    if not message.start_token and start_token_id is None:
        raise BundleError(
            f"{where}: start token: none; one is needed (LlmParameters field 6, or 4 by its id)"
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
    others: dict[str, Any] = {name: tuple(getattr(message, name)) for name in _REPEATED}
    others |= {name: getattr(message, name) for name in (*_ROLE_TOKENS, *_NUMBERS)}
    there = [name for name in ENGINE_MESSAGES if message.HasField(name)]
    others |= {name: getattr(message, name) for name in there}
    return BundleParameters(
        start_token=message.start_token,
        start_token_id=start_token_id,
        channels=tuple(Channel(c.channel_name, c.start, c.end) for c in message.channels),
        session_prefix=old.session_prefix,
        user_prefix=user.prompt_prefix,
        user_suffix=user.prompt_suffix,
        model_prefix=roles.model_template.prompt_prefix,
        model_suffix=roles.model_template.prompt_suffix,
        system_prefix=roles.system_template.prompt_prefix,
        system_suffix=roles.system_template.prompt_suffix,
        bytes_to_unicode=bool(normalizations),
        **others,
    )


def is_llm_parameters(data: bytes) -> bool:
    """Whether there is what LlmParameters must have: a stop token, and what begins a chat."""
    message = _message()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return False
    return bool(message.stop_tokens and message.WhichOneof("start_token_union"))


def unread_fields(data: bytes, where: str) -> tuple[str, ...]:
    """What METADATA holds and `decode` does not give, for a report.

    That is a field that nobody knows, as "field 21", and one of which `encode` would write another
    value: "prompt_template" (8) where it tells other prefixes than prompt_templates (17).
    """
    message = _parse(data, where)
    again = _message_of(decode(data, where))
    changed = [
        field.name for field, value in message.ListFields() if getattr(again, field.name) != value
    ]
    numbers = sorted({field.field_number for field in UnknownFieldSet(message)})
    return (*changed, *(f"field {number}" for number in numbers))


def described(parameters: BundleParameters) -> dict[str, Any]:
    """The fields by name, for people and JSON: the old engine's messages with their own fields."""
    messages = {name: getattr(parameters, name) for name in ENGINE_MESSAGES}
    return asdict(parameters) | {
        name: engine_parameters.described(name, data)
        for name, data in messages.items()
        if data is not None
    }


def check(parameters: BundleParameters) -> None:
    """Raises BundleError for what `encode` refuses."""
    if not parameters.start_token and parameters.start_token_id is None:
        raise BundleError("start token: there is none; the runtime begins every chat with one")
    if parameters.start_token and parameters.start_token_id is not None:
        raise BundleError(
            f"start token: {parameters.start_token!r} and the id {parameters.start_token_id} are "
            "given; METADATA holds one of them"
        )
    _check_numbers(parameters)
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
        for text in _texts(getattr(parameters, field.name)):
            if not is_utf8(text):
                raise BundleError(
                    f"{field.name}: {text!r} holds half a character; give text that UTF-8 can hold"
                )


def _check_numbers(parameters: BundleParameters) -> None:
    for name in ("start_token_id", "stop_token_ids", "suppressed_tokens", *_NUMBERS):
        value = getattr(parameters, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if wrong := [number for number in numbers if not 0 <= number <= _MAX_INT32]:
            raise BundleError(f"{name}: {wrong[0]}; a number from 0 to {_MAX_INT32} is needed")


def _texts(value: object) -> Iterable[str]:
    """All texts in a field's value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Channel):
        yield from (value.channel_name, value.start, value.end)
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each)


def cut_at_stop(model_suffix: str, stop_tokens: Iterable[str]) -> tuple[str, str]:
    """The stop token that a model suffix begins with, or "", and the rest of the suffix."""
    stop = next(filter(model_suffix.startswith, stop_tokens), "")
    return stop, model_suffix.removeprefix(stop)


def is_utf8(text: str) -> bool:
    """Whether a text has no half characters, which arguments that are no UTF-8 become."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse(data: bytes, where: str) -> Any:
    return parsed(_message(), data, where)


def _message() -> Any:
    """An empty LlmParameters. Any: its fields are known to protobuf, not to the type checker."""
    return _message_class()()


@cache
def _message_class() -> type[Message]:
    return message_class("odml.infra.proto", _MESSAGES, "LlmParameters")
