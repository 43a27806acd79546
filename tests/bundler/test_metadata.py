import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskpress.bundler import BundleError
from taskpress.bundler.metadata import BundleParameters, decode, encode, unread_fields

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
        (b"", "x: start token: none; its text is needed"),
        (b"\x20\x07\x2a\x04</s>", "x: start token: the id 7; its text"),
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
    vocabulary_and_stop_ids = b"\x10\x05" + b"\x90\x01\x07"
    assert unread_fields(encode(PLAIN) + vocabulary_and_stop_ids, "x") == ("vocab_size", "field 18")
    assert unread_fields(encode(PLAIN), "x") == ()
