"""Gemma 1: Llama's shape with a scaled embedding, GELU, and norms that multiply by 1 + weight."""

import math
from dataclasses import dataclass

from . import CheckpointError
from ._decoder import Decoder, LlamaLikeConfig, heads_of, rope_of
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import HEAD_DIM, KEYS, RMS_NORM_EPS, TENSORS, norms_offset
from .layers.attention import Attention, projections
from .layers.decoder import Kind
from .layers.feed_forward import GatedFeedForward, gated, gelu_tanh
from .layers.layer import PreNormLayer
from .layers.normalization import OffsetRMSNorm

GGUF = GgufArchitecture(
    name="gemma",
    config={**KEYS, **HEAD_DIM, **RMS_NORM_EPS},
    tensors=norms_offset(TENSORS),
)
# "gelu" in the first releases' files means the approximation too.
_GELU = ("gelu", "gelu_pytorch_tanh")


@dataclass(frozen=True, kw_only=True)
class GemmaConfig(LlamaLikeConfig):
    """The keys that all versions of Gemma have, with transformers' defaults."""

    attention_bias: bool = False
    head_dim: int = 256
    hidden_act: str = "gelu_pytorch_tanh"
    hidden_activation: str | None = None
    tie_word_embeddings: bool = True


@dataclass(frozen=True, kw_only=True)
class Config(GemmaConfig):
    """The keys of config.json that shape the forward pass."""

    num_key_value_heads: int | None = 16


def feed_forward(config: GemmaConfig) -> GatedFeedForward:
    """Gemma's. Raises CheckpointError for another activation than GELU by tanh."""
    if config.hidden_act not in _GELU or config.hidden_activation not in (None, *_GELU):
        raise CheckpointError(
            f"config.json: hidden_act={config.hidden_act!r:.80}, hidden_activation="
            f"{config.hidden_activation!r:.80}: not implemented; {' and '.join(_GELU)} are"
        )
    return GatedFeedForward(gated(config.hidden_size, config.intermediate_size), gelu_tanh)


class Model(Decoder):
    """A Gemma with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, eps = config.hidden_size, config.rms_norm_eps
        heads = heads_of(config, config.head_dim)

        def layer() -> PreNormLayer:
            parts = projections(hidden, heads, config.attention_bias)
            return PreNormLayer(
                {
                    "input_layernorm": OffsetRMSNorm(hidden, eps),
                    "self_attn": Attention(parts, heads.dim),
                    "post_attention_layernorm": OffsetRMSNorm(hidden, eps),
                    "mlp": feed_forward(config),
                }
            )

        super().__init__(
            config,
            heads,
            layer,
            kinds=[Kind(rope_of(config, heads.dim))] * config.num_hidden_layers,
            norm=OffsetRMSNorm(hidden, eps),
            embedding_scale=math.sqrt(hidden),
        )
