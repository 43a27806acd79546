"""Llama against transformers: every branch that config.json can take."""

from typing import Any

import numpy as np
import pytest
import torch
from taskpress.models import CheckpointError
from taskpress.models._config import read_config
from taskpress.models._decoder import rope_of
from taskpress.models._model import load_weights
from taskpress.models.llama import Config, Model
from transformers import LlamaConfig, LlamaForCausalLM

TINY = {
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
VARIANTS = {
    "plain": {},
    "multi-head": {"num_key_value_heads": 4},
    "one key head": {"num_key_value_heads": 1},
    "tied": {"tie_word_embeddings": True},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "head_dim": {"head_dim": 16},
    "llama3 rope": {"rope_parameters": LLAMA3},
    "linear rope": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    "dynamic rope": {
        "max_position_embeddings": 32,
        "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
    },
    "yarn rope": {
        "head_dim": 32,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 4.0,
            "rope_theta": 1e4,
            "original_max_position_embeddings": 32,
        },
    },
    "longrope": {
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 1e4,
            "short_factor": [1.0, 1.1, 1.2, 1.3],
            "long_factor": [1.0, 1.5, 2.5, 4.0],
            "original_max_position_embeddings": 32,
        },
    },
}


def both(variant: dict[str, Any]) -> tuple[Any, Any]:
    """transformers' model with random weights, and ours with the same."""
    torch.manual_seed(0)
    config = LlamaConfig(**{**TINY, **variant})
    theirs = LlamaForCausalLM(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    state = theirs.state_dict()
    with torch.device("meta"):
        ours = Model(read_config(config.to_diff_dict(), Config, "tiny"))
    return theirs, load_weights(ours, lambda name, a, b: state[name][a:b].numpy())


@pytest.mark.parametrize("name", VARIANTS)
def test_eager_equals_transformers(name: str) -> None:
    theirs, ours = both(VARIANTS[name])
    tokens = torch.randint(99, (1, 100), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(tokens).logits.numpy()
        logits, _ = ours(tokens, torch.arange(100), ours.empty_cache(100))
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 7, 32, 40])
def test_chunks_give_what_one_pass_gives(chunk: int) -> None:
    """Also where the last chunk, padded to its length, reaches past the end of the cache."""
    _, ours = both({})
    tokens = torch.randint(99, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, _ = ours(tokens, torch.arange(40), ours.empty_cache(40))
        cache, rows = ours.empty_cache(40), []
        for start in range(0, 40, chunk):
            count = min(chunk, 40 - start)
            padded = torch.zeros(1, chunk, dtype=torch.int64)
            padded[:, :count] = tokens[:, start : start + count]
            positions = torch.zeros(chunk, dtype=torch.int64)
            positions[:count] = torch.arange(start, start + count)
            logits, cache = ours(padded, positions, cache)
            rows.append(logits[:, :count])
    np.testing.assert_allclose(torch.cat(rows, 1).numpy(), expected.numpy(), atol=1e-5)


def test_every_start_that_fits_keeps_history() -> None:
    """Writes a chunk at each position of a full cache; only its own slots may change."""
    from taskpress.models.layers.kv_cache import window, write

    time, slots = 5, 12
    held = torch.arange(slots, dtype=torch.float32).reshape(1, 1, slots, 1)
    chunk = 100 + torch.arange(time, dtype=torch.float32).reshape(1, 1, time, 1)
    for start in range(slots):
        # Only the first position counts; runtimes pad with what they like.
        positions = torch.tensor([start] + [0] * (time - 1))
        count = min(time, slots - start)
        expected = held.clone()
        expected[:, :, start : start + count] = chunk[:, :, :count]
        got = write(held, chunk, window(positions, slots))
        torch.testing.assert_close(got, expected, msg=f"start {start}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "mish"}, "hidden_act='mish'"),
        ({"num_key_value_heads": 3}, "num_key_value_heads=3"),
        ({"rope_scaling": {"rope_type": "axial", "factor": 2.0}}, "rope_scaling=.*axial"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "llama3 with factor, high_freq"),
        ({"rope_scaling": {**LLAMA3, "high_freq_factor": 1.0}}, "must be less than"),
        ({"rope_scaling": {"rope_type": "factors", "factors": [1.0]}}, "1 factors; .* = 4 needed"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor=0.5"),
    ],
)
def test_what_is_not_implemented_is_refused(change: dict[str, Any], message: str) -> None:
    if "rope_scaling" in change:
        change["rope_scaling"].pop("rope_theta", None)
    with pytest.raises(CheckpointError, match=message), torch.device("meta"):
        Model(read_config({**TINY, **change}, Config, "taskpress.models.llama"))


def test_ggufs_rope_factors_are_llama3s() -> None:
    """llama.cpp stores Llama 3's scaling as a divisor for each frequency."""

    def frequencies(scaling: dict[str, Any] | None) -> torch.Tensor:
        config = read_config({**TINY, "rope_scaling": scaling}, Config, "tiny")
        return rope_of(config, 8)(128).frequencies

    plain = frequencies(None)
    scaled = frequencies({key: value for key, value in LLAMA3.items() if key != "rope_theta"})
    factors = {"rope_type": "factors", "factors": (plain / scaled).tolist()}
    torch.testing.assert_close(frequencies(factors), scaled)
    assert not torch.equal(plain, scaled)
