"""Attention with linear biases: how far back a key lies is taken from its score."""

import math

import torch
from torch import Tensor


def alibi_slopes(heads: int) -> Tensor:
    """How much each head takes off per position: [heads], float32.

    A geometric sequence from 2 ** (-8 / n), for the largest power of two n up to `heads`; more
    heads take every other member of the sequence for 2 * n.
    Source: Press et al. 2022, "Train Short, Test Long", section 3, and its code for other counts.
    """
    power = 1 << (heads.bit_length() - 1)
    first = torch.arange(1, power + 1, dtype=torch.float32, device="cpu")
    more = torch.arange(1, 2 * (heads - power) + 1, 2, dtype=torch.float32, device="cpu")
    return torch.cat([_ratio(power) ** first, _ratio(2 * power) ** more])


def _ratio(count: int) -> float:
    return 2.0 ** -(2.0 ** (3 - math.log2(count)))


def alibi_bias(heads: int, context_length: int, scale: float, dtype: torch.dtype) -> Tensor:
    """slope * slot * scale, to be added to the scores: [1, heads, 1, context_length], float32.

    It grows with the key's slot, which softmax cannot tell from falling with its distance to the
    query. dtype: that of slope * slot, as the model was trained: bfloat16 rounds far slots.
    """
    slots = torch.arange(context_length, device="cpu")
    return (alibi_slopes(heads).to(dtype)[:, None] * slots).float()[None, :, None] * scale
