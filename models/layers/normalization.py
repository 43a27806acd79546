"""Normalization of the last dimension."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last dimension.

    x: [..., size]; weight: [size]. Computed in float32, as checkpoints are trained.
    Source: Zhang and Sennrich 2019, eq. 4.
    """

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Returns x's shape."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class LayerNorm(nn.Module):
    """(x - mean(x)) / deviation(x) * weight + bias over the last dimension.

    x: [..., size]; weight, bias: [size].
    Source: Ba et al. 2016, eq. 4.
    """

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.bias = nn.Parameter(torch.empty(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Returns x's shape."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)
