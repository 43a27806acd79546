from dataclasses import replace
from typing import Any

import pytest
from litert_lm_builder.runtime.proto import llm_metadata_pb2
from mediapipe_messages import their_message
from taskpress.bundler import BundleError, both_metadata, llm_metadata, metadata
from taskpress.bundler.llm_metadata import LlmMetadata, Sampler
from taskpress.bundler.metadata import BundleParameters, Channel
from taskpress.bundler.settings import TextFormat
from taskpress.bundler.templates import ChatFormat

TOKENS = ["<bos>", "<eos>", "<turn>", "<|im_start|>", "<|im_end|>"]
PARAMETERS = BundleParameters(
    "<bos>",
    ("<eos>", "<turn>"),
    user_prefix="user\n",
    user_suffix="<turn>\n",
    model_prefix="model\n",
    model_suffix="<turn>\n",
    system_prefix="system\n",
    system_suffix="\n",
    suppressed_tokens=(3,),
    channels=(Channel("thought", "<think>", "</think>"),),
)
DESCRIBED = LlmMetadata(
    max_num_tokens=1280,
    model_type="qwen3",
    chat_template="{{ messages }}",
    sampler=Sampler("top_p", k=40, p=0.95, temperature=0.7, seed=3),
    min_runtime_version="0.12.0",
)
CHATML = ChatFormat(
    start_token="<|im_start|>",
    session_prefix="system\nBe kind.<|im_end|>\n",
    user_prefix="<|im_start|>user\n",
    user_suffix="<|im_end|>\n",
    model_prefix="<|im_start|>assistant\n",
    model_suffix="<|im_end|>\n",
    system_prefix="system\n",
    system_suffix="<|im_end|>\n",
    stops=("<|im_end|>",),
)


def theirs(data: bytes) -> Any:
    return llm_metadata_pb2.LlmMetadata.FromString(data)


def test_google_s_class_reads_what_was_meant() -> None:
    message = theirs(llm_metadata.encode(PARAMETERS, DESCRIBED, TOKENS.index))
    assert list(message.start_token.token_ids.ids) == [0]
    assert [list(stop.token_ids.ids) for stop in message.stop_tokens] == [[1], [2]]
    assert message.prompt_templates.user.prefix == "user\n"
    assert message.prompt_templates.model.suffix == "<turn>\n"
    assert message.prompt_templates.system.prefix == "system\n"
    assert message.sampler_params.type == message.sampler_params.TOP_P
    assert (message.sampler_params.k, message.sampler_params.seed) == (40, 3)
    assert message.sampler_params.temperature == pytest.approx(0.7)
    assert message.max_num_tokens == 1280
    assert message.llm_model_type.WhichOneof("model_type") == "qwen3"
    assert message.jinja_prompt_template == "{{ messages }}"
    assert message.channels[0].channel_name == "thought"
    assert list(message.suppress_tokens.ids) == [3]
    assert message.HasField("supports_thinking")
    assert message.HasField("supports_function_calling")
    assert message.min_runtime_version == "0.12.0"
    message.DiscardUnknownFields()
    assert message.SerializeToString(deterministic=True) == llm_metadata.encode(
        PARAMETERS, DESCRIBED, TOKENS.index
    )


def test_what_was_written_is_read() -> None:
    data = llm_metadata.encode(PARAMETERS, DESCRIBED, TOKENS.index)
    assert llm_metadata.decode(data, "x", TOKENS.__getitem__) == (PARAMETERS, DESCRIBED)
    assert llm_metadata.unread_fields(data, "x") == ()


def test_what_others_wrote_is_read() -> None:
    message = llm_metadata_pb2.LlmMetadata()
    message.start_token.token_str = "<s>"
    message.stop_tokens.add().token_ids.ids.extend([1, 2])
    message.kv_cache_init_value = 4
    message.sampler_params.type = 3
    parameters, described = llm_metadata.decode(
        message.SerializeToString(), "x", TOKENS.__getitem__
    )
    assert (parameters.start_token, parameters.stop_tokens) == ("<s>", ("<eos><turn>",))
    assert described == LlmMetadata(model_type="", sampler=Sampler("greedy"))
    assert llm_metadata.unread_fields(message.SerializeToString(), "x") == ("field 10",)
    with pytest.raises(BundleError, match="x: 2 bytes are no LlmMetadata message"):
        llm_metadata.decode(b"\x0a\xff", "x", TOKENS.__getitem__)


@pytest.mark.parametrize("change", [{"bytes_to_unicode": True}, {"end_role_token": "<e>"}])
def test_what_it_has_no_place_for_is_refused(change: dict[str, Any]) -> None:
    (name,) = change
    changed = replace(PARAMETERS, **change)
    with pytest.raises(BundleError, match=f"LlmMetadata: {name}: LiteRT-LM's metadata has"):
        llm_metadata.encode(changed, DESCRIBED, TOKENS.index)
    text = TextFormat(replace(changed, channels=(), suppressed_tokens=()), CHATML)
    with pytest.raises(BundleError, match=f"metadata for both runtimes: {name} is given"):
        both_metadata.encode(text, DESCRIBED, TOKENS.index)


def test_both_messages_are_read_as_meant() -> None:
    """By the class made from the descriptor inside mediapipe 0.10.35, and by LiteRT-LM's own."""
    text = TextFormat(CHATML.parameters(("<|im_end|>",)), CHATML)
    data = both_metadata.encode(text, DESCRIBED, TOKENS.index)

    message = theirs(data)
    assert list(message.start_token.token_ids.ids) == [-1]  # each turn has its own
    assert [list(stop.token_ids.ids) for stop in message.stop_tokens] == [[4]]
    assert message.prompt_templates.user.prefix == "<|im_start|>user\n"
    assert message.prompt_templates.system.prefix == "<|im_start|>system\n"
    assert message.max_num_tokens == 1280
    assert message.llm_model_type.WhichOneof("model_type") == "qwen3"
    assert not message.HasField("jinja_prompt_template")
    (channel,) = message.channels
    assert all((channel.channel_name, channel.start, channel.end))
    assert not message.HasField("pad_token")
    assert not message.HasField("min_runtime_version")

    message = their_message("llm_parameters.pb")
    message.ParseFromString(data)
    assert message.WhichOneof("start_token_union") == "start_token_id"
    assert message.start_token_id == TOKENS.index("<|im_start|>")
    assert list(message.stop_tokens) == ["<|im_end|>"]
    assert list(message.input_output_normalizations) == []
    assert message.prompt_template.session_prefix == CHATML.session_prefix
    assert message.prompt_templates.user_template.prompt_prefix == CHATML.user_prefix
    assert message.prompt_templates.model_template.prompt_suffix == CHATML.model_suffix
    assert message.vocab_size == message.num_draft_tokens == 0
    assert not any((message.user_role_token, message.model_role_token, message.end_role_token))

    assert metadata.decode(data, "x").start_token_id == TOKENS.index("<|im_start|>")
    assert [note.split(":")[1][:30] for note in both_metadata.notes(text)] == [
        " LiteRT-LM does not write the ",
        " LiteRT-LM leaves out '\\n' beh",
    ]


def test_both_without_a_session_prefix_leave_field_8_out() -> None:
    text = TextFormat(replace(PARAMETERS, channels=()), ChatFormat("<bos>", "", "", "", "", ""))
    data = both_metadata.encode(text, replace(DESCRIBED, min_runtime_version=""), TOKENS.index)
    assert not theirs(data).channels  # one without a name is refused by the engine
    assert list(theirs(data).start_token.token_ids.ids) == [0]
    assert metadata.decode(data, "x").user_prefix == "user\n"


def test_a_moved_start_token_goes_back_to_each_turn() -> None:
    """As of Qwen 3, whose template has no system message of its own."""
    chat = replace(
        CHATML,
        session_prefix="",
        user_prefix="user\n",
        model_suffix="<|im_end|>\n<|im_start|>",
        system_suffix="<|im_end|>\n<|im_start|>",
    )
    found = both_metadata.for_roles(TextFormat(chat.parameters(("<|im_end|>",)), chat))
    assert found.start_token == ""
    assert (found.user_prefix, found.model_suffix) == ("<|im_start|>user\n", "<|im_end|>\n")
    assert (found.system_prefix, found.system_suffix) == ("<|im_start|>system\n", "<|im_end|>\n")


def test_which_message_it_is() -> None:
    assert not llm_metadata.is_llm_metadata(metadata.encode(CHATML.parameters(("<|im_end|>",))))
    assert llm_metadata.is_llm_metadata(llm_metadata.encode(PARAMETERS, DESCRIBED, TOKENS.index))
    assert not llm_metadata.is_llm_metadata(b"\x0a\xff")


def test_channels_for_both_are_refused() -> None:
    """LiteRT-LM's are in field 8, which MediaPipe reads as the older prefixes."""
    text = TextFormat(PARAMETERS, ChatFormat("<bos>", "", "", "", "", ""))
    with pytest.raises(BundleError, match="metadata for both runtimes: channels is given"):
        both_metadata.encode(text, DESCRIBED, TOKENS.index)
