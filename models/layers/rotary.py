"""Rotary position embeddings.

The angles are computed in the graph from the positions, not looked up in a table: a runtime may
pad a prefill chunk with positions beyond the context, and TFLite's GATHER fails on those.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Rotation(NamedTuple):
    """The cosine and sine of each position's angles: two [time, 1, rotated dims / 2], float32."""

    cos: Tensor
    sin: Tensor


def inverse_frequencies(head_dim: int, theta: float) -> Tensor:
    """The angle that each pair of dimensions turns per position: [head_dim / 2], float32.

    Source: Su et al. 2021, section 3.2.2 (theta is the base, 10000 there). The order of the float32
    operations is that of transformers, so that the angles are the same to the last bit.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
    return 1.0 / (theta**exponents)


def llama3_frequencies(
    frequencies: Tensor,
    *,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_context_length: int,
) -> Tensor:
    """Slows the dimensions that turn rarely within the original context by `factor`.

    A dimension that completes fewer than low_freq_factor turns in original_context_length
    positions is slowed, one with more than high_freq_factor turns is left alone, and between the
    two the slowing is blended linearly. frequencies: [head_dim / 2]; returns the same shape.
    Source: `rope_type` "llama3" of Llama 3.1's config.json, as published with its weights.
    """
    wavelengths = 2 * math.pi / frequencies
    turns = original_context_length / wavelengths
    kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0)
    blended = (1 - kept) * frequencies / factor + kept * frequencies
    slowed = torch.where(turns < low_freq_factor, frequencies / factor, blended)
    return torch.where(turns > high_freq_factor, frequencies, slowed)


def dynamic_theta(dims: int, theta: float, factor: float, stretch: float) -> float:
    """The base of "NTK-aware" scaling, for a context `stretch` times the trained one (at least 1).

    Source: `rope_type` "dynamic" of config.json; Peng et al. 2023, YaRN, section 3.1 and eq. 22.
    """
    return theta * (factor * stretch - (factor - 1)) ** (dims / (dims - 2))


def yarn_frequencies(
    dims: int,
    theta: float,
    *,
    factor: float,
    original_context_length: float,
    beta_fast: float,
    beta_slow: float,
) -> Tensor:
    """Slows the pairs that turn rarely within the original context: [dims / 2], float32.

    A pair that turns fewer than beta_slow times is slowed by `factor`, one that turns more than
    beta_fast times is left alone, and a ramp, linear in the number of the pair, joins them. Its
    ends are whole numbers of pairs, as the checkpoints are trained.
    Source: Peng et al. 2023, "YaRN", section 3.2.
    """

    def pair_that_turns(times: float) -> float:
        wavelength = original_context_length / (times * 2 * math.pi)
        return dims * math.log(wavelength) / (2 * math.log(theta))

    low = max(math.floor(pair_that_turns(beta_fast)), 0)
    high = min(math.ceil(pair_that_turns(beta_slow)), dims - 1)
    pairs = torch.arange(dims // 2, dtype=torch.float32, device="cpu")
    slowed = ((pairs - low) / (max(high - low, 0) or 0.001)).clamp(0.0, 1.0)
    frequencies = inverse_frequencies(dims, theta)
    return frequencies / factor * slowed + frequencies * (1 - slowed)


def yarn_scale(factor: float) -> float:
    """What cosine and sine are multiplied by. Source: Peng et al. 2023, "YaRN", eq. 22."""
    return 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0


def longrope_scale(stretch: float, original_context_length: float) -> float:
    """What cosine and sine are multiplied by, for a trained context `stretch` times the original.

    Source: Ding et al. 2024, "LongRoPE"; the formula is that of Phi-3's report, section 2.
    """
    if stretch <= 1:
        return 1.0
    return math.sqrt(1 + math.log(stretch) / math.log(original_context_length))


class RotaryEmbedding(nn.Module):
    """Turns positions into the rotation that `rotate` applies.

    frequencies: [head_dim / 2], float32, on the CPU even where the model is on the meta device:
    they are constants of the graph. scale: what cosine and sine are multiplied by.
    """

    def __init__(self, frequencies: Tensor, scale: float = 1.0) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.scale = scale

    def forward(self, positions: Tensor) -> Rotation:
        """positions: [time], integers, any value; returns two [time, 1, head_dim / 2]."""
        angles = (positions.float()[:, None] * self.frequencies)[:, None, :]
        cos, sin = angles.cos(), angles.sin()
        if self.scale == 1:
            return Rotation(cos, sin)
        return Rotation(cos * self.scale, sin * self.scale)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turns each head by its position, pairing dimension i with i + head_dim / 2.

    x: [batch, time, heads, head_dim]; returns the same shape. Where the rotation has fewer angles
    than head_dim / 2, the last dimensions of each head are left alone (partial rotary).
    Source: Su et al. 2021, eq. 34; the pairing is that of the Hub's checkpoints.
    """
    cos, sin = rotation
    half = cos.shape[-1]
    first, second = x[..., :half], x[..., half : 2 * half]
    turned = [first * cos - second * sin, second * cos + first * sin]
    if 2 * half < x.shape[-1]:
        turned.append(x[..., 2 * half :])
    return torch.cat(turned, dim=-1)
