"""Gemma 2: sandwich norms, soft-capped scores and logits, and sliding layers between full ones."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import gemma
from ._decoder import FULL, SLIDING, Decoder, heads_of, kinds_of, rope_of
from ._gguf_tables import TENSORS, norms_offset, weights_and_biases
from .gemma import GemmaConfig, feed_forward
from .layers.attention import Attention, projections, scaled
from .layers.layer import SandwichLayer
from .layers.normalization import OffsetRMSNorm

SANDWICH_TENSORS = norms_offset(
    {
        **TENSORS,
        **weights_and_biases(
            {
                "blk.{i}.post_attention_norm": "model.layers.{i}.post_attention_layernorm",
                "blk.{i}.ffn_norm": "model.layers.{i}.pre_feedforward_layernorm",
                "blk.{i}.post_ffw_norm": "model.layers.{i}.post_feedforward_layernorm",
            }
        ),
    }
)
GGUF = replace(
    gemma.GGUF,
    name="gemma2",
    config={
        **gemma.GGUF.config,
        "attention.sliding_window": "sliding_window",
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
    },
    tensors=SANDWICH_TENSORS,
)


@dataclass(frozen=True, kw_only=True)
class Config(GemmaConfig):
    """The keys of config.json that shape the forward pass."""

    attn_logit_softcapping: float | None = 50.0
    final_logit_softcapping: float | None = 30.0
    layer_types: tuple[str, ...] | None = None
    num_key_value_heads: int | None = 4
    query_pre_attn_scalar: float = 256.0
    sliding_window: int | None = 4096


def sandwich_layer(config: GemmaConfig, attention: Attention) -> SandwichLayer:
    """Gemma 2's and 3's layer by their checkpoints' names, around an attention."""
    hidden, eps = config.hidden_size, config.rms_norm_eps
    return SandwichLayer(
        {
            "input_layernorm": OffsetRMSNorm(hidden, eps),
            "self_attn": attention,
            "post_attention_layernorm": OffsetRMSNorm(hidden, eps),
            "pre_feedforward_layernorm": OffsetRMSNorm(hidden, eps),
            "mlp": feed_forward(config),
            "post_feedforward_layernorm": OffsetRMSNorm(hidden, eps),
        }
    )


class Model(Decoder):
    """A Gemma 2 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, layers = config.hidden_size, config.num_hidden_layers
        heads = heads_of(config, config.head_dim)
        attend = scaled(config.query_pre_attn_scalar**-0.5, config.attn_logit_softcapping)
        types = config.layer_types or [FULL if i % 2 else SLIDING for i in range(layers)]

        def layer() -> SandwichLayer:
            parts = projections(hidden, heads, config.attention_bias)
            return sandwich_layer(config, Attention(parts, heads.dim, attend))

        super().__init__(
            config,
            heads,
            layer,
            kinds=kinds_of(rope_of(config, heads.dim), config.sliding_window, types, layers),
            norm=OffsetRMSNorm(hidden, config.rms_norm_eps),
            embedding_scale=math.sqrt(hidden),
        )
        self.softcap = config.final_logit_softcapping

    def logits(self, x: Tensor) -> Tensor:
        """The logits, bounded to final_logit_softcapping."""
        return x if self.softcap is None else torch.tanh(x / self.softcap) * self.softcap
