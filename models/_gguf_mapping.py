"""From llama.cpp's names to the Hub's: what an architecture file declares about its GGUF files.

llama.cpp's converter renames the tensors and config keys, interleaves the rows of some
projections and adds constants to some norms. Each architecture states that as one constant
`GGUF`, and this module undoes it: `translate` gives config.json's words, and says for each of the
Hub's tensors which rows of the file it is made of.
Source: the key and tensor names of `gguf.constants`; llama.cpp's convert_hf_to_gguf.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import CheckpointError, architecture, architectures
from ._files import TensorInfo, shown
from ._gguf import GgufFile

# Llama 3.1's frequencies: llama.cpp keeps no parameters of them, but what each is divided by.
_ROPE_FACTORS = "rope_freqs.weight"
_MAX_ROPE_FACTORS = 4096
_ROPE_SCALING = "rope.scaling."
_LINEAR_KEYS = {"type", "factor", "finetuned", "original_context_length"}  # the last two: unused
_TOKEN_IDS = {
    "tokenizer.ggml.bos_token_id": "bos_token_id",
    "tokenizer.ggml.padding_token_id": "pad_token_id",
}
_END_IDS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")


@dataclass(frozen=True)
class GgufTensor:
    """Where a GGUF tensor goes, and what llama.cpp's converter did to its values.

    name: the Hub's name, with {i} for the layer.
    heads: the config.json key that counts the heads whose rows are interleaved. Row r of a head
        of D rows is then row 2 * (r % (D / 2)) + r // (D / 2) in the GGUF file.
    offset: what to add to each GGUF value; -1 where the converter stored 1 + weight.
    """

    name: str
    heads: str | None = None
    offset: float = 0.0


@dataclass(frozen=True)
class GgufArchitecture:
    """How llama.cpp writes one architecture.

    name: `general.architecture`, which also begins each of its keys.
    config: GGUF key without `name.` -> config.json key. Two keys may go to one, if they agree.
    tensors: GGUF tensor -> the Hub's, with {i} for the layer; a plain name is copied as it is.
    constants: config.json values that llama.cpp does not store, since the architecture has one.
    present: config.json flag -> GGUF tensor; the flag is whether the file has that tensor.
    harmless: GGUF key without `name.` -> the values with which it changes no forward pass.
    """

    name: str
    config: Mapping[str, str]
    tensors: Mapping[str, str | GgufTensor]
    constants: Mapping[str, Any] = field(default_factory=dict)
    present: Mapping[str, str] = field(default_factory=dict)
    harmless: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class HubTensor(TensorInfo):
    """One of the Hub's tensors, as the GGUF file has it.

    source: its name there; heads: how many heads' rows are interleaved, 0 for none; offset: what
    to add to each value.
    """

    source: str
    heads: int
    offset: float

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The file's rows of the Hub's rows [start, stop), in the Hub's order."""
        rows = np.arange(start, stop)
        if not self.heads:
            return rows
        head_dim = self.shape[0] // self.heads
        head, row = np.divmod(rows, head_dim)
        return head * head_dim + 2 * (row % (head_dim // 2)) + row // (head_dim // 2)


@dataclass(frozen=True)
class Translation:
    """A GGUF file in the Hub's words: config.json, and the tensors by the Hub's names."""

    config: dict[str, Any]
    tensors: dict[str, HubTensor]


def generic(name: str) -> str:
    """A tensor's name with {i} for the number of its layer."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "{i}", name, count=1)


def token_ids(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What generation_config.json would say: bos_token_id, eos_token_id, pad_token_id.

    eos_token_id is a list where the file has an end of turn besides the end of text.
    """
    ids = {word: metadata[key] for key, word in _TOKEN_IDS.items() if key in metadata}
    ends = [metadata[key] for key in _END_IDS if key in metadata]
    if ends:
        ids["eos_token_id"] = ends if ends[1:] and ends[0] != ends[1] else ends[0]
    return ids


def translate(file: GgufFile) -> Translation:
    """Finds the architecture of a GGUF file, and translates by its table.

    Raises CheckpointError for an architecture, key or tensor that no table has.
    """
    kind = file.metadata.get("general.type", "model")
    if kind != "model":
        raise CheckpointError(f"{file.name}: general.type={kind!r:.80}; needs 'model'")
    model_type, names = _find(file.metadata.get("general.architecture"), file.name)
    needed_by = f"taskpress.models.{model_type}"
    config = {"model_type": model_type, **names.constants, **_config(file, names, needed_by)}
    return Translation(config, _tensors(file, names, config, needed_by))


def _find(name: object, where: str) -> tuple[str, GgufArchitecture]:
    """The model type whose file declares that GGUF architecture."""
    # the file of the same name first: the others need not be imported then
    for model_type in sorted(architectures(), key=lambda model_type: model_type != name):
        names = getattr(architecture(model_type), "GGUF", None)
        if isinstance(names, GgufArchitecture) and names.name == name:
            return model_type, names
    raise CheckpointError(
        f"{where}: general.architecture={name!r:.80}: not implemented; "
        f"taskpress.models has {', '.join(architectures())}"
    )


def _config(file: GgufFile, names: GgufArchitecture, needed_by: str) -> dict[str, Any]:
    """The file's keys, and what llama.cpp says by the tensors that there are."""
    config: dict[str, Any] = token_ids(file.metadata)
    prefix = f"{names.name}."
    for key, value in file.metadata.items():
        # llama.cpp reads the architecture's own keys only, besides the tokenizer's
        suffix = key.removeprefix(prefix)
        if suffix == key or suffix.startswith(_ROPE_SCALING):
            continue
        if suffix in names.harmless and value in names.harmless[suffix]:
            continue
        if suffix not in names.config:
            raise CheckpointError(
                f"{file.name}: {shown(key)}={value!r:.80}: not implemented by {needed_by}"
            )
        word = names.config[suffix]
        value = _decimal(value)
        if config.setdefault(word, value) != value:
            raise CheckpointError(
                f"{file.name}: {shown(key)}={value!r:.80}; another key gives {word} as "
                f"{config[word]!r:.80}"
            )
    config.update({flag: name in file.tensors for flag, name in names.present.items()})
    config["tie_word_embeddings"] = "output.weight" not in file.tensors
    if (embedding := file.tensors.get("token_embd.weight")) is not None:
        config.setdefault("vocab_size", embedding.shape[0])
    if (heads := config.get("num_attention_heads")) is not None:
        config.setdefault("num_key_value_heads", heads)
    config["rope_scaling"] = _rope_scaling(file, prefix + _ROPE_SCALING)
    return config


def _decimal(value: Any) -> Any:
    """config.json's decimal, 1e-05, for the float32 that llama.cpp has stored: 9.999999747e-06."""
    if not isinstance(value, float):
        return value
    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if float(single) == value else value


def _rope_scaling(file: GgufFile, prefix: str) -> dict[str, Any] | None:
    """config.json's rope_scaling; the `rope_type` "factors" divides each frequency by its own."""
    scaling = {
        key.removeprefix(prefix): value
        for key, value in file.metadata.items()
        if key.startswith(prefix)
    }
    # llama.cpp's own defaults: the type is linear, and its factor 1
    kind, factor = scaling.get("type", "linear"), _decimal(scaling.get("factor", 1.0))
    if kind not in ("none", "linear") or scaling.keys() - _LINEAR_KEYS:
        raise CheckpointError(
            f"{file.name}: {prefix}*={scaling!r:.160}: not implemented; none and linear are"
        )
    linear = kind == "linear" and factor not in (0.0, 1.0)
    if _ROPE_FACTORS not in file.tensors:
        return {"rope_type": "linear", "factor": factor} if linear else None
    if linear:
        raise CheckpointError(f"{file.name}: {prefix}factor={factor} and {_ROPE_FACTORS}; one only")
    return {"rope_type": "factors", "factors": _rope_factors(file)}


def _rope_factors(file: GgufFile) -> list[float]:
    """What llama.cpp divides each rotary frequency by."""
    shape = file.tensors[_ROPE_FACTORS].shape
    if len(shape) != 1 or not 1 <= shape[0] <= _MAX_ROPE_FACTORS:
        raise CheckpointError(
            f"{file.name}: {_ROPE_FACTORS} is {list(shape)}; needs [head_dim / 2]"
        )
    factors = file.read_rows(_ROPE_FACTORS, np.arange(shape[0]))
    if not np.all(np.isfinite(factors) & (factors > 0)):
        raise CheckpointError(f"{file.name}: {_ROPE_FACTORS} has values that are not above 0")
    return factors.tolist()


def _tensors(
    file: GgufFile, names: GgufArchitecture, config: Mapping[str, Any], needed_by: str
) -> dict[str, HubTensor]:
    """The file's tensors by the Hub's names."""
    tensors: dict[str, HubTensor] = {}
    for source, info in file.tensors.items():
        if source == _ROPE_FACTORS:
            continue
        entry = names.tensors.get(generic(source))
        if entry is None:
            raise CheckpointError(
                f"{file.name}: the tensor {shown(source)}: not implemented by {needed_by}"
            )
        if isinstance(entry, str):
            entry = GgufTensor(entry)
        layer = re.search(r"(?<=\.)\d+(?=\.)", source)
        name = entry.name.replace("{i}", layer[0] if layer else "")
        heads = _heads(entry.heads, info, config, f"{file.name}: {shown(source)}")
        tensors[name] = HubTensor(info.shape, info.dtype, source, heads, entry.offset)
    return tensors


def _heads(key: str | None, info: TensorInfo, config: Mapping[str, Any], where: str) -> int:
    """How many heads' rows are interleaved; they must divide the tensor."""
    if key is None:
        return 0
    heads = config.get(key)
    if type(heads) is not int or heads < 1 or info.shape[0] % (2 * heads):
        raise CheckpointError(
            f"{where} is {list(info.shape)}; {key}={heads!r:.80} cannot divide its rows into pairs"
        )
    return heads
