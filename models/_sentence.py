"""What sentence-transformers puts behind an encoder: its modules.json, and the files it names.

Only `sentence` imports torch: a checkpoint asks for the folders before it is needed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import CheckpointError
from ._config import read_config
from ._files import load_json, load_json_list, shown

if TYPE_CHECKING:
    from torch import nn

_FILE = "modules.json"
_PLAIN = re.compile(r"[\w-]+", re.ASCII)


class _Module(NamedTuple):
    """kind: the last word of its type; folder: of its files, and the name of its parameters."""

    kind: str
    folder: str


@dataclass(frozen=True, kw_only=True)
class _Pooling:
    """1_Pooling/config.json, as older versions write it (one key a mode) and newer ones."""

    embedding_dimension: int | None = None
    word_embedding_dimension: int | None = None
    include_prompt: Literal[True] = True
    pooling_mode: Literal["cls", "mean"] | None = None
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: Literal[False] = False
    pooling_mode_mean_sqrt_len_tokens: Literal[False] = False
    pooling_mode_weightedmean_tokens: Literal[False] = False
    pooling_mode_lasttoken: Literal[False] = False

    def mode(self) -> str:
        """cls or mean. Raises ValueError unless there is exactly one."""
        modes = {"cls": self.pooling_mode_cls_token, "mean": self.pooling_mode_mean_tokens}
        chosen = {mode for mode, on in modes.items() if on} | {self.pooling_mode} - {None}
        if len(chosen) != 1:
            raise ValueError("needs one pooling mode, mean or cls")
        return str(chosen.pop())


@dataclass(frozen=True, kw_only=True)
class _Dense:
    """config.json of a Dense module."""

    in_features: int
    out_features: int
    activation_function: str = "torch.nn.modules.activation.Tanh"
    bias: bool = True


def dense_folders(folder: Path) -> list[str]:
    """The folders that hold weights. Raises CheckpointError for modules that are not read."""
    return [module.folder for module in _modules(folder) if module.kind == "Dense"]


def sentence(folder: Path | None, hidden: int) -> "Mapping[str, nn.Module]":
    """What makes an embedding of hidden states [1, time, hidden], by the names of the parameters.

    {} where there is no modules.json. Raises CheckpointError for a module that is not implemented.
    """
    from .layers.pooling import FirstPooling, MeanPooling, Normalize

    found: dict[str, nn.Module] = {}
    width = hidden
    for kind, inner in _modules(folder) if folder is not None else []:
        assert folder is not None
        where = f"{inner}/config.json"
        if kind == "Pooling":
            settings = read_config(load_json(folder / where), _Pooling, where)
            _check_width(settings.embedding_dimension or width, width, where)
            _check_width(settings.word_embedding_dimension or width, width, where)
            try:
                found[inner] = {"cls": FirstPooling, "mean": MeanPooling}[settings.mode()]()
            except ValueError as error:
                raise CheckpointError(f"{where}: {error}") from error
        elif kind == "Dense":
            settings = read_config(load_json(folder / where), _Dense, where)
            _check_width(settings.in_features, width, where)
            found[inner], width = _dense(settings, where), settings.out_features
        else:
            found[inner] = Normalize()
    return found


def _modules(folder: Path) -> list[_Module]:
    """All behind the first, which is the encoder itself."""
    if not (folder / _FILE).exists():
        return []
    modules = [_module(entry) for entry in load_json_list(folder / _FILE)]
    kinds = [module.kind for module in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or not {*kinds[2:]} <= {"Dense", "Normalize"}:
        raise CheckpointError(
            f"{_FILE}: {', '.join(map(shown, kinds)) or 'nothing'}: not implemented; needs "
            "Transformer, Pooling, and then Dense and Normalize only"
        )
    for i, (kind, inner) in enumerate(modules):
        if (inner != "") if i == 0 else not _PLAIN.fullmatch(inner):
            raise CheckpointError(
                f"{_FILE}: {kind} is in {inner!r:.80}; needs the encoder beside {_FILE}, and each "
                "other module in a folder with a plain name"
            )
    if len({module.folder for module in modules}) != len(modules):
        raise CheckpointError(f"{_FILE}: two modules in one folder; each needs its own")
    return modules[1:]


def _module(entry: object) -> _Module:
    values = entry if isinstance(entry, dict) else {}
    kind, folder = values.get("type"), values.get("path")
    if not isinstance(kind, str) or not isinstance(folder, str):
        raise CheckpointError(f"{_FILE}: {entry!r:.80}: needs an object with type and path")
    # the package's inner folders have changed their names, the classes have not
    if not kind.startswith("sentence_transformers."):
        raise CheckpointError(f"{_FILE}: {kind!r:.80}: code of its own, which is never run")
    return _Module(kind.rpartition(".")[2], folder)


def _dense(settings: _Dense, where: str) -> "nn.Module":
    import torch
    from torch.nn import functional

    from .layers.feed_forward import Activation
    from .layers.linear import Linear
    from .layers.pooling import Dense

    activations: Mapping[str, Activation] = {
        "GELU": functional.gelu,
        "Identity": lambda x: x,
        "ReLU": functional.relu,
        "SiLU": functional.silu,
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
    }
    name = settings.activation_function.rpartition(".")[2]
    if not settings.activation_function.startswith("torch.nn.") or name not in activations:
        raise CheckpointError(
            f"{where}: activation_function={settings.activation_function!r:.80}: not implemented; "
            f"torch.nn's {', '.join(activations)} are"
        )
    linear = Linear(settings.in_features, settings.out_features, settings.bias)
    return Dense({"linear": linear}, activations[name])


def _check_width(found: int, needed: int, where: str) -> None:
    if found != needed:
        raise CheckpointError(f"{where}: for embeddings of {found}; what it is given has {needed}")
