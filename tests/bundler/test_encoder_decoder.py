"""The command line with an encoder-decoder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from taskpress.models import architecture
from taskpress.models._config import read_config

Taskpress = Callable[..., Any]
Refused = Callable[..., str]
# The feed-forward is large enough to be streamed, and so to be smoothed.
CONFIG = {
    "d_ff": 640,
    "d_kv": 32,
    "d_model": 128,
    "decoder_start_token_id": 0,
    "feed_forward_proj": "gated-gelu",
    "model_type": "t5",
    "num_heads": 4,
    "num_layers": 2,
    "tie_word_embeddings": False,
    "vocab_size": 512,
}
SIZES = ("--encode-length", "40", "--context-length", "24")


@pytest.fixture
def t5(tiny: Path, tmp_path: Path) -> Path:
    """A T5 with random weights and outliers in its feed-forward, and a tokenizer."""
    module = architecture("t5")
    with torch.device("meta"):
        model = module.Model(read_config(CONFIG, module.Config, "test"))
    random = np.random.default_rng(0)
    tensors = {
        name: (random.standard_normal(p.shape) / p.shape[-1] ** 0.5 + (p.dim() == 1)).astype("f4")
        for name, p in model.named_parameters()
    }
    for name in tensors:
        if name.endswith("layer_norm.weight"):
            tensors[name][3] = 5
        if name.endswith(".q.weight"):
            # Scores are not scaled: trained weights are smaller.
            tensors[name] *= CONFIG["d_kv"] ** -0.5
    folder = tmp_path / "t5"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    shutil.copy(tiny / "tokenizer.json", folder)
    return folder


def converted(taskpress: Taskpress, folder: Path, *options: str) -> tuple[Any, Any]:
    """What `inspect` says of the model, and the report."""
    output, report = folder.parent / "model.tflite", folder.parent / "report.json"
    ran = taskpress("convert", folder, "-o", output, "--force", "--report", report, *options)
    assert (ran.code, ran.err) == (0, "")
    model = json.loads(taskpress("inspect", output, "--json").out)["model"]
    return model, json.loads(report.read_text())


@pytest.mark.parametrize("mask", ["graph", "input"])
def test_convert(mask: str, taskpress: Taskpress, t5: Path) -> None:
    model, report = converted(taskpress, t5, *SIZES, "--mask", mask)
    assert report["signatures"] == ["encode", "decode"]
    shapes = {
        (signature["name"], key): {
            t["name"]: (t["dtype"], tuple(t["shape"])) for t in signature[key]
        }
        for signature in model["signatures"]
        for key in ("inputs", "outputs")
    }
    ids = ("int32", (1, 40))
    memory = {f"cross_{kind}_{i}": ("float32", (1, 4, 40, 32)) for kind in "kv" for i in (0, 1)}
    caches = {f"kv_cache_{kind}_{i}": ("float32", (1, 4, 24, 32)) for kind in "kv" for i in (0, 1)}
    assert shapes["encode", "inputs"] == {"tokens": ids, "mask": ids}
    assert shapes["encode", "outputs"] == memory
    given = {"mask": ("float32", (1, 1, 1, 24))} if mask == "input" else {}
    one = {"tokens": ("int32", (1, 1)), "input_pos": ("int32", (1,)), "encoder_mask": ids}
    assert shapes["decode", "inputs"] == {**one, **given, **memory, **caches}
    assert shapes["decode", "outputs"] == {**caches, "logits": ("float32", (1, 1, 512))}
    assert report["quality_text"] == "bundler/sample.txt"
    assert report["quality"]["texts"] > 15
    assert report["quality"]["tokens"] > 200
    assert 0 < report["quality"]["kl_divergence"] < 0.02
    assert report["quality"]["top1_agreement"] > 0.8


def test_float32_is_exact(taskpress: Taskpress, t5: Path) -> None:
    _, report = converted(taskpress, t5, *SIZES, "--quantize", "none")
    assert report["quality"]["max_logit_difference"] < 1e-4
    assert report["quality"]["top1_agreement"] == 1


def test_smoothing(taskpress: Taskpress, t5: Path) -> None:
    found = [converted(taskpress, t5, *SIZES, *more)[1] for more in ((), ("--no-smoothing",))]
    smoothed, plain = (report["quality"]["kl_divergence"] for report in found)
    assert smoothed < plain


def test_prefill_where_it_is_asked_for(taskpress: Taskpress, t5: Path) -> None:
    options = ("--prefill-lengths", "4,16", "--prefill-logits")
    model, report = converted(taskpress, t5, *SIZES, *options)
    assert report["signatures"] == ["encode", "prefill_4", "prefill_16", "decode"]
    (prefill,) = (s for s in model["signatures"] if s["name"] == "prefill_4")
    assert [1, 4, 512] in [t["shape"] for t in prefill["outputs"] if t["name"] == "logits"]


def test_convert_needs_no_tokenizer(taskpress: Taskpress, t5: Path) -> None:
    (t5 / "tokenizer.json").unlink()
    _, report = converted(taskpress, t5, *SIZES)
    assert report["quality_text"] == "random ids, as there is no tokenizer"
    assert report["quality"]["kl_divergence"] < 0.1


def test_build_is_refused(refused: Refused, t5: Path) -> None:
    says = "t5 is an encoder-decoder, and a bundle holds an LLM; use taskpress convert"
    refused("build", t5, "-o", t5.parent / "out.task", says=says)


def test_bundle_is_refused(
    taskpress: Taskpress, refused: Refused, tokenizer_file: Path, t5: Path
) -> None:
    converted(taskpress, t5, *SIZES, "--prefill-lengths", "4")
    model, output = t5.parent / "model.tflite", t5.parent / "out.task"
    says = "has the signatures decode, encode, prefill_4; an LLM has decode and prefill_N, and no"
    refused("bundle", model, tokenizer_file, "-o", output, says=says)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prefill-logits",), "is an encoder-decoder, .*; --prefill-logits needs --prefill-len"),
        (("--encode-length", "4097"), "encode length 4097: needed 1 to 4096"),
        (
            ("--prefill-lengths", "25"),
            r"prefill lengths \[25\] with context length 24: needed each",
        ),
    ],
)
def test_options_that_are_refused(
    options: tuple[str, ...], message: str, refused: Refused, t5: Path
) -> None:
    refused("convert", t5, "-o", t5.parent / "out", *SIZES, *options, says=message)


def test_a_model_that_is_not_finite_is_refused(refused: Refused, t5: Path) -> None:
    path = t5 / "model.safetensors"
    tensors = load_file(path)
    tensors["decoder.final_layer_norm.weight"][0] = np.nan
    save_file(tensors, path)
    message = "decoder.final_layer_norm.weight: .*not finite"
    refused("convert", t5, "-o", t5.parent / "out", "--no-smoothing", says=message)


def test_logits_that_are_not_finite_are_told(taskpress: Taskpress, t5: Path) -> None:
    path = t5 / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"] *= np.float32(1e38)
    save_file(tensors, path)
    output, report = t5.parent / "out", t5.parent / "report.json"
    ran = taskpress("convert", t5, "-o", output, "--no-smoothing", "--report", report, *SIZES)
    assert ran.code == 1
    assert "its logits are not finite; the checkpoint is damaged" in ran.err
