"""How an architecture's folders on the Hub differ from its module, where they do."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from . import CheckpointError
from ._files import TensorInfo, shown


@dataclass(frozen=True)
class HubLayout:
    """What an architecture declares as its constant `HUB`.

    prefix: of all names, where it is left out by files that were saved without the head.
    dropped_prefix: of the names in files that were saved with a head, which the module lacks.
    endings: of names in old files -> what they are today.
    transposed: a pattern of the matrices that are stored [in, out]; they are read as [out, in],
        each as a whole. unused: a pattern of what is not a parameter of the module, by its names:
        buffers, and heads that it does not have.
    """

    prefix: str = ""
    dropped_prefix: str = ""
    endings: Mapping[str, str] = field(default_factory=dict)
    transposed: str | None = None
    unused: str | None = None

    def names(self, stored: Iterable[str]) -> dict[str, str]:
        """The names in the file by those in the module, without the unused ones.

        Raises CheckpointError for two that are the same in the module.
        """
        names: dict[str, str] = {}
        for name in stored:
            own = self._today(name.removeprefix(self.dropped_prefix))
            if own in names:
                raise CheckpointError(f"{shown(name)} and {shown(names[own])}: needs one of them")
            names[own] = name
        kept = {own: name for own, name in names.items() if not _matches(self.unused, own)}
        if any(own.startswith(self.prefix) for own in kept):
            return kept
        return {self.prefix + own: name for own, name in kept.items()}

    def _today(self, name: str) -> str:
        for old, new in self.endings.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name

    def is_transposed(self, name: str) -> bool:
        """Whether the file has that parameter of the module as [in, out]."""
        return _matches(self.transposed, name)

    def info(self, name: str, stored: TensorInfo) -> TensorInfo:
        """The tensor's shape and dtype as the module has it."""
        if not self.is_transposed(name):
            return stored
        return TensorInfo(stored.shape[::-1], stored.dtype)


def _matches(pattern: str | None, name: str) -> bool:
    return pattern is not None and re.fullmatch(pattern, name) is not None
