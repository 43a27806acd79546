"""Re-authored architectures, one file each, and the checkpoints that they are read from."""

import dataclasses
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple


class CheckpointError(ValueError):
    """A checkpoint that cannot be read: `where: what is there; what was needed`."""


# Mixtures of experts of which people may think that a phone could run them.
_EXPERTS = ("granitemoe", "mixtral", "olmoe", "phimoe", "qwen2_moe", "qwen3_moe")

# Told here, so that it can be asked without importing torch.
ENCODERS = frozenset({"bert", "embeddinggemma"})
ENCODER_DECODERS = frozenset({"t5"})


def architectures() -> list[str]:
    """The model types that there are: the files here without a leading underscore."""
    modules = pkgutil.iter_modules(__path__)
    return sorted(m.name for m in modules if not m.ispkg and not m.name.startswith("_"))


def architecture(model_type: object) -> ModuleType:
    """The module of a model type, as config.json names it: it has `Config` and `Model`.

    It has `GGUF` where llama.cpp's files are read, and `HUB` where the Hub's differ from `Model`.
    Raises CheckpointError for one that there is no file for.
    """
    names = architectures()
    if isinstance(model_type, str) and model_type in _EXPERTS:
        raise CheckpointError(
            f"config.json: model_type={model_type!r}: a mixture of experts is not implemented; a "
            "phone would compute all of its experts for each token, see models/README.md"
        )
    if not isinstance(model_type, str) or model_type not in names:
        raise CheckpointError(
            f"config.json: model_type={model_type!r:.80}: not implemented; "
            f"taskpress.models has {', '.join(names)}"
        )
    return import_module(f"{__name__}.{model_type}")


def model_type_of(config: Mapping[str, Any]) -> object:
    """Which architecture a config.json is of: its model_type, but for what shares one.

    EmbeddingGemma has the model_type of Gemma 3's decoder, and a key more.
    """
    model_type = config.get("model_type")
    if model_type == "gemma3_text" and config.get("use_bidirectional_attention"):
        return "embeddinggemma"
    return model_type


class Family(NamedTuple):
    """An architecture, as `families` lists it.

    needed, read: the keys of config.json without and with a default; gguf: its
    `general.architecture` in GGUF files, None where those are not read.
    """

    model_type: str
    about: str
    needed: tuple[str, ...]
    read: tuple[str, ...]
    gguf: str | None

    def __str__(self) -> str:
        return (
            f"{self.model_type}: {self.about}\n"
            f"  config.json needs {', '.join(self.needed)}\n"
            f"  and may have {', '.join(self.read)}\n"
            f"  GGUF architecture: {self.gguf or 'not read'}"
        )


def families() -> list[Family]:
    """Every architecture and what it reads. Imports torch."""
    return [_family(model_type, architecture(model_type)) for model_type in architectures()]


def _family(model_type: str, module: ModuleType) -> Family:
    about = " ".join((module.__doc__ or "").partition("\n\n")[0].split())
    fields = dataclasses.fields(module.Config)
    needed = tuple(f.name for f in fields if f.default is dataclasses.MISSING)
    read = tuple(f.name for f in fields if f.default is not dataclasses.MISSING)
    gguf = getattr(module, "GGUF", None)
    return Family(model_type, about, needed, read, gguf and gguf.name)
