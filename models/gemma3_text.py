"""Gemma 3's text decoder: normalized queries and keys, and a rotary base of their own for sliding
layers.

A full model with its vision tower (model_type gemma3) is not read; transformers saves the text
part alone with this model_type.
"""

import math
from dataclasses import dataclass, replace

from . import gemma
from ._decoder import FULL, SLIDING, Decoder, by_type, heads_of, rope_of
from ._rope import RopeSettings, rope
from .gemma import GemmaConfig
from .gemma2 import SANDWICH_TENSORS, sandwich_layer
from .layers.attention import Heads, NormedAttention, projections, scaled
from .layers.decoder import Kind
from .layers.layer import SandwichLayer
from .layers.normalization import OffsetRMSNorm

GGUF = replace(
    gemma.GGUF,
    name="gemma3",
    config={
        **gemma.GGUF.config,
        "attention.sliding_window": "sliding_window",
        "attention.sliding_window_pattern": "sliding_window_pattern",
        "rope.freq_base_swa": "rope_local_base_freq",
    },
    tensors=SANDWICH_TENSORS,
)


@dataclass(frozen=True, kw_only=True)
class Config(GemmaConfig):
    """The keys of config.json that shape the forward pass."""

    layer_types: tuple[str, ...] | None = None
    num_key_value_heads: int | None = 4
    query_pre_attn_scalar: float = 256.0
    rope_local_base_freq: float = 10000.0
    rope_theta: float = 1000000.0
    sliding_window: int | None = 4096
    sliding_window_pattern: int = 6


def layer_kinds(config: Config) -> list[Kind]:
    """Of each layer: every sliding_window_pattern-th is full, unless layer_types says otherwise."""
    layers, pattern = config.num_hidden_layers, config.sliding_window_pattern
    local = RopeSettings(
        config.head_dim, config.rope_local_base_freq, None, config.max_position_embeddings
    )
    kinds = {
        FULL: Kind(rope_of(config, config.head_dim)),
        SLIDING: Kind(rope(local), config.sliding_window),
    }
    types = config.layer_types or [SLIDING if (i + 1) % pattern else FULL for i in range(layers)]
    return by_type(kinds, types, layers)


def layer_of(config: Config, heads: Heads) -> SandwichLayer:
    """One layer by its checkpoints' names."""
    parts = projections(config.hidden_size, heads, config.attention_bias)
    output = parts.pop("o_proj")
    parts["q_norm"] = OffsetRMSNorm(heads.dim, config.rms_norm_eps)
    parts["k_norm"] = OffsetRMSNorm(heads.dim, config.rms_norm_eps)
    attend = scaled(config.query_pre_attn_scalar**-0.5)
    attention = NormedAttention({**parts, "o_proj": output}, heads.dim, attend)
    return sandwich_layer(config, attention)


class Model(Decoder):
    """A Gemma 3 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        heads = heads_of(config, config.head_dim)
        super().__init__(
            config,
            heads,
            layer=lambda: layer_of(config, heads),
            kinds=layer_kinds(config),
            norm=OffsetRMSNorm(config.hidden_size, config.rms_norm_eps),
            embedding_scale=math.sqrt(config.hidden_size),
        )
