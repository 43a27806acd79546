"""OLMo 2: norms after attention and feed-forward; queries and keys normalized as a whole."""

from dataclasses import dataclass

from torch import Tensor, nn

from ._decoder import Decoder, LlamaLikeConfig, activation, heads_of, rope_of
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import KEYS, RMS_NORM_EPS, TENSORS, weights_and_biases
from .layers.attention import Attention, Projected, projections
from .layers.decoder import Kind
from .layers.feed_forward import GatedFeedForward, gated
from .layers.layer import PostNormLayer
from .layers.normalization import RMSNorm

GGUF = GgufArchitecture(
    name="olmo2",
    config={**KEYS, **RMS_NORM_EPS},
    tensors={
        **TENSORS,
        **weights_and_biases(
            {
                "blk.{i}.post_attention_norm": "model.layers.{i}.post_attention_layernorm",
                "blk.{i}.post_ffw_norm": "model.layers.{i}.post_feedforward_layernorm",
            }
        ),
    },
    constants={"hidden_act": "silu"},
)


@dataclass(frozen=True, kw_only=True)
class Config(LlamaLikeConfig):
    """The keys of config.json that shape the forward pass."""

    attention_bias: bool = False
    rms_norm_eps: float = 1e-5


class WholeNormedAttention(Attention):
    """Attention whose queries, and keys, of all heads are normalized together.

    Parts: q, k, v, the norm of q, that of k, o.
    """

    def project(self, x: Tensor, *parts: nn.Module) -> Projected:
        q, k, v, q_norm, k_norm = parts
        return self.in_heads(q_norm(q(x))), self.in_heads(k_norm(k(x))), self.in_heads(v(x))


class Model(Decoder):
    """An OLMo 2 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, eps, heads = config.hidden_size, config.rms_norm_eps, heads_of(config)

        def layer() -> PostNormLayer:
            parts = projections(hidden, heads, config.attention_bias)
            output = parts.pop("o_proj")
            parts["q_norm"] = RMSNorm(heads.query * heads.dim, eps)
            parts["k_norm"] = RMSNorm(heads.key_value * heads.dim, eps)
            mlp = gated(hidden, config.intermediate_size)
            return PostNormLayer(
                {
                    "self_attn": WholeNormedAttention({**parts, "o_proj": output}, heads.dim),
                    "post_attention_layernorm": RMSNorm(hidden, eps),
                    "mlp": GatedFeedForward(mlp, activation(config.hidden_act)),
                    "post_feedforward_layernorm": RMSNorm(hidden, eps),
                }
            )

        super().__init__(
            config,
            heads,
            layer,
            kinds=[Kind(rope_of(config, heads.dim))] * config.num_hidden_layers,
            norm=RMSNorm(hidden, eps),
        )
