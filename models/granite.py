"""Granite 3: Llama with a multiplier on the embedding, the scores, each block and the logits."""

from dataclasses import dataclass, replace

from torch import Tensor

from . import llama
from ._decoder import Decoder, LlamaLikeConfig, heads_of, pre_norm_layer, rope_of
from ._gguf_tables import KEYS, NO_EXPERTS, RMS_NORM_EPS
from .layers.attention import Attention, Step, projections, scaled
from .layers.block import Block
from .layers.decoder import Kind
from .layers.kv_cache import KeyValue
from .layers.normalization import RMSNorm

GGUF = replace(
    llama.GGUF,
    name="granite",
    config={
        **KEYS,
        **RMS_NORM_EPS,
        "attention.scale": "attention_multiplier",
        "embedding_scale": "embedding_multiplier",
        "logit_scale": "logits_scaling",
        "residual_scale": "residual_multiplier",
        "rope.dimension_count": "head_dim",
    },
    harmless=NO_EXPERTS,
)


@dataclass(frozen=True, kw_only=True)
class Config(LlamaLikeConfig):
    """The keys of config.json that shape the forward pass."""

    attention_bias: bool = False
    attention_multiplier: float = 1.0
    embedding_multiplier: float = 1.0
    head_dim: int | None = None
    logits_scaling: float = 1.0
    mlp_bias: bool = False
    residual_multiplier: float = 1.0


class Layer(Block):
    """A pre-norm layer whose blocks are multiplied before they are added.

    Parts: norm, attention, norm, feed-forward.
    """

    def __init__(self, parts: Block, multiplier: float) -> None:
        super().__init__(dict(parts.named_children()))
        self.multiplier = multiplier

    def forward(self, x: Tensor, step: Step, cache: KeyValue) -> tuple[Tensor, KeyValue]:
        """x: [1, time, hidden_size]; returns the same shape, and the layer's cache."""
        norm, attention, second_norm, feed_forward = self.children()
        y, cache = attention(norm(x), step, cache)
        x = x + y * self.multiplier
        return x + feed_forward(second_norm(x)) * self.multiplier, cache


class Model(Decoder):
    """A Granite with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, heads = config.hidden_size, heads_of(config, config.head_dim)

        def layer() -> Layer:
            attention = Attention(
                projections(hidden, heads, config.attention_bias),
                heads.dim,
                scaled(config.attention_multiplier),
            )
            parts = pre_norm_layer(config, attention, config.mlp_bias)
            return Layer(parts, config.residual_multiplier)

        super().__init__(
            config,
            heads,
            layer,
            kinds=[Kind(rope_of(config, heads.dim))] * config.num_hidden_layers,
            norm=RMSNorm(hidden, config.rms_norm_eps),
            embedding_scale=config.embedding_multiplier,
        )
        self.logits_scaling = config.logits_scaling

    def logits(self, x: Tensor) -> Tensor:
        """The logits, divided by logits_scaling."""
        return x / self.logits_scaling
