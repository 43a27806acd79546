"""A checkpoint's weights in a module: all at once, or piece by piece as it runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from taskpress.models import CheckpointError, _model, architecture
from taskpress.models._checkpoint import Checkpoint, open_checkpoint
from taskpress.models._config import read_config
from taskpress.models._model import load_weights, model_without_weights, stream_weights
from torch import Tensor

# The embedding and the feed-forward are large enough to be streamed, the attention is kept.
CONFIG = {
    "hidden_size": 128,
    "intermediate_size": 640,
    "max_position_embeddings": 64,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": 700,
}
TOKENS = torch.tensor([[3, 1, 4, 1, 5, 699, 0]])


def write(folder: Path, **changes: Any) -> Path:
    """A checkpoint of random weights for CONFIG with changes."""
    config = {**CONFIG, **changes}
    module = architecture("llama")
    with torch.device("meta"):
        model = module.Model(read_config(config, module.Config, "test"))
    random = np.random.default_rng(0)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        name: (random.standard_normal(p.shape) / p.shape[-1] ** 0.5).astype(np.float32)
        for name, p in model.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(params=["tied", "untied", "biases"])
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Checkpoint]:
    biases = request.param == "biases"
    path = write(
        tmp_path / "checkpoint",
        tie_word_embeddings=request.param == "tied",
        attention_bias=biases,
        mlp_bias=biases,
    )
    with open_checkpoint(path) as checkpoint:
        yield checkpoint


def logits(model: Any) -> Tensor:
    with torch.inference_mode():
        positions = torch.arange(TOKENS.shape[1])
        return model(TOKENS, positions, model.empty_cache(TOKENS.shape[1]))[0]


def loaded(checkpoint: Checkpoint) -> Tensor:
    return logits(load_weights(model_without_weights(checkpoint), checkpoint.read_rows))


def test_every_parameter_is_loaded(checkpoint: Checkpoint) -> None:
    model = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
    parameters = dict(model.named_parameters())
    assert parameters.keys() == checkpoint.tensors.keys()
    for name, parameter in parameters.items():
        values = checkpoint.read_rows(name, 0, parameter.shape[0])
        np.testing.assert_array_equal(parameter.numpy(), values)
        assert not parameter.requires_grad
    assert not model.training


@pytest.mark.parametrize("piece", [5000, 128 * 64 + 1, 1 << 21])
def test_streamed_weights_give_the_same_logits(
    piece: int, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_model, "_PIECE", piece)
    read: dict[str, list[tuple[int, int]]] = {}

    def read_rows(name: str, start: int, stop: int) -> np.ndarray:
        read.setdefault(name, []).append((start, stop))
        return checkpoint.read_rows(name, start, stop)

    model = stream_weights(model_without_weights(checkpoint), read_rows)
    kept = {n: p for n, p in model.named_parameters() if p.device.type != "meta"}
    assert all(parameter.numel() <= 1 << 16 for parameter in kept.values())
    read.clear()
    found = logits(model)
    torch.testing.assert_close(found, loaded(checkpoint), rtol=1e-5, atol=1e-5)
    assert read
    assert not read.keys() & kept.keys()
    columns = {name: info.shape[-1] for name, info in checkpoint.tensors.items()}
    longest = {name: max(stop - start for start, stop in rows) for name, rows in read.items()}
    assert all(rows * columns[name] <= max(piece, columns[name]) for name, rows in longest.items())


def test_a_streamed_model_can_run_again(checkpoint: Checkpoint) -> None:
    model = stream_weights(model_without_weights(checkpoint), checkpoint.read_rows)
    torch.testing.assert_close(logits(model), logits(model), rtol=0, atol=0)


def test_what_is_observed(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against hooks on the same linear layers of the model with its weights loaded."""
    monkeypatch.setattr(_model, "_PIECE", 5000)
    observed: dict[str, tuple[Tensor, Tensor]] = {}

    def observe(name: str, x: Tensor, weights: Tensor) -> None:
        assert name not in observed
        observed[name] = (x.clone(), weights.clone())

    logits(stream_weights(model_without_weights(checkpoint), checkpoint.read_rows, observe))

    model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    inputs: dict[str, Tensor] = {}
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(
                lambda layer, x, _: inputs.__setitem__(names[id(layer.weight)], x[0])
            )
    logits(model)
    large = {name for name, x in model.named_parameters() if x.numel() > 1 << 16 and x.dim() == 2}
    assert observed.keys() == large & inputs.keys()
    assert len(observed) == 7
    weights = dict(model.named_parameters())
    for name, (x, largest) in observed.items():
        torch.testing.assert_close(x, inputs[name], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(largest, weights[name].abs().amax(0), rtol=0, atol=0)


def test_the_model_is_on_the_meta_device(checkpoint: Checkpoint) -> None:
    model = model_without_weights(checkpoint)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_a_tied_table_is_one_parameter(tmp_path: Path) -> None:
    with open_checkpoint(write(tmp_path / "tied", tie_word_embeddings=True)) as checkpoint:
        for fill in (load_weights, stream_weights):
            model: Any = fill(model_without_weights(checkpoint), checkpoint.read_rows)
            assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "lama"}, r"^config\.json: model_type='lama': not implemented; .* llama"),
        ({"model_type": ["llama"]}, r"^config\.json: model_type=\['llama'\]: not implemented"),
        ({"hidden_act": "nope"}, "hidden_act='nope'"),
        ({"logit_scale": 2.0}, r"logit_scale=2\.0: not implemented by taskpress\.models\.llama"),
        ({"num_hidden_layers": 3}, r"no model\.layers\.2\..* more; .*llama needs them"),
        ({"num_hidden_layers": 1}, r"model\.layers\.1\..* left over"),
        (
            {"vocab_size": 701},
            r"model\.safetensors: .*weight is \[700, 128\]; .* needs \[701, 128\]",
        ),
        ({"num_attention_heads": 3}, "num_attention_heads=3"),
        ({"num_attention_heads": 256, "num_key_value_heads": 256}, "num_attention_heads=256"),
        ({"head_dim": 33}, "head_dim=33"),
        ({"rope_scaling": {"rope_type": "nope", "factor": 2.0}}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "factors", "factors": 3.0}}, "must be lists"),
        ({"rope_scaling": {"rope_type": "linear", "factor": [2.0]}}, "all else a number"),
        ({"hidden_size": (1 << 31) - 8, "vocab_size": (1 << 31) - 1}, "needs an integer from 1 to"),
        ({"head_dim": (1 << 31) - 2}, "head_dim=2147483646: needs an integer from 1 to 16384"),
        (
            {"hidden_size": 1 << 20, "head_dim": 1 << 14, "vocab_size": (1 << 31) - 1},
            "1048576",
        ),
    ],
)
def test_configs_that_do_not_fit_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with (
        open_checkpoint(folder) as checkpoint,
        pytest.raises(CheckpointError, match=message) as error,
    ):
        model_without_weights(checkpoint)
    assert "\n" not in str(error.value)
