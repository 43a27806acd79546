"""Falcon RW (ALiBi, one block after the other) and Falcon 7B (rotary, parallel, multi-query).

The architecture of Falcon 11B and 40B (new_decoder_architecture) is not implemented.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from . import CheckpointError
from ._decoder import activation, checked_heads, head_of
from ._rope import RopeSettings, rope
from .layers.alibi import alibi_bias
from .layers.attention import Attention, FusedAttention, Heads, Projected
from .layers.decoder import CausalLM, Kind, Stack
from .layers.feed_forward import FeedForward
from .layers.layer import ParallelLayer, PreNormLayer
from .layers.linear import Embedding, Linear
from .layers.normalization import LayerNorm


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of config.json that shape the forward pass."""

    hidden_size: int
    num_attention_heads: int
    num_hidden_layers: int
    vocab_size: int
    activation: str = "gelu"
    alibi: bool = False
    # The publisher's own code, which is what this file re-authors.
    auto_map: Mapping[str, Any] | None = None
    bias: bool = False
    ffn_hidden_size: int | None = None
    layer_norm_epsilon: float = 1e-5
    max_position_embeddings: int = 2048
    multi_query: bool = True
    new_decoder_architecture: Literal[False] = False
    num_kv_heads: int | None = None
    num_ln_in_parallel_attn: Literal[1] | None = None
    parallel_attn: bool = True
    rope_scaling: Mapping[str, Any] | None = None
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = True


class HeadwiseAttention(FusedAttention):
    """Multi-head attention whose fused matrix has q, k and v of a head after each other.

    Parts: q, k and v, hidden to 3 * heads * head_dim; o.
    """

    def project(self, x: Tensor, *parts: nn.Module) -> Projected:
        (projection,) = parts
        batch, time, _ = x.shape
        fused = projection(x).reshape(batch, time * self.heads.query, 3, self.heads.dim)
        q, k, v = (
            part.reshape(batch, time, self.heads.query, self.heads.dim) for part in fused.unbind(2)
        )
        return q, k, v


def _heads(config: Config) -> Heads:
    query = config.num_attention_heads
    if not config.multi_query and config.num_kv_heads not in (None, query):
        raise CheckpointError(
            f"config.json: num_kv_heads={config.num_kv_heads} without multi_query: needs {query}"
        )
    return checked_heads(query, 1 if config.multi_query else query, config.hidden_size // query)


def _kind(config: Config, heads: Heads) -> Kind:
    """ALiBi is added before the scores are scaled."""
    if config.alibi:
        scale = heads.dim**-0.5
        return Kind(bias=lambda context: alibi_bias(heads.query, context, scale, torch.bfloat16))
    settings = RopeSettings(
        heads.dim, config.rope_theta, config.rope_scaling, config.max_position_embeddings
    )
    return Kind(rope(settings))


def _layer(config: Config, heads: Heads) -> nn.Module:
    hidden, eps, bias = config.hidden_size, config.layer_norm_epsilon, config.bias
    fused = (heads.query + 2 * heads.key_value) * heads.dim
    parts = {
        "query_key_value": Linear(hidden, fused, bias),
        "dense": Linear(hidden, hidden, bias),
    }
    attention: Attention = (
        FusedAttention(parts, heads) if config.multi_query else HeadwiseAttention(parts, heads)
    )
    inner = config.ffn_hidden_size or 4 * hidden
    mlp = FeedForward(
        {
            "dense_h_to_4h": Linear(hidden, inner, bias),
            "dense_4h_to_h": Linear(inner, hidden, bias),
        },
        activation(config.activation),
    )
    norm = LayerNorm(hidden, eps)
    if config.parallel_attn:
        return ParallelLayer({"input_layernorm": norm, "self_attention": attention, "mlp": mlp})
    return PreNormLayer(
        {
            "input_layernorm": norm,
            "self_attention": attention,
            "post_attention_layernorm": LayerNorm(hidden, eps),
            "mlp": mlp,
        }
    )


class Model(CausalLM):
    """A Falcon with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        heads, layers = _heads(config), config.num_hidden_layers
        embedding = Embedding(config.vocab_size, config.hidden_size)
        parts = {
            "word_embeddings": embedding,
            "h": nn.ModuleList(_layer(config, heads) for _ in range(layers)),
            "ln_f": LayerNorm(config.hidden_size, config.layer_norm_epsilon),
        }
        stack = Stack(parts, [_kind(config, heads)] * layers)
        head = head_of(embedding, config.tie_word_embeddings)
        super().__init__({"transformer": stack, "lm_head": head}, heads)
