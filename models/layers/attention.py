"""Attention over an external key/value cache, or over a text that is there as a whole."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .block import Block
from .kv_cache import KeyValue, Window, written
from .linear import Linear
from .rotary import Rotation, rotate

# Large enough that exp() of it is 0, and finite: a fully masked (padding) row of minus infinities
# would become NaN.
MASKED = -1e9


class Step(NamedTuple):
    """What the layers of one kind share in one call.

    windows: where the chunk goes in the cache, None where there is none: an encoder's, whose text
    is one chunk. mask: [1, 1 or heads, time, slots], added to the scores; rotation: of the
    positions, None for layers without.
    """

    windows: tuple[Window, ...] | None
    mask: Tensor
    rotation: Rotation | None


def causal_mask(positions: Tensor, context_length: int, reach: int | None = None) -> Tensor:
    """0 where a position may look, MASKED elsewhere: [1, 1, time, context_length], float32.

    positions: [time]. A position sees all cache slots up to and including its own, or only the
    last `reach` of them (a sliding window).
    """
    slots = torch.arange(context_length, device=positions.device)
    return held_mask(positions, slots, reach if reach and reach < context_length else None)


def held_mask(positions: Tensor, held: Tensor, reach: int | None) -> Tensor:
    """`causal_mask` where the slots hold any positions: held, [slots]. [1, 1, time, slots]."""
    visible = held <= positions[:, None]
    if reach is not None:
        visible = visible & (held > positions[:, None] - reach)
    return torch.where(visible, 0.0, MASKED)[None, None]


def bidirectional_mask(present: Tensor, reach: int | None = None) -> Tensor:
    """0 where a position may look, about MASKED elsewhere: [1, 1, time, time], float32.

    present: [1, time], float32, 1 for a token and 0 for padding, which nobody sees. A position sees
    all tokens, or only those less than `reach` before or behind it (a sliding window).
    """
    time = present.shape[1]
    places = torch.arange(time, device="cpu")
    distance = (places[:, None] - places).abs()
    hidden = torch.zeros(time, time, device="cpu")
    if reach is not None:
        hidden = torch.where(distance < reach, 0.0, MASKED)
    return (1 - present)[:, None, None] * MASKED + hidden


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
    q = q if scale == 1 else q * scale
    q = q.reshape(batch, time, kv_heads, group * head_dim).transpose(1, 2)
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
Projected = tuple[Tensor, Tensor, Tensor]


class Heads(NamedTuple):
    """How many query heads share how many key/value heads, and the size of each.

    Multi-head attention where the counts agree, multi-query where there is one key/value head.
    """

    query: int
    key_value: int
    dim: int


class AttentionBlock(Block):
    """What self- and cross-attention have: the size of a head, and what is done with q, k and v.

    attend: takes q, k, v and the mask; with scale head_dim ** -0.5 where it is None.
    """

    part = "attention"

    def __init__(
        self, parts: Mapping[str, nn.Module], head_dim: int, attend: Attend | None = None
    ) -> None:
        super().__init__(parts)
        self.head_dim = head_dim
        self.attend = attend or scaled(head_dim**-0.5)


class Attention(AttentionBlock):
    """Self-attention over the cache, or over the text itself where there is none.

    Parts: q, hidden to heads * head_dim; k and v, hidden to kv_heads * head_dim; o, heads *
    head_dim to hidden. The head counts follow from their shapes.
    """

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        """x: [batch, time, hidden]. Returns x's shape, and the cache with the chunk in it."""
        *parts, output = self.children()
        y, written = self.mix(x, step, cache, *parts)
        return output(y), written

    def mix(
        self, x: Tensor, step: Step, cache: KeyValue | None, *parts: nn.Module
    ) -> tuple[Tensor, KeyValue]:
        """All but the last part: [batch, time, heads * head_dim], and the cache."""
        q, k, v = self.project(x, *parts)
        if step.rotation is not None:
            q, k = rotate(q, step.rotation), rotate(k, step.rotation)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        if step.windows is not None:
            assert cache is not None
            k, v = written(cache.key, k, step.windows), written(cache.value, v, step.windows)
        return self.attend(q, k, v, step.mask), KeyValue(k, v)

    def project(self, x: Tensor, *parts: nn.Module) -> Projected:
        """q, k and v by all parts but the last, as they go into the rotation.

        [batch, time, heads, head_dim] each.
        """
        q, k, v = parts
        return self.in_heads(q(x)), self.in_heads(k(x)), self.in_heads(v(x))

    def in_heads(self, x: Tensor) -> Tensor:
        """[batch, time, heads * head_dim] as [batch, time, heads, head_dim]."""
        batch, time, _ = x.shape
        return x.reshape(batch, time, -1, self.head_dim)


class NormedAttention(Attention):
    """Attention whose queries and keys are normalized head by head.

    Parts: q, k, v, the norm of q, that of k, o; the norms are over head_dim.
    Source: Henry et al. 2020, "Query-Key Normalization for Transformers", as Qwen 3 has it.
    """

    def project(self, x: Tensor, *parts: nn.Module) -> Projected:
        *projections, q_norm, k_norm = parts
        q, k, v = super().project(x, *projections)
        return q_norm(q), k_norm(k), v


class FusedAttention(Attention):
    """Attention whose q, k and v are one matrix: their rows one after the other.

    Parts: q, k and v, hidden to (heads + 2 * kv_heads) * head_dim; o.
    """

    def __init__(
        self, parts: Mapping[str, nn.Module], heads: Heads, attend: Attend | None = None
    ) -> None:
        super().__init__(parts, heads.dim, attend)
        self.heads = heads

    def project(self, x: Tensor, *parts: nn.Module) -> Projected:
        (projection,) = parts
        counts = [self.heads.query, self.heads.key_value, self.heads.key_value]
        q, k, v = self.in_heads(projection(x)).split(counts, dim=2)
        return q, k, v


def projections(hidden: int, heads: Heads, bias: bool = False) -> dict[str, nn.Module]:
    """The parts of `Attention` by their most common names: q_proj, k_proj, v_proj and o_proj."""
    return {
        "q_proj": Linear(hidden, heads.query * heads.dim, bias),
        "k_proj": Linear(hidden, heads.key_value * heads.dim, bias),
        "v_proj": Linear(hidden, heads.key_value * heads.dim, bias),
        "o_proj": Linear(heads.query * heads.dim, hidden, bias),
    }


def scaled(scale: float, softcap: float | None = None) -> Attend:
    """`attend` with these settings."""

    def call(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        return attend(q, k, v, mask, scale, softcap)

    return call
