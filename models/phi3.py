"""Phi-3, 3.5 and Phi-4-mini: Llama with fused projections, and LongRoPE for long contexts.

llama.cpp applies a part of LongRoPE to its GGUF files' tensors; only Hub folders are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._decoder import (
    Decoder,
    LlamaLikeConfig,
    activation,
    heads_of,
    partial_dims,
)
from ._rope import RopeSettings, rope
from .layers.attention import FusedAttention
from .layers.decoder import Kind, Rope
from .layers.feed_forward import FusedGatedFeedForward
from .layers.layer import PreNormLayer
from .layers.linear import Linear
from .layers.normalization import RMSNorm


@dataclass(frozen=True, kw_only=True)
class Config(LlamaLikeConfig):
    """The keys of config.json that shape the forward pass."""

    # The publisher's own code, which is what this file re-authors.
    auto_map: Mapping[str, Any] | None = None
    original_max_position_embeddings: int = 4096
    partial_rotary_factor: float = 1.0
    rms_norm_eps: float = 1e-5
    sliding_window: int | None = None


def _rope(config: Config, head_dim: int) -> Rope:
    """LongRoPE was called "su" and "yarn" at first."""
    scaling = dict(config.rope_scaling or {})
    if scaling.get("rope_type") in ("su", "yarn"):
        scaling["rope_type"] = "longrope"
    return rope(
        RopeSettings(
            partial_dims(config.partial_rotary_factor, head_dim),
            config.rope_theta,
            scaling,
            config.max_position_embeddings,
            config.original_max_position_embeddings,
        )
    )


class Model(Decoder):
    """A Phi-3 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, inner, eps = config.hidden_size, config.intermediate_size, config.rms_norm_eps
        heads, act = heads_of(config), activation(config.hidden_act)

        def layer() -> PreNormLayer:
            fused = (heads.query + 2 * heads.key_value) * heads.dim
            attention = {
                "qkv_proj": Linear(hidden, fused, bias=False),
                "o_proj": Linear(heads.query * heads.dim, hidden, bias=False),
            }
            mlp = {
                "gate_up_proj": Linear(hidden, 2 * inner, bias=False),
                "down_proj": Linear(inner, hidden, bias=False),
            }
            return PreNormLayer(
                {
                    "input_layernorm": RMSNorm(hidden, eps),
                    "self_attn": FusedAttention(attention, heads),
                    "post_attention_layernorm": RMSNorm(hidden, eps),
                    "mlp": FusedGatedFeedForward(mlp, act),
                }
            )

        kind = Kind(_rope(config, heads.dim), config.sliding_window)
        super().__init__(
            config,
            heads,
            layer,
            kinds=[kind] * config.num_hidden_layers,
            norm=RMSNorm(hidden, eps),
        )
