"""A block: a module whose parts have the names that a checkpoint gives them."""

from collections.abc import Mapping

from torch import nn


class Block(nn.Module):
    """Parts by the checkpoint's names, in the order that the block's docstring gives.

    As with torch.nn.Sequential's OrderedDict, a name is the prefix of parameters and means nothing
    else: one block serves every checkpoint, whatever that calls the same thing.
    """

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
