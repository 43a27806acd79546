"""From config.json's rope_theta and rope_scaling to the rotary embedding of a context length."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import CheckpointError
from .layers.decoder import Rope
from .layers.rotary import (
    RotaryEmbedding,
    dynamic_theta,
    inverse_frequencies,
    llama3_frequencies,
    longrope_scale,
    yarn_frequencies,
    yarn_scale,
)


class RopeSettings(NamedTuple):
    """What the tables depend on.

    dims: how many dimensions of each head are turned; trained: max_position_embeddings;
    original: original_max_position_embeddings where config.json has it beside rope_scaling.
    """

    dims: int
    theta: float
    scaling: Mapping[str, Any] | None
    trained: int
    original: int | None = None


def rope(settings: RopeSettings) -> Rope:
    """The rotary embedding for a context length. Raises CheckpointError for bad rope_scaling."""
    values = dict(settings.scaling or {})
    kind = values.pop("rope_type", "default")
    if kind not in _KINDS:
        raise CheckpointError(f"{_where(settings)}: needs a rope_type of {', '.join(_KINDS)}")
    found = _KINDS[kind]
    if kind in ("longrope", "yarn", "llama3"):
        original = settings.original or values.get("original_max_position_embeddings")
        values["original_max_position_embeddings"] = original or settings.trained
    if not found.needed <= values.keys() or values.keys() - found.needed - found.optional:
        known = ", ".join(sorted(found.needed)) + "".join(f" [{k}]" for k in sorted(found.optional))
        raise CheckpointError(f"{_where(settings)}: needs {kind} with {known or 'nothing'}")
    if any((key in _LISTS) != isinstance(value, Sequence) for key, value in values.items()):
        raise CheckpointError(
            f"{_where(settings)}: {', '.join(_LISTS)} must be lists, and all else a number"
        )
    made: dict[int, RotaryEmbedding] = {}

    def at(context_length: int) -> RotaryEmbedding:
        if context_length not in made:
            made[context_length] = found.make(settings, values, context_length)
        return made[context_length]

    at(1)  # what is wrong is said now, not when the model runs
    return at


def _where(settings: RopeSettings) -> str:
    return f"config.json: rope_scaling={dict(settings.scaling or {})!r:.200}"


Values = Mapping[str, Any]


def _default(settings: RopeSettings, values: Values, context_length: int) -> RotaryEmbedding:
    return RotaryEmbedding(inverse_frequencies(settings.dims, settings.theta))


def _linear(settings: RopeSettings, values: Values, context_length: int) -> RotaryEmbedding:
    frequencies = inverse_frequencies(settings.dims, settings.theta)
    return RotaryEmbedding(frequencies / values["factor"])


def _dynamic(settings: RopeSettings, values: Values, context_length: int) -> RotaryEmbedding:
    stretch = max(context_length, settings.trained) / settings.trained
    theta = dynamic_theta(settings.dims, settings.theta, values["factor"], stretch)
    return RotaryEmbedding(inverse_frequencies(settings.dims, theta))


def _factors(settings: RopeSettings, values: Values, context_length: int) -> RotaryEmbedding:
    frequencies = inverse_frequencies(settings.dims, settings.theta)
    return RotaryEmbedding(frequencies / _table(settings, values["factors"], "rope_freqs.weight"))


def _llama3(settings: RopeSettings, values: Values, context_length: int) -> RotaryEmbedding:
    if values["low_freq_factor"] >= values["high_freq_factor"]:
        raise CheckpointError(
            f"{_where(settings)}: low_freq_factor must be less than high_freq_factor"
        )
    frequencies = llama3_frequencies(
        inverse_frequencies(settings.dims, settings.theta),
        factor=values["factor"],
        low_freq_factor=values["low_freq_factor"],
        high_freq_factor=values["high_freq_factor"],
        original_context_length=values["original_max_position_embeddings"],
    )
    return RotaryEmbedding(frequencies)


def _longrope(settings: RopeSettings, values: Values, context_length: int) -> RotaryEmbedding:
    original = values["original_max_position_embeddings"]
    name = "long_factor" if context_length > original else "short_factor"
    frequencies = inverse_frequencies(settings.dims, settings.theta)
    frequencies = frequencies / _table(settings, values[name], name)
    stretch = values.get("factor", settings.trained / original)
    scale = values.get("attention_factor", longrope_scale(stretch, original))
    return RotaryEmbedding(frequencies, scale)


def _yarn(settings: RopeSettings, values: Values, context_length: int) -> RotaryEmbedding:
    frequencies = yarn_frequencies(
        settings.dims,
        settings.theta,
        factor=values["factor"],
        original_context_length=values["original_max_position_embeddings"],
        beta_fast=values.get("beta_fast", 32.0),
        beta_slow=values.get("beta_slow", 1.0),
    )
    return RotaryEmbedding(
        frequencies, values.get("attention_factor", yarn_scale(values["factor"]))
    )


def _table(settings: RopeSettings, factors: Sequence[float], name: str) -> Tensor:
    """One divisor for each frequency: [dims / 2]."""
    if len(factors) != settings.dims // 2:
        raise CheckpointError(
            f"{name}: {len(factors)} factors; rotated dimensions / 2 = {settings.dims // 2} needed"
        )
    return torch.tensor(factors, dtype=torch.float32, device="cpu")


class _KindOfRope(NamedTuple):
    make: Callable[[RopeSettings, Values, int], RotaryEmbedding]
    needed: frozenset[str]
    optional: frozenset[str] = frozenset()


_LISTS = ("factors", "long_factor", "short_factor")
_ORIGINAL = "original_max_position_embeddings"
# rope_type in config.json -> how its table is made, and its keys there.
_KINDS: Mapping[str, _KindOfRope] = {
    "default": _KindOfRope(_default, frozenset()),
    "dynamic": _KindOfRope(_dynamic, frozenset({"factor"})),
    # What llama.cpp stores of Llama 3's: a divisor for each frequency.
    "factors": _KindOfRope(_factors, frozenset({"factors"})),
    "linear": _KindOfRope(_linear, frozenset({"factor"})),
    "llama3": _KindOfRope(
        _llama3, frozenset({"factor", "low_freq_factor", "high_freq_factor", _ORIGINAL})
    ),
    "longrope": _KindOfRope(
        _longrope,
        frozenset({"long_factor", "short_factor", _ORIGINAL}),
        frozenset({"factor", "attention_factor"}),
    ),
    "yarn": _KindOfRope(
        _yarn,
        frozenset({"factor", _ORIGINAL}),
        frozenset({"attention_factor", "beta_fast", "beta_slow"}),
    ),
}
