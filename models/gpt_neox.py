"""GPT-NeoX, which Pythia is one of: two norms of one input, and a part of each head turned.

llama.cpp reorders the fused rows in its GGUF files; only Hub folders are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ._decoder import activation, checked_heads, head_of, partial_dims
from ._hub_layout import HubLayout
from ._rope import RopeSettings, rope
from .falcon import HeadwiseAttention
from .layers.attention import Heads, Step
from .layers.block import Block
from .layers.decoder import CausalLM, Kind, Stack
from .layers.feed_forward import FeedForward
from .layers.kv_cache import KeyValue
from .layers.layer import PreNormLayer
from .layers.linear import Embedding, Linear
from .layers.normalization import LayerNorm

# Constants that the first releases of transformers saved.
HUB = HubLayout(unused=r"gpt_neox\.layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of config.json that shape the forward pass.

    rope_theta, partial_rotary_factor: later names of rotary_emb_base and rotary_pct, which they go
    before.
    """

    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_hidden_layers: int
    vocab_size: int
    attention_bias: bool = True
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    max_position_embeddings: int = 2048
    partial_rotary_factor: float | None = None
    rope_scaling: Mapping[str, Any] | None = None
    rope_theta: float | None = None
    rotary_emb_base: float = 10000.0
    rotary_pct: float = 0.25
    tie_word_embeddings: bool = False
    use_parallel_residual: bool = True


class TwiceNormedLayer(Block):
    """x + attention(norm(x)) + feed_forward(another norm(x)).

    Parts: norm, attention, norm, feed-forward. Source: Black et al. 2022, "GPT-NeoX-20B", section
    2.1.2.
    """

    def forward(self, x: Tensor, step: Step, cache: KeyValue) -> tuple[Tensor, KeyValue]:
        norm, attention, second_norm, feed_forward = self.children()
        y, written = attention(norm(x), step, cache)
        return x + y + feed_forward(second_norm(x)), written


def _kind(config: Config, heads: Heads) -> Kind:
    dims = partial_dims(config.partial_rotary_factor or config.rotary_pct, heads.dim)
    theta = config.rope_theta or config.rotary_emb_base
    return Kind(
        rope(RopeSettings(dims, theta, config.rope_scaling, config.max_position_embeddings))
    )


def _layer(config: Config, heads: Heads) -> nn.Module:
    hidden, inner, bias = config.hidden_size, config.intermediate_size, config.attention_bias
    attention = {
        "query_key_value": Linear(hidden, 3 * hidden, bias),
        "dense": Linear(hidden, hidden, bias),
    }
    mlp = {"dense_h_to_4h": Linear(hidden, inner), "dense_4h_to_h": Linear(inner, hidden)}
    layer = TwiceNormedLayer if config.use_parallel_residual else PreNormLayer
    return layer(
        {
            "input_layernorm": LayerNorm(hidden, config.layer_norm_eps),
            "attention": HeadwiseAttention(attention, heads),
            "post_attention_layernorm": LayerNorm(hidden, config.layer_norm_eps),
            "mlp": FeedForward(mlp, activation(config.hidden_act)),
        }
    )


class Model(CausalLM):
    """A GPT-NeoX with its head. Raises CheckpointError for a config that is not implemented."""

    def __init__(self, config: Config) -> None:
        query, layers = config.num_attention_heads, config.num_hidden_layers
        heads = checked_heads(query, query, config.hidden_size // query)
        embedding = Embedding(config.vocab_size, config.hidden_size)
        parts = {
            "embed_in": embedding,
            "layers": nn.ModuleList(_layer(config, heads) for _ in range(layers)),
            "final_layer_norm": LayerNorm(config.hidden_size, config.layer_norm_eps),
        }
        stack = Stack(parts, [_kind(config, heads)] * layers)
        head = head_of(embedding, config.tie_word_embeddings)
        super().__init__({"gpt_neox": stack, "embed_out": head}, heads)
