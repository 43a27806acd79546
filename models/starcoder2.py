"""StarCoder2: Llama's shape with LayerNorm, biases, a plain feed-forward and a sliding window."""

from dataclasses import dataclass
from typing import Literal

from ._decoder import Decoder, DecoderConfig, activation, heads_of, rope_of
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import KEYS, TENSORS, weights_and_biases
from .layers.attention import Attention, projections
from .layers.decoder import Kind
from .layers.feed_forward import FeedForward
from .layers.layer import PreNormLayer
from .layers.linear import Linear
from .layers.normalization import LayerNorm

GGUF = GgufArchitecture(
    name="starcoder2",
    config={
        **KEYS,
        "attention.layer_norm_epsilon": "norm_epsilon",
        "rope.dimension_count": "head_dim",
    },
    tensors={
        **TENSORS,
        **weights_and_biases(
            {
                "blk.{i}.ffn_up": "model.layers.{i}.mlp.c_fc",
                "blk.{i}.ffn_down": "model.layers.{i}.mlp.c_proj",
            }
        ),
    },
    present={"use_bias": "blk.0.attn_q.bias"},
)


@dataclass(frozen=True, kw_only=True)
class Config(DecoderConfig):
    """The keys of config.json that shape the forward pass."""

    head_dim: int | None = None
    hidden_act: str = "gelu_pytorch_tanh"
    mlp_type: Literal["default"] = "default"
    norm_epsilon: float = 1e-5
    norm_type: Literal["layer_norm"] = "layer_norm"
    num_key_value_heads: int | None = 2
    sliding_window: int | None = None
    tie_word_embeddings: bool = True
    use_bias: bool = True


class Model(Decoder):
    """A StarCoder2 with its head. Raises CheckpointError for a config that is not implemented."""

    def __init__(self, config: Config) -> None:
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.use_bias
        heads, act = heads_of(config, config.head_dim), activation(config.hidden_act)

        def layer() -> PreNormLayer:
            mlp = {"c_fc": Linear(hidden, inner, bias), "c_proj": Linear(inner, hidden, bias)}
            return PreNormLayer(
                {
                    "input_layernorm": LayerNorm(hidden, config.norm_epsilon),
                    "self_attn": Attention(projections(hidden, heads, bias), heads.dim),
                    "post_attention_layernorm": LayerNorm(hidden, config.norm_epsilon),
                    "mlp": FeedForward(mlp, act),
                }
            )

        super().__init__(
            config,
            heads,
            layer,
            kinds=[Kind(rope_of(config, heads.dim), config.sliding_window)]
            * config.num_hidden_layers,
            norm=LayerNorm(hidden, config.norm_epsilon),
        )
