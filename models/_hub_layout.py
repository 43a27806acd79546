"""How an architecture's folders on the Hub differ from its module, where they do."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ._files import TensorInfo


@dataclass(frozen=True)
class HubLayout:
    """What an architecture declares as its constant `HUB`.

    prefix: of all names, where it is left out by files that were saved without the head.
    transposed: a pattern of the matrices that are stored [in, out]; they are read as [out, in],
        each as a whole. buffers: a pattern of what is not a parameter.
    """

    prefix: str = ""
    transposed: str | None = None
    buffers: str | None = None

    def names(self, stored: Iterable[str]) -> dict[str, str]:
        """The names in the file by those in the module, without the buffers."""
        kept = [name for name in stored if not _matches(self.buffers, name)]
        if any(name.startswith(self.prefix) for name in kept):
            return {name: name for name in kept}
        return {self.prefix + name: name for name in kept}

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
