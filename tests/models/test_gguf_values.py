"""Each GGUF table, by values: a random model written as llama.cpp writes it gives its logits.

The file is made here, by `gguf`'s own table of names and by what llama.cpp's converter does to
values (`STORED`); where transformers reads the architecture too, it has to agree on what was
written. Source: llama.cpp's convert_hf_to_gguf.py.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from contracts import random_weights
from taskpress.models import families
from taskpress.models._checkpoint import open_checkpoint
from taskpress.models._model import load_weights, model_without_weights
from transformers import AutoConfig, AutoModelForCausalLM

CONFIGS = Path(__file__).parents[1] / "configs"
TABLES = [family for family in families() if family.gguf]
# In the place of what the tiny configurations say, and a GGUF file cannot, or transformers does
# not read of it.
CHANGES: dict[str, dict[str, Any]] = {
    "gemma2": {
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        "query_pre_attn_scalar": 256,
    },
    "gemma3_text": {"query_pre_attn_scalar": 256, "sliding_window_pattern": 6},
    "gpt2": {"n_positions": 1024, "n_ctx": 1024},
    "qwen2": {"use_sliding_window": False, "sliding_window": None},
    "qwen3": {"head_dim": 128},
    "smollm3": {"no_rope_layers": None},
    "starcoder2": {"rope_theta": 10000.0, "sliding_window": None},
}
# transformers 5 has these models, but reads no GGUF file of theirs (`GGUF_CONFIG_MAPPING`): only
# `STORED`, the inverse of what the table does, is compared.
NOT_IN_TRANSFORMERS = ("gemma", "granite", "olmo2", "phi", "smollm3")
# config.json's words for GGUF's keys, where they are plain copies.
KEYS = {
    "max_position_embeddings": "context_length",
    "n_positions": "context_length",
    "hidden_size": "embedding_length",
    "n_embd": "embedding_length",
    "num_hidden_layers": "block_count",
    "n_layer": "block_count",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "n_head": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
    "layer_norm_eps": "attention.layer_norm_epsilon",
    "norm_epsilon": "attention.layer_norm_epsilon",
    "layer_norm_epsilon": "attention.layer_norm_epsilon",
    "rope_theta": "rope.freq_base",
    "vocab_size": "vocab_size",
    "attention_multiplier": "attention.scale",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "sliding_window": "attention.sliding_window",
}
# What is a whole number in config.json and a float in GGUF.
FLOATS = {"rope_theta", "attn_logit_softcapping", "final_logit_softcapping"}


def model_type_of(family: Any) -> str:
    return family.model_type


def in_pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """A projection whose heads' halves lie beside each other, row by row."""
    size = weight.shape[0] // heads
    rows = [half * size // 2 + i for i in range(size // 2) for half in (0, 1)]
    return weight[[head * size + row for head in range(heads) for row in rows]]


def permuted(name: str, weight: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    part = name.split(".")[-2]
    return in_pairs(weight, config[heads[part]]) if part in heads else weight


def norms_of_one_more(name: str, weight: np.ndarray, _: dict[str, Any]) -> np.ndarray:
    return weight + 1 if name.endswith("norm.weight") else weight


def transposed(name: str, weight: np.ndarray, _: dict[str, Any]) -> np.ndarray:
    stored_turned = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return weight.T if name.endswith(stored_turned) else weight


STORED: dict[str, Callable[[str, np.ndarray, dict[str, Any]], np.ndarray]] = {
    "gemma": norms_of_one_more,
    "gemma2": norms_of_one_more,
    "gemma3_text": norms_of_one_more,
    "gpt2": transposed,
    "granite": permuted,
    "llama": permuted,
    "smollm3": permuted,
}


def keys_of(config: dict[str, Any]) -> dict[str, Any]:
    """The file's own keys."""
    keys = {
        KEYS[word]: float(value) if word in FLOATS else value
        for word, value in config.items()
        if word in KEYS and value is not None
    }
    heads = config.get("num_attention_heads")
    if heads and config["model_type"] not in ("qwen2", "olmo2"):
        head_dim = config.get("head_dim") or config["hidden_size"] // heads
        turned = config.get("partial_rotary_factor", 1.0)
        keys["rope.dimension_count"] = int(head_dim * turned)
        if "head_dim" in config:
            keys |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if config["model_type"] == "gpt2":
        del keys["vocab_size"]
        keys["feed_forward_length"] = 4 * config["n_embd"]
    if config["model_type"] == "stablelm":
        keys["use_parallel_residual"] = config.get("use_parallel_residual", False)
    if config["model_type"] == "gemma3_text":
        keys["rope.freq_base_swa"] = config["rope_local_base_freq"]
    return keys


def write(path: Path, architecture: str, config: dict[str, Any], weights: dict[str, Any]) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    # transformers counts them where there is no vocab_size, or reads none
    writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(config["vocab_size"])])
    for key, value in keys_of(config).items():
        add: Any = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
        add[type(value)](f"{architecture}.{key}", value)
    (arch,) = (a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config.get("num_hidden_layers") or config["n_layer"])
    change = STORED.get(config["model_type"], lambda _, weight, __: weight)
    for name, weight in weights.items():
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert ours is not None, name
        # numpy's transpose is a view, which the writer would store as it was
        values = np.ascontiguousarray(change(ours, weight.numpy(), config))
        writer.add_tensor(ours, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def original(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, np.ndarray]]:
    """The file, and the logits of the model that was written to it."""
    family = request.param
    config = json.loads((CONFIGS / f"{family.model_type}.json").read_text())
    config = {**config, **CHANGES.get(family.model_type, {})}
    config.pop("rope_scaling", None)
    settings = AutoConfig.for_model(**config)
    model = random_weights(
        AutoModelForCausalLM.from_config(settings, attn_implementation="eager").eval()
    )
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    if settings.tie_word_embeddings:
        del weights["lm_head.weight"]
    path = tmp_path / "tiny.gguf"
    write(path, family.gguf, config, weights)
    with torch.inference_mode():
        yield path, model(tokens(config["vocab_size"])).logits[0].numpy()


def tokens(vocabulary: int) -> torch.Tensor:
    return torch.randint(vocabulary, (1, 60), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("original", TABLES, indirect=True, ids=model_type_of)
def test_our_logits_are_the_original_s(original: tuple[Path, np.ndarray]) -> None:
    path, expected = original
    with open_checkpoint(path) as checkpoint, torch.inference_mode():
        model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        ids = tokens(checkpoint.config["vocab_size"])
        logits, _ = model(ids, torch.arange(60), model.empty_cache(60))
    np.testing.assert_allclose(logits[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    "original",
    [family for family in TABLES if family.model_type not in NOT_IN_TRANSFORMERS],
    indirect=True,
    ids=model_type_of,
)
def test_transformers_reads_the_same_of_it(original: tuple[Path, np.ndarray]) -> None:
    path, expected = original
    model: Any = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.inference_mode():
        logits = model.eval()(tokens(expected.shape[1])).logits[0].numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize(
    "original",
    [family for family in TABLES if family.model_type in NOT_IN_TRANSFORMERS],
    indirect=True,
    ids=model_type_of,
)
def test_transformers_does_not_read_the_others(original: tuple[Path, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="is not supported yet"):
        AutoModelForCausalLM.from_pretrained(original[0].parent, gguf_file=original[0].name)
