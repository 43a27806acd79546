"""Mistral: Llama whose layers may all look back over a sliding window only.

llama.cpp writes it as the architecture "llama", which models/llama.py reads.
"""

from dataclasses import dataclass

from ._decoder import Decoder, LlamaLikeConfig, heads_of, pre_norm_layer, rope_of
from .layers.attention import Attention, projections
from .layers.decoder import Kind
from .layers.normalization import RMSNorm


@dataclass(frozen=True, kw_only=True)
class Config(LlamaLikeConfig):
    """The keys of config.json that shape the forward pass."""

    head_dim: int | None = None
    num_key_value_heads: int | None = 8
    sliding_window: int | None = 4096


class Model(Decoder):
    """A Mistral with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, heads = config.hidden_size, heads_of(config, config.head_dim)
        kind = Kind(rope_of(config, heads.dim), config.sliding_window)
        super().__init__(
            config,
            heads,
            layer=lambda: pre_norm_layer(config, Attention(projections(hidden, heads), heads.dim)),
            kinds=[kind] * config.num_hidden_layers,
            norm=RMSNorm(hidden, config.rms_norm_eps),
        )
