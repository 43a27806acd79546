"""LlmMetadata: what the LiteRT-LM engine reads in a `.litertlm`, and also takes in a `.task`.

Names, numbers and types were read from the descriptors inside litert-lm-builder 0.18.1. Of the
model types only the names are known here, not their fields, which are those of other modalities.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from . import BundleError
from .metadata import ENGINE_MESSAGES, BundleParameters, Channel
from .proto import Messages, message_class, parsed
from .runtimes import GENERIC, MODEL_TYPES

_SAMPLERS = ("", "top_k", "top_p", "greedy")  # SamplerParameters.Type, by number

_NO_START = -1  # an id that the engine takes for none, and writes none

# fields of BundleParameters that only LlmParameters has
_UNCARRIED = (
    *(f"{role}_role_token" for role in ("user", "system", "model", "end")),
    "bytes_to_unicode",
    "vocab_size",
    "num_draft_tokens",
    *ENGINE_MESSAGES,
)

_MESSAGES: Messages = {
    "TokenIds": {"ids": (1, "int32", "repeated")},
    "TokenUnion": {
        "token_ids": (1, "TokenIds", "token_union"),
        "token_str": (2, "string", "token_union"),
    },
    "PromptAffixes": {"prefix": (1, "string", ""), "suffix": (2, "string", "")},
    "PromptTemplates": {
        "user": (1, "PromptAffixes", ""),
        "model": (2, "PromptAffixes", ""),
        "system": (3, "PromptAffixes", ""),
    },
    "SamplerParameters": {
        "type": (1, "int32", ""),
        "k": (2, "int32", ""),
        "p": (3, "float", ""),
        "temperature": (4, "float", ""),
        "seed": (5, "int32", "_seed"),
    },
    "AnyModel": {},
    "LlmModelType": {
        name: (number, "AnyModel", "model_type") for name, number in MODEL_TYPES.items()
    },
    "Channel": {
        "channel_name": (1, "string", ""),
        "start": (2, "string", ""),
        "end": (3, "string", ""),
    },
    "LlmMetadata": {
        "start_token": (1, "TokenUnion", ""),
        "stop_tokens": (2, "TokenUnion", "repeated"),
        "prompt_templates": (3, "PromptTemplates", ""),
        "sampler_params": (4, "SamplerParameters", ""),
        "max_num_tokens": (5, "int32", ""),
        "llm_model_type": (6, "LlmModelType", ""),
        "jinja_prompt_template": (7, "string", "_jinja_prompt_template"),
        "channels": (8, "Channel", "repeated"),
        "suppress_tokens": (9, "TokenIds", ""),
        "supports_thinking": (11, "bool", "_supports_thinking"),
        "supports_function_calling": (12, "bool", "_supports_function_calling"),
        "min_runtime_version": (14, "string", ""),
    },
}


@dataclass(frozen=True)
class Sampler:
    """How the engine picks tokens where the app does not say.

    kind: "top_k", "top_p" or "greedy". k: tokens; p: 0 to 1; temperature: 0 for none given.
    """

    kind: str
    k: int = 0
    p: float = 0.0
    temperature: float = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class LlmMetadata:
    """What LiteRT-LM's metadata says beside the text format; empty means "not there".

    max_num_tokens: tokens of prompt and answer together. model_type: a name of MODEL_TYPES, which
    tells the engine how to treat tools and pictures. chat_template: Jinja source, run by Minijinja.
    """

    max_num_tokens: int = 0
    model_type: str = GENERIC
    chat_template: str = ""
    sampler: Sampler | None = None
    min_runtime_version: str = ""


def encode(
    parameters: BundleParameters, described: LlmMetadata, token_id: Callable[[str], int]
) -> bytes:
    """The bytes of LlmMetadata; the same arguments always give the same bytes.

    token_id: of a token's text, as tokens are given by id: the engine encodes a text, and from a
    text SentencePiece never gives a control piece such as Gemma's <bos>. Raises BundleError for
    what LlmMetadata has no place for.
    """
    _refuse_uncarried(parameters)
    message = _message()
    # An id in any case: by this field the engine knows the message in a `.task`, and an empty one
    # ends its process ("Index out of bounds").
    start = parameters.start_token_id
    if start is None:
        start = token_id(parameters.start_token) if parameters.start_token else _NO_START
    message.start_token.token_ids.ids.append(start)
    for token in (*map(token_id, parameters.stop_tokens), *parameters.stop_token_ids):
        message.stop_tokens.add().token_ids.ids.append(token)
    for channel in parameters.channels:
        message.channels.add(**asdict(channel))
    if parameters.suppressed_tokens:
        message.suppress_tokens.ids.extend(parameters.suppressed_tokens)
    for role in ("user", "model", "system"):
        prefix = getattr(parameters, f"{role}_prefix")
        suffix = getattr(parameters, f"{role}_suffix")
        if prefix or suffix:
            affixes = getattr(message.prompt_templates, role)
            affixes.prefix, affixes.suffix = prefix, suffix
    if described.sampler is not None:
        _set_sampler(message.sampler_params, described.sampler)
    message.max_num_tokens = described.max_num_tokens
    getattr(message.llm_model_type, described.model_type).SetInParent()
    if described.chat_template:
        message.jinja_prompt_template = described.chat_template
    # The engine's own packer calls for both; what a template of ours writes has neither.
    message.supports_thinking = message.supports_function_calling = False
    message.min_runtime_version = described.min_runtime_version
    return message.SerializeToString(deterministic=True)


def decode(
    data: bytes, where: str, token: Callable[[int], str]
) -> tuple[BundleParameters, LlmMetadata]:
    """Reads LlmMetadata of any origin; `where` begins the message of the BundleError it may raise.

    token: the text of an id. A stop "token" of several ids, which stops at their sequence, is
    given as the text of all of them together.
    """
    message = _parse(data, where)

    def text(union: Any) -> str:
        ids = [number for number in union.token_ids.ids if number != _NO_START]
        return union.token_str or "".join(map(token, ids))

    templates, sampler = message.prompt_templates, message.sampler_params
    kind = sampler.type if 0 <= sampler.type < len(_SAMPLERS) else 0
    parameters = BundleParameters(
        start_token=text(message.start_token),
        stop_tokens=tuple(map(text, message.stop_tokens)),
        user_prefix=templates.user.prefix,
        user_suffix=templates.user.suffix,
        model_prefix=templates.model.prefix,
        model_suffix=templates.model.suffix,
        system_prefix=templates.system.prefix,
        system_suffix=templates.system.suffix,
        suppressed_tokens=tuple(message.suppress_tokens.ids),
        channels=tuple(Channel(c.channel_name, c.start, c.end) for c in message.channels),
    )
    described = LlmMetadata(
        max_num_tokens=message.max_num_tokens,
        model_type=message.llm_model_type.WhichOneof("model_type") or "",
        chat_template=message.jinja_prompt_template,
        sampler=Sampler(
            kind=_SAMPLERS[kind],
            k=sampler.k,
            p=round(sampler.p, 6),
            temperature=round(sampler.temperature, 6),
            seed=sampler.seed if sampler.HasField("seed") else None,
        )
        if message.HasField("sampler_params")
        else None,
        min_runtime_version=message.min_runtime_version,
    )
    return parameters, described


def unread_fields(data: bytes, where: str) -> tuple[str, ...]:
    """What the message holds and `decode` does not give, for a report: "field 8", ..."""
    numbers = {field.field_number for field in UnknownFieldSet(_parse(data, where))}
    return tuple(f"field {number}" for number in sorted(numbers))


def is_llm_metadata(data: bytes) -> bool:
    """Whether LiteRT-LM takes METADATA of a `.task` for LlmMetadata: it looks for field 1."""
    message = _message()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return False
    return message.HasField("start_token")


def _refuse_uncarried(parameters: BundleParameters) -> None:
    given = [name for name in _UNCARRIED if getattr(parameters, name)]
    if given:
        raise BundleError(
            f"LlmMetadata: {', '.join(given)}: LiteRT-LM's metadata has no place for it; "
            "take --metadata mediapipe, or leave it out"
        )


def has_empty_start(data: bytes, where: str) -> bool:
    """Whether there is a start token without a text and without an id, which ends the engine."""
    message = _parse(data, where)
    token = message.start_token
    return message.HasField("start_token") and not token.token_str and not token.token_ids.ids


def _set_sampler(message: Any, sampler: Sampler) -> None:
    message.type = _SAMPLERS.index(sampler.kind)
    message.k, message.p, message.temperature = sampler.k, sampler.p, sampler.temperature
    if sampler.seed is not None:
        message.seed = sampler.seed


def _parse(data: bytes, where: str) -> Any:
    return parsed(_message(), data, where)


def _message() -> Any:
    """An empty LlmMetadata. Any: its fields are known to protobuf, not to the type checker."""
    return _message_class()()


@cache
def _message_class() -> type[Message]:
    return message_class("litert.lm.proto", _MESSAGES, "LlmMetadata")
