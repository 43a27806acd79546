"""Attention over an external key/value cache."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .kv_cache import KeyValue, Window, write
from .rotary import Rotation, rotate

# Large enough that exp() of it is 0, and finite: a fully masked (padding) row of minus infinities
# would become NaN.
MASKED = -1e9


class Step(NamedTuple):
    """What the layers of one kind share in one call.

    window: where the chunk goes in the cache; mask: [1, 1 or heads, time, slots], added to the
    scores; rotation: of the positions, None for layers without.
    """

    window: Window
    mask: Tensor
    rotation: Rotation | None


def causal_mask(positions: Tensor, context_length: int, reach: int | None = None) -> Tensor:
    """0 where a position may look, MASKED elsewhere: [1, 1, time, context_length], float32.

    positions: [time]. A position sees all cache slots up to and including its own, or only the
    last `reach` of them (a sliding window).
    """
    slots = torch.arange(context_length, device=positions.device)
    visible = slots <= positions[:, None]
    if reach is not None and reach < context_length:
        visible = visible & (slots > positions[:, None] - reach)
    return torch.where(visible, 0.0, MASKED)[None, None]


def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float, softcap: float | None = None
) -> Tensor:
    """softmax(q k' * scale + mask) v, where consecutive query heads share a key/value head.

    q: [batch, time, heads, head_dim]; k, v: [batch, kv_heads, slots, head_dim]; mask: [1, 1 or
    heads, time, slots], added. softcap: bounds the scores to its size, smoothly. Returns
    [batch, time, heads * head_dim].
    The query heads of a group lie beside each other in time, so k and v are never repeated.
    Source: Vaswani et al. 2017, eq. 1; Ainslie et al. 2023 for the groups; Gemma 2's report, 2024,
    section 2, for the soft cap.
    """
    batch, time, heads, head_dim = q.shape
    kv_heads = k.shape[1]
    group = heads // kv_heads
    q = (q * scale).reshape(batch, time, kv_heads, group * head_dim).transpose(1, 2)
    q = q.reshape(batch, kv_heads, time * group, head_dim)
    scores = q @ k.transpose(-1, -2)
    if softcap is not None:
        scores = torch.tanh(scores * (1 / softcap)) * softcap
    weights = torch.softmax(scores + _grouped(mask, kv_heads, group), dim=-1)
    y = (weights @ v).reshape(batch, kv_heads, time, group * head_dim)
    return y.transpose(1, 2).reshape(batch, time, heads * head_dim)


def _grouped(mask: Tensor, kv_heads: int, group: int) -> Tensor:
    """A mask in the shape of grouped scores: [1, 1 or kv_heads, time * group, slots]."""
    _, heads, time, slots = mask.shape
    if group == 1:
        return mask
    if heads == 1:
        mask = mask[:, :, :, None].expand(1, 1, time, group, slots)
        return mask.reshape(1, 1, time * group, slots)
    mask = mask.reshape(1, kv_heads, group, time, slots).transpose(2, 3)
    return mask.reshape(1, kv_heads, time * group, slots)


Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Attention(nn.Module):
    """Grouped-query self-attention; multi-head where all head counts agree.

    q_proj: hidden to heads * head_dim; k_proj, v_proj: hidden to kv_heads * head_dim; o_proj:
    heads * head_dim to hidden. The head counts follow from their shapes.
    attend: what is done with q, k, v and the mask; with scale head_dim ** -0.5 where it is None.
    """

    part = "attention"

    def __init__(
        self,
        q_proj: nn.Module,
        k_proj: nn.Module,
        v_proj: nn.Module,
        o_proj: nn.Module,
        head_dim: int,
        attend: Attend | None = None,
    ) -> None:
        super().__init__()
        self.q_proj = q_proj
        self.k_proj = k_proj
        self.v_proj = v_proj
        self.o_proj = o_proj
        self.head_dim = head_dim
        self.attend = attend or scaled(head_dim**-0.5)

    def forward(self, x: Tensor, step: Step, cache: KeyValue) -> tuple[Tensor, KeyValue]:
        """x: [batch, time, hidden]. Returns x's shape, and the cache with the chunk in it."""
        batch, time, _ = x.shape
        heads = (batch, time, -1, self.head_dim)
        q, k = self.normed(self.q_proj(x).reshape(heads), self.k_proj(x).reshape(heads))
        v = self.v_proj(x).reshape(heads)
        if step.rotation is not None:
            q, k = rotate(q, step.rotation), rotate(k, step.rotation)
        cache = KeyValue(
            write(cache.key, k.transpose(1, 2), step.window),
            write(cache.value, v.transpose(1, 2), step.window),
        )
        return self.o_proj(self.attend(q, cache.key, cache.value, step.mask)), cache

    def normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q and k as they go into the rotation: [batch, time, heads, head_dim] each."""
        return q, k


class NormedAttention(Attention):
    """Attention whose queries and keys are normalized head by head: q_norm, k_norm.

    Source: Henry et al. 2020, "Query-Key Normalization for Transformers", as Qwen 3 has it.
    """

    def __init__(self, attention: Attention, q_norm: nn.Module, k_norm: nn.Module) -> None:
        super().__init__(
            attention.q_proj,
            attention.k_proj,
            attention.v_proj,
            attention.o_proj,
            attention.head_dim,
            attention.attend,
        )
        self.q_norm = q_norm
        self.k_norm = k_norm

    def normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """q and k, normalized over head_dim."""
        return self.q_norm(q), self.k_norm(k)


def scaled(scale: float, softcap: float | None = None) -> Attend:
    """`attend` with these settings."""

    def call(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return attend(q, k, v, mask, scale, softcap)

    return call
