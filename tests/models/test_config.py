"""config.json against an architecture's Config: every key used, known or refused."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taskpress.models import CheckpointError, architecture, architectures
from taskpress.models._config import read_config
from taskpress.models._files import load_json
from transformers import LlamaConfig

WHERE = "config.json"


@dataclass(frozen=True)
class Config:
    hidden_size: int
    num_hidden_layers: int = 2
    rms_norm_eps: float = 1e-6
    hidden_act: str = "silu"
    mlp_bias: bool = False
    head_dim: int | None = None
    rope_theta: float = 10000.0
    rope_scaling: Mapping[str, Any] | None = None
    layer_types: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.head_dim is not None and self.hidden_size % self.head_dim:
            raise ValueError(f"head_dim={self.head_dim}: does not divide {self.hidden_size}")


@dataclass(frozen=True)
class WithoutRope:
    hidden_size: int


def refused(config: Mapping[str, Any], message: str, cls: type = Config) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        read_config(config, cls, WHERE)
    assert str(error.value) == message


def test_every_kind_of_field() -> None:
    given = {
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "rms_norm_eps": 1,
        "hidden_act": "gelu",
        "mlp_bias": True,
        "head_dim": 16,
        "rope_theta": 5e5,
        "rope_scaling": None,
        "layer_types": ["full_attention", "sliding_attention"],
    }
    config = read_config(given, Config, WHERE)
    types = ("full_attention", "sliding_attention")
    assert config == Config(64, 3, 1.0, "gelu", True, 16, 5e5, None, types)
    assert type(config.rms_norm_eps) is float
    assert read_config({"hidden_size": 64, "head_dim": None}, Config, WHERE) == Config(64)


def test_what_is_missing_is_not_guessed() -> None:
    refused({}, f"config.json: no hidden_size; {__name__} needs it")


NEEDED = [
    ("hidden_size", ["64", 64.0, True, 0, -1, None, 1 << 31], "an integer from 1 to 1048576"),
    ("num_hidden_layers", [0, 1025, "2"], "an integer from 1 to 1024"),
    ("rms_norm_eps", ["1e-6", 0, -1.0, True, None, 10**400], "a finite number above 0"),
    ("rms_norm_eps", [float("nan"), float("inf")], "a finite number above 0"),
    ("hidden_act", [1, None, ["silu"]], "a string"),
    ("mlp_bias", [0, 1, "false", None], "true or false"),
    ("head_dim", ["8", 0, False], "an integer from 1 to 16384"),
    ("layer_types", ["full_attention", {}, None], "a list"),
    ("layer_types", [[1], ["a", None]], "a string"),
]


@pytest.mark.parametrize(
    ("key", "value", "need"), [(key, value, need) for key, vs, need in NEEDED for value in vs]
)
def test_values_of_the_wrong_kind(key: str, value: Any, need: str) -> None:
    message = f"config.json: {key}={value!r:.120}: needs {need}"
    refused({"hidden_size": 64, key: value}, message)


def test_what_the_config_itself_refuses() -> None:
    refused({"hidden_size": 64, "head_dim": 24}, "config.json: head_dim=24: does not divide 64")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("attention_multiplier", 0.5),
        ("attention_dropout_", 0),
        ("pretraining_tp", 2),
        ("quantization_config", {"bits": 4}),
        ("rope_interleaved", True),
        ("sliding_window", 4096),
        ("use_sliding_window", True),
        ("is_encoder_decoder", True),
        ("pruned_heads", {"0": [1]}),
        ("auto_map", {"AutoModelForCausalLM": "modeling.py"}),
        ("partial_rotary_factor", 0.5),
    ],
)
def test_a_key_that_matters_is_refused(key: str, value: Any) -> None:
    message = f"config.json: {key}={value!r}: not implemented by {__name__}"
    refused({"hidden_size": 64, key: value}, message)


def test_a_strange_key_stays_on_one_line() -> None:
    message = rf"config.json: 'a\n\x1b[2J'=1: not implemented by {__name__}"
    refused({"hidden_size": 64, "a\n\x1b[2J": 1}, message)
    refused(
        {"hidden_size": 64, "k" * 500: "v" * 500},
        f"config.json: {'k' * 117}...={'v' * 500!r:.120}: not implemented by {__name__}",
    )


def test_smollm2s_config() -> None:
    """All keys of its config.json on the Hub, with the names that taskpress must know."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 576,
        "initializer_range": 0.041666666666666664,
        "intermediate_size": 1536,
        "is_llama_config": True,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "pad_token_id": 2,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": 49152,
    }
    read = read_config(config, architecture("llama").Config, WHERE)
    assert (read.hidden_size, read.num_hidden_layers, read.vocab_size) == (576, 30, 49152)
    assert read.rope_theta == 100000.0
    assert read.tie_word_embeddings is True


def test_what_transformers_writes_today(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    LlamaConfig(
        hidden_size=64,
        num_attention_heads=4,
        max_position_embeddings=128,
        rope_parameters=scaling | {"rope_theta": 5e5},
    ).save_pretrained(tmp_path)
    config = load_json(tmp_path / "config.json")
    assert "rope_parameters" in config
    read = read_config(config, architecture("llama").Config, WHERE)
    assert read.rope_theta == 5e5
    assert read.rope_scaling == scaling


LLAMA3 = {"rope_type": "llama3", "factor": 8.0}


@pytest.mark.parametrize(
    ("given", "theta", "scaling"),
    [
        ({}, 10000.0, None),
        ({"rope_theta": 5e5}, 5e5, None),
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5, None),
        ({"rope_parameters": None}, 10000.0, None),
        ({"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, 5e5, None),
        ({"rope_scaling": {"type": "default"}}, 10000.0, None),
        ({"rope_scaling": LLAMA3, "rope_theta": 5e5}, 5e5, LLAMA3),
        ({"rope_scaling": {"type": "llama3", "factor": 8.0}}, 10000.0, LLAMA3),
        ({"rope_scaling": LLAMA3 | {"type": "llama3"}}, 10000.0, LLAMA3),
        ({"rope_parameters": LLAMA3 | {"rope_theta": 5e5}}, 5e5, LLAMA3),
        ({"rope_parameters": LLAMA3, "rope_theta": 5e5}, 5e5, LLAMA3),
        ({"rope_parameters": LLAMA3, "rope_scaling": LLAMA3}, 10000.0, LLAMA3),
        ({"rope_parameters": LLAMA3, "rope_scaling": None}, 10000.0, LLAMA3),
        ({"rope_scaling": {"factor": 8.0}}, 10000.0, {"rope_type": "default", "factor": 8.0}),
        (
            {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}},
            10000.0,
            None,
        ),
    ],
)
def test_one_form_of_rope(
    given: dict[str, Any], theta: float, scaling: Mapping[str, Any] | None
) -> None:
    before = json.dumps(given)
    config = read_config({"hidden_size": 64} | given, Config, WHERE)
    assert config.rope_theta == theta
    assert config.rope_scaling == scaling
    assert json.dumps(given) == before, "the checkpoint's own config has changed"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rope_scaling": "linear"}, "rope_scaling='linear': needs an object or null"),
        ({"rope_parameters": []}, "rope_parameters=[]: needs an object or null"),
        (
            {"rope_parameters": LLAMA3, "rope_scaling": {"factor": 2.0}},
            "rope_parameters and rope_scaling differ; needs one of them",
        ),
        (
            {"rope_scaling": LLAMA3 | {"type": "yarn"}},
            "rope_type is 'llama3' and 'yarn'; needs one of them",
        ),
        (
            {"rope_parameters": {"rope_theta": 5e5}, "rope_theta": 1e4},
            "rope_theta is 500000.0 and 10000.0; needs one of them",
        ),
        ({"rope_parameters": {"rope_theta": "x"}}, "rope_theta='x': needs a finite number above 0"),
        ({"rope_scaling": {"rope_type": ["a"]}}, "rope_type=['a']: needs a string"),
        (
            {"rope_scaling": LLAMA3 | {"factor": "8"}},
            "factor='8' of rope_scaling: needs a finite number above 0",
        ),
        (
            {"rope_scaling": {"rope_type": "longrope", "long_factor": [1.0, 0.0]}},
            "long_factor=[1.0, 0.0] of rope_scaling: needs a finite number above 0",
        ),
    ],
)
def test_rope_that_contradicts_itself(given: dict[str, Any], message: str) -> None:
    refused({"hidden_size": 64} | given, f"config.json: {message}")


def test_rope_for_an_architecture_without_it() -> None:
    read_config({"hidden_size": 64, "rope_scaling": None}, WithoutRope, WHERE)
    for key, value in {"rope_scaling": LLAMA3, "rope_theta": 1e4, "rope_parameters": {}}.items():
        message = f"config.json: {key}={value!r}: not implemented by {__name__}"
        refused({"hidden_size": 64, key: value}, message, WithoutRope)


def test_architectures_are_found_by_their_file() -> None:
    assert "llama" in architectures()
    assert architecture("llama").__name__ == "taskpress.models.llama"


@pytest.mark.parametrize(
    "model_type",
    ["roberta", "_config", "layers", "os.path", "../llama", "", None, 7, ["llama"], {}],
)
def test_an_unknown_model_type(model_type: object) -> None:
    message = f"config.json: model_type={model_type!r}: not implemented; taskpress.models has "
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}.*llama"):
        architecture(model_type)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
ROPE = ["rope_parameters", "rope_scaling", "rope_theta", "rope_type", "type"]
KEYS = st.sampled_from([*Config.__dataclass_fields__, *ROPE, "pretraining_tp", "pruned_heads"])


@settings(deadline=1000)
@given(st.dictionaries(KEYS | st.text(), JSON | st.dictionaries(KEYS, JSON, max_size=3)))
def test_any_json_gives_a_config_or_one_error(config: dict[str, Any]) -> None:
    try:
        read = read_config(config, Config, WHERE)
    except CheckpointError as error:
        message = str(error)
    else:
        message = "config.json: sound"
        assert read.hidden_size == config["hidden_size"]
    assert re.fullmatch("config.json: .+", message)
