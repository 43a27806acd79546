"""METADATA of a `.task` that is LlmMetadata and LlmParameters at once, for both runtimes.

A protobuf parser skips a field whose wire type is not the one that it knows, and of a field that is
there twice the last one counts. The two messages, one behind the other, are therefore read as meant
by either parser, as long as no field is written that collides:

    field   LlmMetadata (LiteRT-LM)     LlmParameters (MediaPipe)   written
    1       start_token, a message      transformer_parameters      as LlmMetadata's; the other
                                                                    knows nothing of what is in it
    2       stop_tokens, messages       vocab_size, a number        as LlmMetadata's
    3       prompt_templates            -                           yes
    4       sampler_params, a message   start_token_id, a number    both
    5       max_num_tokens, a number    stop_tokens, texts          both
    6       llm_model_type, a message   start_token, a text         as LlmMetadata's: the other
                                                                    takes it for a start token, till
                                                                    field 4 of the same oneof comes
    7       jinja_prompt_template       normalizations, packed      never
    8       channels, messages          prompt_template, a message  where it has all three texts
    11, 12  supports_..., booleans      roles' tokens, texts        as LlmMetadata's
    13, 14  pad token, a version        roles' tokens               never
    17      -                           prompt_templates            yes

What that cannot carry: a chat template for LiteRT-LM, which then makes one of the prefixes by role.
That one has no session prefix, SmolLM2's default system message, and leaves out what follows the
stop token of an answer, ChatML's "\\n". BYTES_TO_UNICODE, the roles' tokens and channels are
refused.

In field 8, a session prefix is the name of a channel to LiteRT-LM, and the user's prefix and suffix
the marks around it; where these hold special tokens no answer has them, and where one of the three
is missing the field is left out: a channel without a name is refused, one without marks is always
open. MediaPipe then finds the prefixes in field 17 alone.
"""

from collections.abc import Callable
from dataclasses import replace

from . import BundleError, llm_metadata, metadata
from .llm_metadata import LlmMetadata
from .metadata import BundleParameters, cut_at_stop
from .settings import TextFormat

_UNCARRIED = (
    *(f"{role}_role_token" for role in ("user", "system", "model", "end")),
    "bytes_to_unicode",
    "channels",
)


def encode(text: TextFormat, described: LlmMetadata, token_id: Callable[[str], int]) -> bytes:
    """The bytes of both messages; token_id: of a token's text.

    Raises BundleError for what collides.
    """
    parameters = text.parameters
    for name in _UNCARRIED:
        if getattr(parameters, name):
            raise BundleError(
                f"metadata for both runtimes: {name} is given, and no such message can hold it; "
                "take metadata for one of them"
            )
    carried = replace(described, chat_template="", min_runtime_version="")
    theirs = llm_metadata.encode(for_roles(text), carried, token_id)
    old = all((parameters.session_prefix, parameters.user_prefix, parameters.user_suffix))
    if parameters.session_prefix and not old:
        raise BundleError(
            "metadata for both runtimes: a session prefix without a user prefix and suffix would "
            "be a channel that is always open to LiteRT-LM; take metadata for one of them"
        )
    ours = replace(parameters, start_token="", start_token_id=token_id(parameters.start_token))
    return theirs + metadata.encode(ours, by_role_alone=not old)


def for_roles(text: TextFormat) -> BundleParameters:
    """The text format for LiteRT-LM where it has no chat template, and every turn is alike.

    A start token that also begins each turn becomes part of the prefixes: the engine would write
    it once, in front of the first turn's own.
    """
    chat, start = text.chat, text.chat.start_token
    parameters = replace(
        text.parameters,
        session_prefix="",
        system_prefix=chat.system_prefix,
        system_suffix=chat.system_suffix,
    )
    if parameters.model_suffix.endswith(start):
        # each turn's token was moved to the end of what stands before it
        return replace(
            parameters,
            start_token="",
            user_prefix=start + parameters.user_prefix,
            model_suffix=parameters.model_suffix.removesuffix(start),
            system_prefix=start + parameters.system_prefix,
            system_suffix=parameters.system_suffix.removesuffix(start),
        )
    if parameters.user_prefix.startswith(start):
        system = chat.no_system is None
        return replace(
            parameters,
            start_token="",
            system_prefix=start + parameters.system_prefix if system else "",
        )
    return parameters


def notes(text: TextFormat) -> tuple[str, ...]:
    """What LiteRT-LM does not get of this text format, one line each."""
    chat, found = text.chat, []
    if chat.session_prefix:
        found.append(
            "metadata for both: LiteRT-LM does not write the session prefix "
            f"{chat.session_prefix!r}; give it as the system message"
        )
    _, rest = cut_at_stop(chat.model_suffix.removesuffix(chat.start_token), chat.stops)
    if rest:
        found.append(f"metadata for both: LiteRT-LM leaves out {rest!r} behind each answer")
    return tuple(found)
