"""What every family's file must keep, found by folder."""

import json
from pathlib import Path
from typing import Any

import gguf.constants
import pytest
import torch
from contracts import CONFIGS
from taskpress.models import (
    ENCODER_DECODERS,
    ENCODERS,
    CheckpointError,
    architecture,
    architectures,
    families,
    model_type_of,
)
from taskpress.models._config import read_config
from taskpress.models._gguf_mapping import GgufArchitecture
from taskpress.models.layers.encoder import Encoder
from taskpress.models.layers.encoder_decoder import EncoderDecoder

MODELS = Path(__file__).parents[2] / "models"
FAMILIES = architectures()


def config_of(model_type: str) -> dict[str, Any]:
    path = next(config for config in CONFIGS if config.stem.partition("-")[0] == model_type)
    return json.loads(path.read_text())


def build(config: dict[str, Any]) -> Any:
    module = architecture(model_type_of(config))
    with torch.device("meta"):
        return module.Model(read_config(config, module.Config, "config.json"))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_an_unknown_key_is_refused(model_type: str) -> None:
    build(config_of(model_type))
    with pytest.raises(CheckpointError, match=f"rope_of_sand=1: .* taskpress.models.{model_type}"):
        build({**config_of(model_type), "rope_of_sand": 1})


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_needed_key_is_missed(model_type: str) -> None:
    (family,) = (family for family in families() if family.model_type == model_type)
    config = config_of(model_type)
    for key in family.needed:
        rest = {name: value for name, value in config.items() if name != key}
        if model_type_of(rest) != model_type:
            continue  # it is what tells it from another
        with pytest.raises(CheckpointError, match=f"no {key}; taskpress.models.{model_type} needs"):
            build(rest)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_key_with_a_default_may_be_left_out(model_type: str) -> None:
    """transformers' default is ours: but for sizes, which a real config.json always has."""
    if model_type == "openelm":
        pytest.skip("transformers has no OpenELM")
    from transformers import AutoConfig

    module = architecture(model_type)
    (family,) = (family for family in families() if family.model_type == model_type)
    config = config_of(model_type)
    least = {key: config[key] for key in ("model_type", *family.needed)}
    theirs = AutoConfig.for_model(**least)
    ours = read_config(least, module.Config, "config.json")
    for key in family.read:
        default = getattr(ours, key)
        # Of None, both make the same: hidden_size / heads, for example.
        if default is not None and not key.startswith("rope_") and hasattr(theirs, key):
            given = getattr(theirs, key)
            assert given in (default, None), key


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_family_is_one_short_file(model_type: str) -> None:
    assert len((MODELS / f"{model_type}.py").read_text().splitlines()) <= 200


@pytest.mark.parametrize(
    ("kind", "names"), [(Encoder, ENCODERS), (EncoderDecoder, ENCODER_DECODERS)]
)
def test_the_encoders_are_those_whose_model_is_one(kind: type, names: frozenset[str]) -> None:
    assert {name for name in FAMILIES if issubclass(architecture(name).Model, kind)} == names


@pytest.mark.parametrize("family", [f for f in families() if f.gguf], ids=lambda f: f.model_type)
def test_gguf_tables_have_llama_cpps_names(family: Any) -> None:
    """And lead to parameters of the model, and to keys of its Config."""
    table: GgufArchitecture = architecture(family.model_type).GGUF
    kinds = {name: kind for kind, name in gguf.constants.MODEL_ARCH_NAMES.items()}
    kind = kinds[table.name]
    names = {gguf.constants.TENSOR_NAMES[t] for t in gguf.constants.MODEL_TENSORS[kind]}
    used = {name.rpartition(".")[0].replace("{i}", "{bid}") for name in table.tensors}
    assert names & used, "none"
    parameters = {
        name.replace(".0.", ".{i}.", 1)
        for name, _ in build(config_of(family.model_type)).named_parameters(remove_duplicate=False)
    }
    parameters = {name for name in parameters if not any(p.isdigit() for p in name.split("."))}
    known = {e if isinstance(e, str) else e.name for e in table.tensors.values()}
    assert parameters <= known
    keys = {*family.needed, *family.read}
    assert {*table.config.values(), *table.constants, *table.present} <= keys | {"head_dim"}


@pytest.mark.parametrize("model_type", ["olmoe", "qwen3_moe"])
def test_a_mixture_of_experts_is_refused_with_the_reason(model_type: str) -> None:
    with pytest.raises(CheckpointError, match="a mixture of experts is not implemented"):
        architecture(model_type)


def test_the_guides_example_is_the_file() -> None:
    guide = (MODELS / "README.md").read_text()
    example = guide.split("```python\n")[1].split("```")[0]
    assert example == (MODELS / "mistral.py").read_text()
    assert len(example.splitlines()) <= 60
