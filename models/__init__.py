"""Re-authored architectures, one file each, and the checkpoints that they are read from."""

import pkgutil
from importlib import import_module
from types import ModuleType


class CheckpointError(ValueError):
    """A checkpoint that cannot be read: `where: what is there; what was needed`."""


def architectures() -> list[str]:
    """The model types that there are: the files here without a leading underscore."""
    modules = pkgutil.iter_modules(__path__)
    return sorted(m.name for m in modules if not m.ispkg and not m.name.startswith("_"))


def architecture(model_type: object) -> ModuleType:
    """The module of a model type, as config.json names it: it has `Config`, `Model` and `GGUF`.

    Raises CheckpointError for one that there is no file for.
    """
    names = architectures()
    if not isinstance(model_type, str) or model_type not in names:
        raise CheckpointError(
            f"config.json: model_type={model_type!r:.80}: not implemented; "
            f"taskpress.models has {', '.join(names)}"
        )
    return import_module(f"{__name__}.{model_type}")
