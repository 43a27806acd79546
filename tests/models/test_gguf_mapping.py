"""GGUF in the Hub's words: names, config keys and values."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from taskpress.models import CheckpointError, _gguf_mapping
from taskpress.models._checkpoint import Checkpoint, open_checkpoint
from taskpress.models._gguf_mapping import GgufArchitecture, GgufTensor

HEADS, KV_HEADS, HEAD_DIM, HIDDEN, INNER, LAYERS, VOCABULARY = 4, 2, 8, 32, 64, 2, 48
KEYS: Mapping[str, Any] = {
    "llama.block_count": LAYERS,
    "llama.context_length": 128,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": HEAD_DIM,
    "llama.rope.freq_base": 5e5,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}
SHAPES: Mapping[str, tuple[int, ...]] = {
    "self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
    "self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
    "self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
    "self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD_DIM),
    "mlp.gate_proj.weight": (INNER, HIDDEN),
    "mlp.up_proj.weight": (INNER, HIDDEN),
    "mlp.down_proj.weight": (HIDDEN, INNER),
    "input_layernorm.weight": (HIDDEN,),
    "post_attention_layernorm.weight": (HIDDEN,),
}
NAMES: Mapping[str, str] = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}

Write = Callable[..., Path]


def hub_weights() -> dict[str, np.ndarray]:
    """A tiny Llama by the Hub's names, with a head of its own."""
    shapes = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in SHAPES.items()}
    random = np.random.default_rng(0)
    return {k: random.standard_normal(s).astype(np.float32) for k, s in shapes.items()}


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter makes of a projection: halves become pairs."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def converted(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as llama.cpp's converter names and orders them."""
    whole = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    tensors = {}
    for name, weight in weights.items():
        if name in whole:
            tensors[whole[name]] = weight
            continue
        _, _, layer, rest = name.split(".", 3)
        module, kind = rest.rsplit(".", 1)
        heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV_HEADS}.get(module)
        tensor = interleaved(weight, heads) if heads else weight
        tensors[f"blk.{layer}.{NAMES[module]}.{kind}"] = tensor
    return tensors


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(
        keys: Mapping[str, Any] = KEYS,
        tensors: Mapping[str, np.ndarray] | None = None,
        name: str = "llama",
    ) -> Path:
        """Writes x.gguf; integers become u32, floats float32."""
        writer = gguf.GGUFWriter(tmp_path / "x.gguf", name)
        for key, value in keys.items():
            if isinstance(value, bool):
                writer.add_bool(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            elif isinstance(value, float):
                writer.add_float32(key, value)
            elif isinstance(value, str):
                writer.add_string(key, value)
            else:
                writer.add_array(key, value)
        for tensor, values in (converted(hub_weights()) if tensors is None else tensors).items():
            writer.add_tensor(tensor, values)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path / "x.gguf"

    return write


def whole(checkpoint: Checkpoint, name: str) -> np.ndarray:
    return checkpoint.read_rows(name, 0, checkpoint.tensors[name].shape[0])


def test_names_and_rows_are_the_hubs(write: Write) -> None:
    weights = hub_weights()
    with open_checkpoint(write()) as checkpoint:
        assert {k: t.shape for k, t in checkpoint.tensors.items()} == {
            k: w.shape for k, w in weights.items()
        }
        for name, weight in weights.items():
            np.testing.assert_array_equal(whole(checkpoint, name), weight, name)
        query = "model.layers.1.self_attn.q_proj.weight"
        for start in range(HEADS * HEAD_DIM):
            for stop in range(start, HEADS * HEAD_DIM + 1):
                rows = checkpoint.read_rows(query, start, stop)
                np.testing.assert_array_equal(rows, weights[query][start:stop])


def test_the_config_is_the_hubs(write: Write) -> None:
    path = write()
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.config == {
            "model_type": "llama",
            "attention_bias": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "head_dim": HEAD_DIM,
            "hidden_act": "silu",
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "max_position_embeddings": 128,
            "mlp_bias": False,
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "num_key_value_heads": KV_HEADS,
            "rms_norm_eps": 1e-5,  # the decimal, not float32's 9.99999974738e-06
            "rope_scaling": None,
            "rope_theta": 5e5,
            "tie_word_embeddings": False,
            "vocab_size": VOCABULARY,
        }
        assert checkpoint.generation_config == {"bos_token_id": 1, "eos_token_id": 2}
        assert checkpoint.path == path
        assert checkpoint.folder is None
        assert checkpoint.metadata["llama.block_count"] == LAYERS
        assert checkpoint.where("lm_head.weight") == "x.gguf"


def test_quantized_rows_are_put_in_order_too(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).standard_normal((HEADS * HEAD_DIM, 64)).astype(np.float32)
    kind = GGMLQuantizationType.Q4_0
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_head_count(HEADS)
    name = "blk.0.attn_q.weight"
    writer.add_tensor(name, gguf.quantize(interleaved(weight, HEADS), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    # rows are quantized by themselves, so the order of the two steps does not matter
    expected = gguf.dequantize(gguf.quantize(weight, kind), kind)
    with open_checkpoint(tmp_path / "x.gguf") as checkpoint:
        rows = checkpoint.read_rows("model.layers.0.self_attn.q_proj.weight", 5, 21)
        np.testing.assert_array_equal(rows, expected[5:21])


def test_flags_follow_the_tensors(write: Write) -> None:
    tensors = converted(hub_weights())
    del tensors["output.weight"]
    bias = np.arange(HEADS * HEAD_DIM, dtype=np.float32)
    tensors["blk.0.attn_q.bias"] = interleaved(bias, HEADS)
    tensors["blk.0.ffn_up.bias"] = np.ones(INNER, np.float32)
    with open_checkpoint(write(tensors=tensors)) as checkpoint:
        assert checkpoint.config["tie_word_embeddings"] is True
        assert checkpoint.config["attention_bias"] is True
        assert checkpoint.config["mlp_bias"] is True
        read = checkpoint.read_rows("model.layers.0.self_attn.q_proj.bias", 3, 20)
        np.testing.assert_array_equal(read, bias[3:20])


def test_llama_cpps_defaults(write: Write) -> None:
    keys = {k: v for k, v in KEYS.items() if "head_count_kv" not in k and "token_id" not in k}
    tensors = {k: v for k, v in converted(hub_weights()).items() if "attn_k" not in k}
    with open_checkpoint(write(keys, tensors)) as checkpoint:
        assert checkpoint.config["num_key_value_heads"] == HEADS
        assert checkpoint.generation_config == {}


def test_an_end_of_turn_beside_the_end_of_text(write: Write) -> None:
    for eot, expected in [(2, 2), (7, [2, 7])]:
        with open_checkpoint(write(KEYS | {"tokenizer.ggml.eot_token_id": eot})) as checkpoint:
            assert checkpoint.generation_config["eos_token_id"] == expected


def test_keys_that_change_nothing(write: Write) -> None:
    harmless = {
        "general.name": "x",
        "general.type": "model",
        "tokenizer.ggml.model": "gpt2",
        "quantize.imatrix.file": "x",
        "mradermacher.quantized_by": "x",
        "llama.vocab_size": VOCABULARY,
        "llama.attention.key_length": HEAD_DIM,
        "llama.attention.value_length": HEAD_DIM,
        "llama.expert_count": 0,
        "llama.rope.scaling.type": "none",
        "llama.rope.scaling.factor": 8.0,
    }
    with open_checkpoint(write()) as checkpoint:
        expected = checkpoint.config
    with open_checkpoint(write(KEYS | harmless)) as checkpoint:
        assert checkpoint.config == expected


@pytest.mark.parametrize("given", [{}, {"llama.rope.scaling.type": "linear"}])
def test_linear_rope_scaling(write: Write, given: Mapping[str, Any]) -> None:
    for factor, expected in [(4.0, {"rope_type": "linear", "factor": 4.0}), (1.0, None)]:
        keys = KEYS | given | {"llama.rope.scaling.factor": factor}
        with open_checkpoint(write(keys)) as checkpoint:
            assert checkpoint.config["rope_scaling"] == expected


def test_rope_factors_are_not_lost(write: Write) -> None:
    factors = np.array([1, 1, 3.25, 8], np.float32)
    tensors = converted(hub_weights()) | {"rope_freqs.weight": factors}
    with open_checkpoint(write(tensors=tensors)) as checkpoint:
        assert checkpoint.config["rope_scaling"] == {
            "rope_type": "factors",
            "factors": [1.0, 1.0, 3.25, 8.0],
        }
        assert checkpoint.tensors.keys() == hub_weights().keys()


SQUARE = np.ones((HIDDEN, HIDDEN), np.float32)


@pytest.mark.parametrize(
    ("keys", "tensors", "message"),
    [
        ({"general.type": "adapter"}, {}, "general.type='adapter'; needs 'model'"),
        (
            {"llama.expert_count": 8},
            {},
            "llama.expert_count=8: not implemented by taskpress.models.llama",
        ),
        (
            {"llama.logit_scale": 0.5},
            {},
            "llama.logit_scale=0.5: not implemented by taskpress.models.llama",
        ),
        (
            {"llama.attention.key_length": 16},
            {},
            "llama.attention.key_length=16; another key gives head_dim as 8",
        ),
        (
            {"llama.rope.scaling.type": "yarn"},
            {},
            "llama.rope.scaling.*={'type': 'yarn'}: not implemented; none and linear are",
        ),
        (
            {"llama.rope.scaling.attn_factor": 2.0},
            {},
            "llama.rope.scaling.*={'attn_factor': 2.0}: not implemented; none and linear are",
        ),
        (
            {"llama.rope.scaling.factor": 2.0},
            {"rope_freqs.weight": np.ones(4, np.float32)},
            "llama.rope.scaling.factor=2.0 and rope_freqs.weight; one only",
        ),
        (
            {},
            {"rope_freqs.weight": np.ones((2, 2), np.float32)},
            "rope_freqs.weight is [2, 2]; needs [head_dim / 2]",
        ),
        (
            {},
            {"rope_freqs.weight": np.array([1, 0], np.float32)},
            "rope_freqs.weight has values that are not above 0",
        ),
        (
            {},
            {"rope_freqs.weight": np.array([1, np.inf], np.float32)},
            "rope_freqs.weight has values that are not above 0",
        ),
        (
            {},
            {"blk.0.ffn_gate_exps.weight": SQUARE},
            "the tensor blk.0.ffn_gate_exps.weight: not implemented by taskpress.models.llama",
        ),
        (
            {"llama.attention.head_count": 3},
            {},
            "blk.0.attn_q.weight is [32, 32]; num_attention_heads=3 cannot divide its rows into",
        ),
        (
            {"llama.attention.head_count_kv": [2, 2]},
            {},
            "blk.0.attn_k.weight is [16, 32]; num_key_value_heads=[2, 2] cannot divide its rows",
        ),
        (
            {"llama.attention.head_count": 0},
            {},
            "blk.0.attn_q.weight is [32, 32]; num_attention_heads=0 cannot divide its rows into",
        ),
    ],
)
def test_what_no_table_has_is_refused(
    write: Write, keys: Mapping[str, Any], tensors: Mapping[str, np.ndarray], message: str
) -> None:
    with open_checkpoint(write(KEYS | keys, converted(hub_weights()) | tensors)) as checkpoint:
        with pytest.raises(CheckpointError, match=f"^x.gguf: {re.escape(message)}"):
            _ = checkpoint.tensors
        assert checkpoint.metadata["general.architecture"] == "llama"


def test_an_architecture_that_is_not_there(write: Write) -> None:
    message = (
        r"x\.gguf: general\.architecture='bert': not implemented; taskpress\.models has .*llama"
    )
    with (
        open_checkpoint(write({}, {}, name="bert")) as checkpoint,
        pytest.raises(CheckpointError, match=message),
    ):
        _ = checkpoint.config


def test_offsets_of_norms_are_undone(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Gemma's converter stores 1 + weight."""
    declared = GgufArchitecture(
        name="tiny",
        config={"block_count": "num_hidden_layers"},
        tensors={"blk.{i}.attn_norm.weight": GgufTensor("layers.{i}.norm.weight", offset=-1.0)},
    )
    monkeypatch.setattr(_gguf_mapping, "architectures", lambda: ["llama", "tiny_text"])
    modules = {"llama": SimpleNamespace(), "tiny_text": SimpleNamespace(GGUF=declared)}
    monkeypatch.setattr(_gguf_mapping, "architecture", modules.__getitem__)
    stored = {"blk.12.attn_norm.weight": np.array([1.0, 1.5, -2.0], np.float32)}
    with open_checkpoint(write({"tiny.block_count": 13}, stored, name="tiny")) as checkpoint:
        assert checkpoint.config["model_type"] == "tiny_text"
        assert checkpoint.config["num_hidden_layers"] == 13
        assert checkpoint.read_rows("layers.12.norm.weight", 1, 3).tolist() == [0.5, -3.0]
