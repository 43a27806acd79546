"""The measure: nothing where nothing differs, and a difference of a known size where it does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from taskpress.bundler import BundleError
from taskpress.bundler.build import Options, convert
from taskpress.bundler.quality import log_softmax, measure, reference_logits, sample_text
from taskpress.models import CheckpointError
from taskpress.models._checkpoint import open_checkpoint

TOKENS = np.random.default_rng(0).integers(3, 512, 60).tolist()


def change(folder: Path, **changes: Any) -> None:
    """Multiplies tensors of a checkpoint, by the ends of their names."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    for end, factor in changes.items():
        (name,) = [name for name in tensors if name.endswith(end.replace("__", "."))]
        tensors[name] = tensors[name] * np.float32(factor)
    save_file(tensors, path)


def test_a_float32_model_is_its_checkpoint(tiny: Path, tiny_tflite: Path) -> None:
    told: list[tuple[int, int]] = []
    with open_checkpoint(tiny) as checkpoint:
        quality = measure(checkpoint, tiny_tflite, TOKENS, lambda *done: told.append(done))
    assert quality.tokens == 48
    assert abs(quality.kl_divergence) < 1e-6
    assert quality.top1_agreement == 1
    assert quality.max_logit_difference < 1e-4
    assert quality.prefill_difference < 1e-4
    assert quality.perplexity == pytest.approx(quality.perplexity_of_checkpoint, rel=1e-4)
    assert told == [(i + 1, 48) for i in range(48)]


def test_a_short_text(tiny: Path, tiny_tflite: Path) -> None:
    with open_checkpoint(tiny) as checkpoint:
        for count in (1, 2, 5):
            quality = measure(checkpoint, tiny_tflite, TOKENS[:count])
            assert quality.tokens == count
            assert abs(quality.kl_divergence) < 1e-6


def test_a_planted_difference_is_seen(checkpoint: Path, tiny_tflite: Path) -> None:
    """The logits of the checkpoint are 1.5 times those of the model: the figures follow by hand."""
    change(checkpoint, model__norm__weight=1.5)
    with open_checkpoint(checkpoint) as opened:
        quality = measure(opened, tiny_tflite, TOKENS)
        logits = reference_logits(opened, TOKENS[:48]).astype(np.float64)
    p, q = log_softmax(logits), log_softmax(logits / 1.5)
    expected = (np.exp(p) * (p - q)).sum(-1).mean()
    assert expected > 0.01
    assert quality.kl_divergence == pytest.approx(expected, rel=1e-3)
    assert quality.top1_agreement == 1
    difference = np.abs(logits / 3).max()
    assert quality.max_logit_difference == pytest.approx(difference, rel=1e-3)
    for found, by_hand in ((quality.perplexity_of_checkpoint, p), (quality.perplexity, q)):
        rows = np.arange(47)
        assert found == pytest.approx(np.exp(-by_hand[rows, TOKENS[1:48]].mean()), rel=1e-3)


def test_other_weights_are_far_away(checkpoint: Path, tiny_tflite: Path) -> None:
    change(checkpoint, layers__1__mlp__down_proj__weight=-1)
    with open_checkpoint(checkpoint) as opened:
        quality = measure(opened, tiny_tflite, TOKENS)
    assert quality.kl_divergence > 0.1
    assert quality.top1_agreement < 0.9


def test_weights_of_noise_have_figures_that_json_holds(checkpoint: Path, tmp_path: Path) -> None:
    change(checkpoint, model__norm__weight=1e4)
    output = tmp_path / "model.tflite"
    report = convert(checkpoint, output, Options("none", (4,), 16), compare=True)
    assert report.quality is not None
    assert report.quality.perplexity > 1e300
    json.dumps(report.to_dict(), allow_nan=False)


def test_logits_that_are_not_finite_are_refused(checkpoint: Path, tiny_tflite: Path) -> None:
    change(checkpoint, model__embed_tokens__weight=100, model__norm__weight=1e38)
    with (
        open_checkpoint(checkpoint) as opened,
        pytest.raises(CheckpointError, match="checkpoint: its logits are not finite; "),
    ):
        measure(opened, tiny_tflite, TOKENS)


def test_a_model_whose_logits_are_not_finite_is_refused(
    checkpoint: Path, tiny: Path, tmp_path: Path
) -> None:
    change(checkpoint, model__embed_tokens__weight=100, model__norm__weight=1e38)
    output = tmp_path / "model.tflite"
    convert(checkpoint, output, Options("none", (4,), 16))
    with (
        open_checkpoint(tiny) as opened,
        pytest.raises(BundleError, match=r"^the model's logits after 1 tokens are not finite$"),
    ):
        measure(opened, output, TOKENS)


def test_log_softmax_of_large_logits() -> None:
    found = log_softmax(np.array([[1e4, 0, -1e4], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(found, [[0, -1e4, -2e4], [-np.log(3)] * 3])


def test_the_sample_is_prose_that_is_long_enough() -> None:
    assert len(sample_text().split()) > 250
