"""Feed-forward blocks: what a transformer layer does to each position on its own."""

from collections.abc import Callable

from torch import Tensor, nn


class GatedFeedForward(nn.Module):
    """down_proj(activation(gate_proj(x)) * up_proj(x)); SwiGLU where the activation is SiLU.

    x: [batch, time, hidden]; gate_proj and up_proj: hidden to intermediate; down_proj back.
    Source: Shazeer 2020, "GLU Variants Improve Transformer", eq. 6.
    """

    part = "feed_forward"

    def __init__(
        self,
        gate_proj: nn.Module,
        up_proj: nn.Module,
        down_proj: nn.Module,
        activation: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        self.gate_proj = gate_proj
        self.up_proj = up_proj
        self.down_proj = down_proj
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Returns [batch, time, hidden]."""
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))
