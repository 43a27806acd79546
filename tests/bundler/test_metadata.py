import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from hypothesis import given
from hypothesis import strategies as st
from mediapipe_messages import their_message
from taskpress.bundler import BundleError, engine_parameters, metadata
from taskpress.bundler.metadata import (
    BundleParameters,
    Channel,
    decode,
    described,
    encode,
    unread_fields,
)

# how mediapipe's BundleConfig calls what we call otherwise
OUR_NAMES = {
    "system_prompt": "session_prefix",
    "enable_bytes_to_unicode_mapping": "bytes_to_unicode",
} | {
    f"prompt_{end}_{role}": f"{role}_{end}"
    for end in ("prefix", "suffix")
    for role in ("user", "model", "system")
}
FIXTURE = Path(__file__).parent / "fixtures" / "mediapipe_metadata.json"
MADE_BY_MEDIAPIPE = json.loads(FIXTURE.read_text(encoding="utf-8"))["made"]
PLAIN = BundleParameters("<s>", ("</s>",))


def from_settings(settings: dict[str, Any]) -> BundleParameters:
    ours = {OUR_NAMES.get(name, name): value for name, value in settings.items()}
    return BundleParameters(**ours | {"stop_tokens": tuple(settings["stop_tokens"])})


@pytest.mark.parametrize("made", MADE_BY_MEDIAPIPE, ids=range(len(MADE_BY_MEDIAPIPE)))
def test_bytes_are_those_of_mediapipes_bundler(made: dict[str, Any]) -> None:
    parameters = from_settings(made["settings"])
    theirs = bytes.fromhex(made["metadata"])
    assert encode(parameters) == theirs
    assert decode(theirs, "METADATA") == parameters


def test_the_smallest_message() -> None:
    assert encode(PLAIN) == b"\x2a\x04</s>" + b"\x32\x03<s>"


texts = st.text(st.characters(codec="utf-8"), max_size=20)
given_texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(
    st.builds(
        BundleParameters,
        start_token=given_texts,
        stop_tokens=st.lists(given_texts, min_size=1, max_size=4).map(tuple),
        session_prefix=st.just(""),
        **dict.fromkeys(
            ["user_prefix", "user_suffix", "model_prefix", "model_suffix", "system_prefix"], texts
        ),
    )
)
def test_decode_gives_back_what_was_encoded(parameters: BundleParameters) -> None:
    assert decode(encode(parameters), "METADATA") == parameters


def test_an_older_bundle_has_its_prefixes_in_field_8_alone() -> None:
    old = encode(PLAIN) + bytes.fromhex("420b") + b"\x0a\x01S\x12\x01U\x1a\x03V W"
    assert decode(old, "METADATA") == replace(
        PLAIN, session_prefix="S", user_prefix="U", user_suffix="V W"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_token": ""}, "start token: there is none"),
        ({"stop_tokens": ()}, r"stop tokens: \[\]; one is needed"),
        ({"stop_tokens": ("</s>", "")}, "none empty"),
        ({"session_prefix": "a", "system_suffix": "b"}, "session prefix: given beside a system"),
        ({"start_token_id": 4}, "start token: '<s>' and the id 4 are given; METADATA holds one"),
        ({"start_token": "", "start_token_id": -1}, "start_token_id: -1; a number from 0 to 21474"),
        ({"suppressed_tokens": (1, 1 << 31)}, "suppressed_tokens: 2147483648; a number"),
        ({"vocab_size": -1}, "vocab_size: -1; a number"),
        ({"channels": (Channel("x", "\ud800", ""),)}, "channels: .* half a character"),
        ({"user_prefix": "\ud800"}, r"user_prefix: '\\ud800' holds half a character"),
        ({"stop_tokens": ("a", "\udfff")}, "stop_tokens: .* half a character"),
    ],
)
def test_parameters_that_cannot_work_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        encode(replace(PLAIN, **change))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x: start token: none; one is needed"),
        (b"\x2a\x7f</s>", "x: 6 bytes are no LlmParameters message"),
        (b"\x32\x01\xff", "x: 3 bytes are no LlmParameters message"),  # not UTF-8
        (encode(PLAIN) + b"\x3a\x01\x02", r"x: input_output_normalizations \[2\]"),
    ],
)
def test_foreign_metadata_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=message) as caught:
        decode(data, "x")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_give_parameters_or_one_error(data: bytes) -> None:
    try:
        result = decode(data, "x").start_token
    except BundleError as error:
        result = str(error).startswith("x: ")
    assert result


def test_what_is_there_but_not_given_is_named() -> None:
    assert unread_fields(encode(PLAIN) + b"\xa8\x01\x07", "x") == ("field 21",)
    assert unread_fields(encode(PLAIN), "x") == ()


def test_prefixes_that_only_field_8_has_are_named() -> None:
    theirs = encode(replace(PLAIN, user_prefix="U"))
    assert unread_fields(theirs, "x") == ()
    other_in_field_8 = theirs.replace(b"\x42\x03\x12\x01U", b"\x42\x03\x12\x01W")
    assert decode(other_in_field_8, "x").user_prefix == "U"
    assert unread_fields(other_in_field_8, "x") == ("prompt_template",)


ALL = BundleParameters(
    start_token="",
    stop_tokens=("</s>",),
    start_token_id=0,
    stop_token_ids=(2, 300),
    suppressed_tokens=(0, 5),
    channels=(Channel("thought", "<think>", "</think>"), Channel("", "[", "]")),
    vocab_size=512,
    num_draft_tokens=3,
    transformer_parameters=b"\x08\x01\x82\x01\x02\x18\x01\xd8\x06\x01",
    submodel_transformer_parameters=b"",
    vision_encoder_parameters=b"\x08\x40\x10\x01",
    audio_encoder_parameters=b"\xff",
)


def test_the_bytes_of_the_fields_that_mediapipes_bundler_does_not_write() -> None:
    """By hand, by the numbers of the descriptors."""
    assert encode(ALL) == (
        b"\x0a\x0a\x08\x01\x82\x01\x02\x18\x01\xd8\x06\x01"  # 1
        + b"\x10\x80\x04"  # 2: 512
        + b"\x20\x00"  # 4
        + b"\x2a\x04</s>"  # 5
        + b"\x48\x03"  # 9
        + b"\x52\x01\xff"  # 10
        + b"\x7a\x04\x08\x40\x10\x01"  # 15
        + b"\x82\x01\x00"  # 16
        + b"\x92\x01\x03\x02\xac\x02"  # 18, packed
        + b"\x9a\x01\x1c\x0a\x07thought\x12\x07<think>\x1a\x08</think>"  # 19
        + b"\x9a\x01\x06\x12\x01[\x1a\x01]"
        + b"\xa2\x01\x02\x00\x05"  # 20
    )
    assert decode(encode(ALL), "x") == ALL
    assert unread_fields(encode(ALL), "x") == ()


def test_the_old_engines_messages_are_shown_by_name() -> None:
    shown = described(ALL)
    assert shown["transformer_parameters"] == {
        "batch_size": 1,
        "self_attention_parameters": {"attention_mask_type": 1},
        "unread": ["field 107"],
    }
    assert shown["submodel_transformer_parameters"] == {}
    assert shown["vision_encoder_parameters"] == {"tokens_num": 64, "append_eoi_embedding": True}
    assert shown["audio_encoder_parameters"] == {
        "unread": ["1 bytes that are no AudioEncoderParameters"]
    }
    convolutions = b"\x0a\x05\x1a\x03\x88\x08\x01"  # field 129 of the first one
    shown = described(replace(ALL, audio_encoder_parameters=convolutions))
    assert shown["audio_encoder_parameters"]["unread"] == [
        "sub_sample_conv_projection_parameters.convs.field 129"
    ]
    assert described(PLAIN)["transformer_parameters"] is None
    assert json.dumps(shown)


WEB = "llm_parameters_web.pb"


@pytest.mark.parametrize("fixture", ["llm_parameters.pb", WEB])
def test_their_own_class_reads_what_we_write(fixture: str) -> None:
    parameters = replace(
        ALL,
        audio_encoder_parameters=b"\x28\x07",
        user_prefix="U",
        user_suffix="V",
        model_prefix="M",
        model_suffix="N",
        system_prefix="S",
        user_role_token="<user>",
        bytes_to_unicode=True,
    )
    theirs = their_message(fixture)
    theirs.ParseFromString(encode(parameters))
    assert (theirs.WhichOneof("start_token_union"), theirs.start_token_id) == ("start_token_id", 0)
    assert (theirs.vocab_size, theirs.num_draft_tokens) == (512, 3)
    assert (theirs.stop_tokens, theirs.user_role_token) == (["</s>"], "<user>")
    assert theirs.input_output_normalizations == [1]
    old, roles = theirs.prompt_template, theirs.prompt_templates
    assert (old.prompt_prefix, old.prompt_suffix) == ("U", "VM")
    assert (roles.user_template.prompt_prefix, roles.user_template.prompt_suffix) == ("U", "V")
    assert (roles.model_template.prompt_prefix, roles.model_template.prompt_suffix) == ("M", "N")
    assert roles.system_template.prompt_prefix == "S"
    assert theirs.transformer_parameters.self_attention_parameters.attention_mask_type == 1
    assert theirs.HasField("submodel_transformer_parameters")
    assert theirs.vision_encoder_parameters.tokens_num == 64
    assert theirs.audio_encoder_parameters.vocab_size == 7
    if fixture == WEB:
        assert (theirs.stop_token_ids, theirs.suppressed_tokens) == ([2, 300], [0, 5])
        assert [(c.channel_name, c.start, c.end) for c in theirs.channels] == [
            ("thought", "<think>", "</think>"),
            ("", "[", "]"),
        ]
    assert decode(theirs.SerializeToString(), "x") == parameters


def fields_of(descriptor: Any) -> dict[str, tuple[int, str, bool]]:
    """name -> number, how it is on the wire, repeated; enums are numbers, messages may be bytes."""
    kinds = {"enum": "int32", "message": "bytes"}
    return {
        field.name: (
            field.number,
            kinds.get(kind := FieldDescriptorProto.Type.Name(field.type)[5:].lower(), kind),
            field.is_repeated,
        )
        for field in descriptor.fields
    }


def test_our_tables_are_their_descriptors() -> None:
    """LlmParameters with the web engine's three fields; the old engine's as in 0.10.35."""
    _compare(metadata._MESSAGES, their_message(WEB).DESCRIPTOR)
    file = their_message("llm_parameters.pb").DESCRIPTOR.file
    for name in engine_parameters._CLASSES.values():
        _compare(
            engine_parameters._MESSAGES, file.pool.FindMessageTypeByName(f"odml.infra.proto.{name}")
        )


def _compare(messages: Any, theirs: Any) -> None:
    """Of a message and all that it holds, as far as a table has them."""
    ours = {
        name: (number, kind if kind not in messages else "bytes", how == "repeated")
        for name, (number, kind, how) in messages[theirs.name].items()
    }
    assert ours == fields_of(theirs), theirs.name
    for field in theirs.fields:
        if field.message_type is not None and field.message_type.name in messages:
            _compare(messages, field.message_type)
