"""Attention over an external key/value cache."""

import torch
from torch import Tensor, nn

from .kv_cache import KeyValue, Window, write
from .rotary import Rotation, rotate

# Large enough that exp() of it is 0, small enough that a sum of two is finite in float16 math's
# float32 accumulators. Minus infinity would turn a fully masked (padding) row into NaN.
MASKED = -1e9


def causal_mask(positions: Tensor, context_length: int) -> Tensor:
    """0 where a position may look, MASKED elsewhere: [1, 1, time, context_length], float32.

    positions: [time]. A position sees all cache slots up to and including its own.
    """
    slots = torch.arange(context_length, device=positions.device)
    return torch.where(slots <= positions[:, None], 0.0, MASKED)[None, None]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """softmax(q k' * scale + mask) v, where consecutive query heads share a key/value head.

    q: [batch, time, heads, head_dim]; k, v: [batch, kv_heads, slots, head_dim]; mask: [1, 1, time,
    slots], added. Returns [batch, time, heads * head_dim].
    The query heads of a group lie beside each other in time, so k and v are never repeated.
    Source: Vaswani et al. 2017, eq. 1; Ainslie et al. 2023 for the groups.
    """
    batch, time, heads, head_dim = q.shape
    kv_heads, slots = k.shape[1], k.shape[2]
    group = heads // kv_heads
    q = (q * scale).reshape(batch, time, kv_heads, group * head_dim).transpose(1, 2)
    q = q.reshape(batch, kv_heads, time * group, head_dim)
    if group > 1:
        mask = mask[:, :, :, None].expand(1, 1, time, group, slots)
        mask = mask.reshape(1, 1, time * group, slots)
    weights = torch.softmax(q @ k.transpose(-1, -2) + mask, dim=-1)
    y = (weights @ v).reshape(batch, kv_heads, time, group * head_dim)
    return y.transpose(1, 2).reshape(batch, time, heads * head_dim)


class Attention(nn.Module):
    """Grouped-query self-attention with rotary positions; multi-head if all head counts agree.

    q_proj: hidden to heads * head_dim; k_proj, v_proj: hidden to kv_heads * head_dim; o_proj:
    heads * head_dim to hidden. The head counts follow from their shapes.
    """

    part = "attention"

    def __init__(
        self,
        q_proj: nn.Module,
        k_proj: nn.Module,
        v_proj: nn.Module,
        o_proj: nn.Module,
        head_dim: int,
    ) -> None:
        super().__init__()
        self.q_proj = q_proj
        self.k_proj = k_proj
        self.v_proj = v_proj
        self.o_proj = o_proj
        self.head_dim = head_dim

    def forward(
        self, x: Tensor, rotation: Rotation, cache: KeyValue, window: Window, mask: Tensor
    ) -> tuple[Tensor, KeyValue]:
        """x: [batch, time, hidden]; mask: [1, 1, time, slots]. Returns x's shape and the cache."""
        batch, time, _ = x.shape
        heads = (batch, time, -1, self.head_dim)
        q = rotate(self.q_proj(x).reshape(heads), rotation)
        k = rotate(self.k_proj(x).reshape(heads), rotation).transpose(1, 2)
        v = self.v_proj(x).reshape(heads).transpose(1, 2)
        cache = KeyValue(write(cache.key, k, window), write(cache.value, v, window))
        y = attend(q, cache.key, cache.value, mask, self.head_dim**-0.5)
        return self.o_proj(y), cache
