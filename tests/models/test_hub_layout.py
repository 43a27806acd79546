"""Folders of the Hub that differ from the module: GPT-2's."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from taskpress.models import CheckpointError, architecture
from taskpress.models._checkpoint import open_checkpoint

RNG = np.random.default_rng(0)
MATRIX = RNG.standard_normal((6, 9), dtype=np.float32)
TABLE = RNG.standard_normal((5, 6), dtype=np.float32)
BIAS = np.ones((1, 1, 4, 4), np.float32)


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_gpt2_is_read_as_the_module_has_it(prefix: str, tmp_path: Path) -> None:
    """Matrices turned round, whatever the prefix, and no buffers."""
    tensors = {"h.0.attn.c_attn.weight": MATRIX, "wte.weight": TABLE, "h.0.attn.bias": BIAS}
    save_file({prefix + k: v for k, v in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    name = "transformer.h.0.attn.c_attn.weight"
    with open_checkpoint(tmp_path) as checkpoint:
        assert {k: v.shape for k, v in checkpoint.tensors.items()} == {
            name: (9, 6),
            "transformer.wte.weight": (5, 6),
        }
        for start, stop in ((0, 9), (2, 5), (8, 9)):
            np.testing.assert_array_equal(
                checkpoint.read_rows(name, start, stop), MATRIX.T[start:stop]
            )
        np.testing.assert_array_equal(
            checkpoint.read_rows("transformer.wte.weight", 1, 3), TABLE[1:3]
        )
        assert checkpoint.where(name) == "model.safetensors"


def test_a_context_beyond_the_learned_positions_is_refused() -> None:
    import torch

    module = architecture("gpt2")
    config = module.Config(n_embd=8, n_head=2, n_layer=1, n_positions=16, vocab_size=9)
    with torch.device("meta"):
        model = module.Model(config)
        assert len(model.empty_cache(16)) == 1
        with pytest.raises(CheckpointError, match="n_positions=16: a context length of 17 needs"):
            model.empty_cache(17)
