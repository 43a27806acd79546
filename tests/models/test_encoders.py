"""Checkpoints of encoders: BERT's names, and what sentence-transformers puts beside the model."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoder_contracts import ENCODER_CONFIGS, MEAN, random_encoder
from safetensors.torch import load_file, save_file
from taskpress.models import CheckpointError, model_type_of
from taskpress.models._checkpoint import open_checkpoint
from taskpress.models._model import load_weights, model_without_weights, streamed_outputs

BERT = next(config for config in ENCODER_CONFIGS if config.stem == "bert")
TOKENS = torch.tensor([[1, 7, 5, 2]])
Change = Callable[[Path], object]


@contextmanager
def encoder(kind: str) -> Iterator[Path]:
    """The folder of a BERT, which may be changed."""
    with random_encoder(BERT, kind) as (_, checkpoint):
        assert checkpoint.folder is not None
        yield checkpoint.folder


def output(folder: Path) -> np.ndarray:
    with open_checkpoint(folder) as checkpoint:
        model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
    with torch.inference_mode():
        (found,) = model(TOKENS, torch.ones_like(TOKENS)).values()
    return found.numpy()


def refused(folder: Path, message: str) -> None:
    with (
        pytest.raises(CheckpointError, match=message) as caught,
        open_checkpoint(folder) as checkpoint,
    ):
        model_without_weights(checkpoint)
    assert "\n" not in str(caught.value)


def rename(folder: Path, change: Callable[[str], str], **more: torch.Tensor) -> None:
    path = folder / "model.safetensors"
    save_file({change(name): x for name, x in load_file(path).items()} | more, path)


def test_names_of_other_classes_and_of_old_files() -> None:
    """BertForMaskedLM's have a prefix and a head; google-bert/bert-base-uncased's, old norms."""
    with encoder("mean") as folder:
        expected = output(folder)
        head = {
            "cls.predictions.bias": torch.zeros(131),
            "cls.predictions.transform.dense.weight": torch.zeros(64, 64),
            "cls.seq_relationship.weight": torch.zeros(2, 64),
        }
        rename(folder, lambda name: f"bert.{name}", **head)
        np.testing.assert_array_equal(output(folder), expected)
        rename(folder, lambda n: n.replace("LayerNorm.weight", "LayerNorm.gamma"))
        rename(folder, lambda n: n.replace("LayerNorm.bias", "LayerNorm.beta"))
        np.testing.assert_array_equal(output(folder), expected)
        rename(folder, str, **{"classifier.weight": torch.zeros(2, 64)})
        refused(folder, "classifier.weight: left over; taskpress.models.bert has no use for it")


def test_the_same_tensor_by_two_names_is_refused() -> None:
    with encoder("states") as folder:
        name = "embeddings.LayerNorm.weight"
        rename(folder, str, **{f"bert.{name}": torch.ones(64)})
        refused(folder, f"{name} and .*{name}: needs one of them")


def test_a_missing_pooler_is_no_loss_and_a_missing_layer_is() -> None:
    with encoder("states") as folder:
        expected = output(folder)
        path = folder / "model.safetensors"
        tensors = load_file(path)
        kept = {name: x for name, x in tensors.items() if not name.startswith("pooler")}
        assert len(kept) == len(tensors) - 2
        save_file(kept, path)
        np.testing.assert_array_equal(output(folder), expected)
        kept.pop("encoder.layer.2.output.dense.bias")
        save_file(kept, path)
        refused(folder, r"no encoder\.layer\.2\.output\.dense\.bias; .*bert needs it")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("is_decoder", True, "is_decoder=True: needs one of False"),
        ("position_embedding_type", "relative_key", "needs one of 'absolute'"),
        ("num_attention_heads", 5, "hidden_size=64: needs a multiple of num_attention_heads=5"),
        ("hidden_act", "mish", "hidden_act='mish': not implemented; gelu"),
    ],
)
def test_configs_that_are_refused(key: str, value: Any, message: str) -> None:
    with encoder("states") as folder:
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**values, key: value}))
        refused(folder, message)


def test_which_gemma_is_an_encoder() -> None:
    gemma = {"model_type": "gemma3_text"}
    assert model_type_of({**gemma, "use_bidirectional_attention": True}) == "embeddinggemma"
    assert model_type_of({**gemma, "use_bidirectional_attention": False}) == "gemma3_text"
    assert model_type_of(gemma) == "gemma3_text"
    assert model_type_of({"use_bidirectional_attention": True}) is None


def test_streamed_outputs_are_those_of_the_loaded_model() -> None:
    with encoder("first") as folder:
        expected = output(folder)
        with open_checkpoint(folder) as checkpoint:
            (found,) = streamed_outputs(checkpoint, TOKENS.tolist())
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def modules(change: Callable[[list[dict[str, Any]]], object]) -> Change:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "modules.json").read_text())
        change(values)
        (folder / "modules.json").write_text(json.dumps(values))

    return spoil


def settings(name: str, **values: Any) -> Change:
    def spoil(folder: Path) -> None:
        path = folder / name / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def dense_as_pickle(folder: Path) -> None:
    path = folder / "2_Dense" / "model.safetensors"
    path.rename(path.with_name("pytorch_model.bin"))


LSTM = "sentence_transformers.models.LSTM"
CASES: dict[str, tuple[Change, str]] = {
    "unknown": (modules(lambda m: m[2].update(type=LSTM)), "^modules.json: .*LSTM.*: not implem"),
    "own code": (modules(lambda m: m[2].update(type="custom.Dense")), "'custom.Dense': code of"),
    "no pooling": (modules(lambda m: m.pop(1)), "Transformer, Dense, .*: not implemented; needs"),
    "nothing": (modules(lambda m: m.clear()), "^modules.json: nothing: not implemented"),
    "a number": (modules(lambda m: m.append(7)), "^modules.json: 7: needs an object with type"),
    "outside": (modules(lambda m: m[2].update(path="../x")), "Dense is in '../x'; needs the"),
    "elsewhere": (modules(lambda m: m[0].update(path="0_T")), "Transformer is in '0_T'; needs the"),
    "twice": (modules(lambda m: m[3].update(path="2_Dense")), "two modules in one folder"),
    "no list": (lambda f: (f / "modules.json").write_text("{}"), "^modules.json: dict; a list is"),
    "max": (settings("1_Pooling", pooling_mode="max"), "pooling_mode='max': needs one of 'cls'"),
    "max, too": (settings("1_Pooling", pooling_mode_max_tokens=True), "max_tokens=True: needs one"),
    "both": (settings("1_Pooling", pooling_mode_mean_tokens=True), "needs one pooling mode"),
    "none": (settings("1_Pooling", pooling_mode=None), "needs one pooling mode, mean or cls"),
    "width": (settings("1_Pooling", embedding_dimension=65), "for embeddings of 65; .* has 64"),
    "key": (settings("1_Pooling", rope_of_sand=1), "1_Pooling/config.json: rope_of_sand=1: not im"),
    "prompt": (settings("1_Pooling", include_prompt=False), "include_prompt=False: needs one of T"),
    "dense width": (settings("3_Dense", in_features=41), "for embeddings of 41; .* has 40"),
    "dense shape": (settings("2_Dense", out_features=41), "for embeddings of 40; .* has 41"),
    "activation": (
        settings("2_Dense", activation_function="torch.nn.modules.activation.Softplus"),
        "activation_function='torch.nn.*Softplus': not implemented; torch.nn's GELU, Identity",
    ),
    "no bias": (settings("2_Dense", bias=False), "2_Dense.linear.bias: left over"),
    "pickle": (dense_as_pickle, "pytorch_model.bin: a pickle, which can run code"),
    "no pooling file": (lambda f: (f / "1_Pooling/config.json").unlink(), "config.json: cannot be"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_sentence_modules_that_are_refused(case: str) -> None:
    spoil, message = CASES[case]
    with encoder("first") as folder:
        spoil(folder)
        refused(folder, message)


def test_newer_and_older_files_say_the_same() -> None:
    """Newer versions of sentence-transformers have moved their classes, and name the mode."""
    with encoder("mean") as folder:
        expected = output(folder)
        for entry in ({"pooling_mode": "mean"}, MEAN["1_Pooling"][1]):
            (folder / "1_Pooling" / "config.json").write_text(json.dumps(entry))
            np.testing.assert_array_equal(output(folder), expected)
        modules(lambda m: m[1].update(type="sentence_transformers.base.modules.Pooling"))(folder)
        np.testing.assert_array_equal(output(folder), expected)


def test_dense_layers_are_used() -> None:
    """With other weights the embedding is another."""
    with encoder("first") as folder:
        expected = output(folder)
        for name in ("2_Dense", "3_Dense"):
            path = folder / name / "model.safetensors"
            tensors = load_file(path)
            save_file({key: -x if "weight" in key else x for key, x in tensors.items()}, path)
            assert np.abs(output(folder) - expected).max() > 0.01
            save_file(tensors, path)
