"""StableLM 2 and 3B: LayerNorm, and rotary embeddings on a part of each head only."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._decoder import (
    Decoder,
    DecoderConfig,
    activation,
    heads_of,
    partial_dims,
    rope_of,
)
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import KEYS, TENSORS
from .layers.attention import Attention, Heads, NormedAttention, projections
from .layers.decoder import Kind
from .layers.feed_forward import GatedFeedForward, gated
from .layers.layer import ParallelLayer, PreNormLayer
from .layers.linear import Linear
from .layers.normalization import LayerNorm

GGUF = GgufArchitecture(
    name="stablelm",
    config={
        **KEYS,
        "attention.layer_norm_epsilon": "layer_norm_eps",
        "rope.dimension_count": "rotary_dims",
        "use_parallel_residual": "use_parallel_residual",
    },
    tensors=TENSORS,
    constants={"hidden_act": "silu"},
    present={"use_qkv_bias": "blk.0.attn_q.bias"},
)


@dataclass(frozen=True, kw_only=True)
class Config(DecoderConfig):
    """The keys of config.json that shape the forward pass.

    rotary_dims: GGUF's form of partial_rotary_factor, which goes before it.
    """

    layer_norm_eps: float = 1e-5
    num_key_value_heads: int | None = 32
    partial_rotary_factor: float = 0.25
    qk_layernorm: bool = False
    rotary_dims: int | None = None
    use_parallel_residual: bool = False
    use_qkv_bias: bool = False


class HeadNorms(nn.Module):
    """A LayerNorm without bias for each head, with a weight of its own: [..., heads, head_dim]."""

    def __init__(self, heads: int, head_dim: int, eps: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(LayerNorm(head_dim, eps, bias=False) for _ in range(heads))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.stack(list(self.parameters()))
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * weight


def _attention(config: Config, heads: Heads) -> Attention:
    parts = projections(config.hidden_size, heads, config.use_qkv_bias)
    parts.pop("o_proj")
    output = Linear(heads.query * heads.dim, config.hidden_size, bias=False)
    if not config.qk_layernorm:
        return Attention({**parts, "o_proj": output}, heads.dim)
    norms = {
        "q_layernorm": HeadNorms(heads.query, heads.dim, config.layer_norm_eps),
        "k_layernorm": HeadNorms(heads.key_value, heads.dim, config.layer_norm_eps),
    }
    return NormedAttention({**parts, **norms, "o_proj": output}, heads.dim)


class Model(Decoder):
    """A StableLM with its head. Raises CheckpointError for a config that is not implemented."""

    def __init__(self, config: Config) -> None:
        hidden, eps, heads = config.hidden_size, config.layer_norm_eps, heads_of(config)
        dims = config.rotary_dims or partial_dims(config.partial_rotary_factor, heads.dim)

        def layer() -> nn.Module:
            norm, attention = LayerNorm(hidden, eps), _attention(config, heads)
            mlp = GatedFeedForward(
                gated(hidden, config.intermediate_size), activation(config.hidden_act)
            )
            if config.use_parallel_residual:
                return ParallelLayer({"input_layernorm": norm, "self_attn": attention, "mlp": mlp})
            return PreNormLayer(
                {
                    "input_layernorm": norm,
                    "self_attn": attention,
                    "post_attention_layernorm": LayerNorm(hidden, eps),
                    "mlp": mlp,
                }
            )

        super().__init__(
            config,
            heads,
            layer,
            kinds=[Kind(rope_of(config, dims))] * config.num_hidden_layers,
            norm=LayerNorm(hidden, eps),
        )
