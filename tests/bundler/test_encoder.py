"""The command line with an encoder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from taskpress.bundler.embedding_quality import cosine
from taskpress.models import architecture
from taskpress.models._config import read_config
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

Taskpress = Callable[..., Any]
Refused = Callable[..., str]
# The feed-forward is large enough to be streamed, and so to be smoothed.
CONFIG = {
    "hidden_act": "gelu",
    "hidden_size": 128,
    "intermediate_size": 640,
    "max_position_embeddings": 100,
    "model_type": "bert",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 60,
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TYPES = ["Transformer", "Pooling", "Normalize"]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A BERT with random weights, outliers in its feed-forward, and a tokenizer of letters."""
    module = architecture("bert")
    with torch.device("meta"):
        model = module.Model(read_config(CONFIG, module.Config, "test"))
    random = np.random.default_rng(0)
    tensors = {
        name: (random.standard_normal(p.shape) / p.shape[-1] ** 0.5).astype("f4")
        for name, p in model.named_parameters()
    }
    for name in tensors:
        if name.endswith("LayerNorm.weight"):
            tensors[name] = np.ones(128, "f4")
            tensors[name][3] = 5
    folder = tmp_path / "encoder"
    (folder / "1_Pooling").mkdir(parents=True)
    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "config.json", CONFIG)
    paths = ["", "1_Pooling", "2_Normalize"]
    entries = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in zip(paths, TYPES, strict=True)
    ]
    write_json(folder / "modules.json", entries)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def tokenizer() -> Tokenizer:
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    found = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # as all-MiniLM-L6-v2's, which must not make every text as long
    found.enable_padding(length=90)
    found.enable_truncation(90)
    return found


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def converted(taskpress: Taskpress, folder: Path, *options: str) -> dict[str, Any]:
    """What `inspect` says of the model."""
    output = folder.parent / "model.tflite"
    ran = taskpress("convert", folder, "-o", output, "--force", *options)
    assert (ran.code, ran.err) == (0, "")
    return json.loads(taskpress("inspect", output, "--json").out)["model"]


def test_convert(taskpress: Taskpress, encoder: Path) -> None:
    report = encoder.parent / "report.json"
    model = converted(taskpress, encoder, "--encode-length", "40", "--report", str(report))
    (signature,) = model["signatures"]
    assert signature["name"] == "encode"
    shapes = {t["name"]: (t["dtype"], t["shape"]) for t in signature["inputs"]}
    assert shapes == {"tokens": ("int32", [1, 40]), "mask": ("int32", [1, 40])}
    (output,) = signature["outputs"]
    assert (output["name"], output["dtype"], output["shape"]) == ("embedding", "float32", [1, 128])
    values = json.loads(report.read_text())
    assert values["signatures"] == ["encode"]
    assert values["quality_text"] == "bundler/sample.txt"
    assert values["quality"]["texts"] > 15
    assert 0.99 < values["quality"]["least_cosine"] <= values["quality"]["mean_cosine"] < 1.00001


def test_smoothing(taskpress: Taskpress, encoder: Path) -> None:
    """Two products a layer for the feed-forward; the report says what they are good for."""
    report, least, products = encoder.parent / "report.json", [], []
    for options in ((), ("--no-smoothing",)):
        model = converted(taskpress, encoder, "--report", str(report), *options)
        products.append(model["operators"]["MUL"])
        least.append(json.loads(report.read_text())["quality"]["least_cosine"])
    assert products[0] == products[1] + 2 * CONFIG["num_hidden_layers"]
    assert least[0] > least[1]


def test_float32_is_exact(taskpress: Taskpress, encoder: Path) -> None:
    report = encoder.parent / "report.json"
    converted(taskpress, encoder, "--quantize", "none", "--report", str(report))
    assert json.loads(report.read_text())["quality"]["least_cosine"] > 0.999999


@pytest.mark.parametrize(("positions", "length"), [(100, 100), (300, 256)])
def test_the_default_length_is_what_fits(
    positions: int, length: int, taskpress: Taskpress, encoder: Path
) -> None:
    module = architecture("bert")
    config = {**CONFIG, "max_position_embeddings": positions, "hidden_size": 8}
    with torch.device("meta"):
        model = module.Model(read_config(config, module.Config, "test"))
    tensors = {name: np.ones(p.shape, "f4") for name, p in model.named_parameters()}
    save_file(tensors, encoder / "model.safetensors")
    write_json(encoder / "config.json", config)
    model = converted(taskpress, encoder, "--quantize", "none")
    assert model["signatures"][0]["inputs"][0]["shape"] == [1, length]


def test_hidden_states_without_sentence_modules(taskpress: Taskpress, encoder: Path) -> None:
    (encoder / "modules.json").unlink()
    report = encoder.parent / "report.json"
    model = converted(taskpress, encoder, "--encode-length", "40", "--report", str(report))
    (output,) = model["signatures"][0]["outputs"]
    assert (output["name"], output["shape"]) == ("hidden_states", [1, 40, 128])
    assert 0.99 < json.loads(report.read_text())["quality"]["least_cosine"] < 1.00001


def test_convert_needs_no_tokenizer(taskpress: Taskpress, encoder: Path) -> None:
    (encoder / "tokenizer.json").unlink()
    report = encoder.parent / "report.json"
    converted(taskpress, encoder, "--report", str(report))
    values = json.loads(report.read_text())
    assert values["quality_text"] == "random ids, as there is no tokenizer"
    assert values["quality"]["least_cosine"] > 0.98


def test_a_damaged_tokenizer_is_told(taskpress: Taskpress, encoder: Path) -> None:
    (encoder / "tokenizer.json").write_text("[]")
    ran = taskpress("convert", encoder, "-o", encoder.parent / "model.tflite")
    assert (ran.code, ran.err) == (0, "")
    assert (
        "note: converted without a tokenizer, and so without smoothing: tokenizer.json" in ran.out
    )


def test_build_is_refused(refused: Refused, encoder: Path) -> None:
    output = encoder.parent / "out.task"
    refused("build", encoder, "-o", output, says="bert is an encoder, and a bundle holds an LLM;")


def test_bundle_is_refused(taskpress: Taskpress, refused: Refused, encoder: Path) -> None:
    converted(taskpress, encoder)
    model, output = encoder.parent / "model.tflite", encoder.parent / "out.task"
    says = "has the signatures encode; an LLM has decode and prefill_N"
    refused("bundle", model, encoder / "tokenizer.json", "-o", output, says=says)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--mask", "input"), "is an encoder, which has no --mask"),
        (
            ("--prefill-lengths", "8", "--context-length", "64", "--prefill-logits"),
            "is an encoder, which has no --prefill-lengths, --context-length, --prefill-logits",
        ),
        (("--encode-length", "101"), "max_position_embeddings=100; an encode length of 101 is"),
    ],
)
def test_options_that_are_refused(
    options: tuple[str, ...], message: str, refused: Refused, encoder: Path
) -> None:
    refused("convert", encoder, "-o", encoder.parent / "out", *options, says=message)


def test_a_decoder_has_no_encode_length(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    options = ("--encode-length", "8", "--context-length", "16")
    message = "is a decoder, which has no --encode-length"
    refused("convert", tiny, "-o", tmp_path / "out", *options, says=message)


def test_another_models_tokenizer_is_refused(refused: Refused, encoder: Path) -> None:
    found = tokenizer()
    found.add_tokens(["the"])
    for _ in range(5):
        found.add_tokens([f"moving{_}", f"wheels{_}"])
    found.add_tokens(["bicycle"])
    found.save(str(encoder / "tokenizer.json"))
    message = "vocab_size=60, and the tokenizer gives the ids .*; it is another model's"
    refused("convert", encoder, "-o", encoder.parent / "out", says=message)


def test_cosine() -> None:
    x = np.array([3.0, 4.0])
    assert cosine(x, 2 * x) == pytest.approx(1)
    assert cosine(x, np.array([-4.0, 3.0])) == pytest.approx(0)
    assert cosine(x, 0 * x) == 0
    assert np.isnan(cosine(x, x * np.nan))
