"""Feed-forward blocks: what a transformer layer does to each position on its own.

Each takes and returns [batch, time, hidden], and is `intermediate` wide within.
"""

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from .block import Block
from .linear import Linear

Activation = Callable[[Tensor], Tensor]


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its approximation with tanh. Source: Hendrycks and Gimpel 2016, section 2."""
    return F.gelu(x, approximate="tanh")


class _FeedForward(Block):
    """activation: what is done to the intermediate values, element by element."""

    part = "feed_forward"

    def __init__(self, parts: Mapping[str, nn.Module], activation: Activation) -> None:
        super().__init__(parts)
        self.activation = activation


class FeedForward(_FeedForward):
    """down(activation(up(x))).

    Parts: up, hidden to intermediate; down, back. Source: Vaswani et al. 2017, eq. 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        up, down = self.children()
        return down(self.activation(up(x)))


class GatedFeedForward(_FeedForward):
    """down(activation(gate(x)) * up(x)); SwiGLU where the activation is SiLU.

    Parts: gate and up, hidden to intermediate; down, back.
    Source: Shazeer 2020, "GLU Variants Improve Transformer", eq. 6.
    """

    def forward(self, x: Tensor) -> Tensor:
        gate, up, down = self.children()
        return down(self.activation(gate(x)) * up(x))


class FusedGatedFeedForward(_FeedForward):
    """A gated feed-forward whose gate and up are one matrix, the gate's rows first.

    Parts: gate and up, hidden to twice intermediate; down, intermediate to hidden.
    """

    def forward(self, x: Tensor) -> Tensor:
        gate_and_up, down = self.children()
        gate, up = gate_and_up(x).chunk(2, dim=-1)
        return down(self.activation(gate) * up)


def gated(hidden: int, intermediate: int, bias: bool = False) -> dict[str, nn.Module]:
    """The parts of `GatedFeedForward` by their most common names."""
    return {
        "gate_proj": Linear(hidden, intermediate, bias),
        "up_proj": Linear(hidden, intermediate, bias),
        "down_proj": Linear(intermediate, hidden, bias),
    }
