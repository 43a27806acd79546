"""OpenELM: layers of their own width each, fused projections, normalized queries and keys.

transformers has no such model type; Apple's checkpoints bring their code along, which is never
run here. Source: Mehta et al. 2024, "OpenELM"; the config.json of apple/OpenELM-270M.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from . import CheckpointError
from ._decoder import activation, checked_heads, head_of
from ._rope import RopeSettings, rope
from .layers.attention import FusedAttention, Heads, Projected
from .layers.decoder import CausalLM, Kind, Stack
from .layers.feed_forward import FusedGatedFeedForward
from .layers.kv_cache import KeyValue, empty
from .layers.layer import PreNormLayer
from .layers.linear import Embedding, Linear
from .layers.normalization import RMSNorm

# Of Apple's code; no key of config.json has it.
_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of config.json that shape the forward pass, and those that led to them."""

    ffn_dim_divisor: int
    ffn_multipliers: tuple[float, ...]
    head_dim: int
    model_dim: int
    num_kv_heads: tuple[int, ...]
    num_query_heads: tuple[int, ...]
    num_transformer_layers: int
    vocab_size: int
    activation_fn_name: Literal["swish"] = "swish"
    # The publisher's own code, which is what this file re-authors.
    auto_map: Mapping[str, Any] | None = None
    ffn_with_glu: Literal[True] = True
    max_context_length: int = 2048
    normalization_layer_name: Literal["rms_norm"] = "rms_norm"
    normalize_qk_projections: Literal[True] = True
    # These two only say how the lists of heads were made.
    num_gqa_groups: int = 1
    qkv_multipliers: tuple[float, ...] | None = None
    rope_freq_constant: float = 10000.0
    rope_max_length: int = 4096
    share_input_output_layers: bool = True


def intermediate_size(multiplier: float, config: Config) -> int:
    """The nearest multiple of ffn_dim_divisor, or the one above it where that is 10 % less."""
    wanted, divisor = multiplier * config.model_dim, config.ffn_dim_divisor
    size = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return size if size >= 0.9 * wanted else size + divisor


class FusedNormedAttention(FusedAttention):
    """Fused attention with normalized queries and keys. Parts: q, k and v; norms of q, k; o."""

    def project(self, x: Tensor, *parts: nn.Module) -> Projected:
        projection, q_norm, k_norm = parts
        q, k, v = super().project(x, projection)
        return q_norm(q), k_norm(k), v


def _layer(config: Config, heads: Heads, multiplier: float) -> PreNormLayer:
    hidden, inner = config.model_dim, intermediate_size(multiplier, config)
    attention = {
        "qkv_proj": Linear(hidden, (heads.query + 2 * heads.key_value) * heads.dim, bias=False),
        "q_norm": RMSNorm(heads.dim, _EPS),
        "k_norm": RMSNorm(heads.dim, _EPS),
        "out_proj": Linear(heads.query * heads.dim, hidden, bias=False),
    }
    feed_forward = {
        "proj_1": Linear(hidden, 2 * inner, bias=False),
        "proj_2": Linear(inner, hidden, bias=False),
    }
    return PreNormLayer(
        {
            "attn_norm": RMSNorm(hidden, _EPS),
            "attn": FusedNormedAttention(attention, heads),
            "ffn_norm": RMSNorm(hidden, _EPS),
            "ffn": FusedGatedFeedForward(feed_forward, activation("silu")),
        }
    )


class Model(CausalLM):
    """An OpenELM with its head. Raises CheckpointError for a config that is not implemented."""

    def __init__(self, config: Config) -> None:
        layers, dim = config.num_transformer_layers, config.head_dim
        lists = (config.num_query_heads, config.num_kv_heads, config.ffn_multipliers)
        if any(len(values) != layers for values in lists):
            raise CheckpointError(
                f"config.json: num_query_heads, num_kv_heads and ffn_multipliers have "
                f"{', '.join(str(len(values)) for values in lists)} entries; needs one for each of "
                f"{layers} layers"
            )
        heads = [checked_heads(q, kv, dim) for q, kv, _ in zip(*lists, strict=True)]
        embedding = Embedding(config.vocab_size, config.model_dim)
        parts = {
            "token_embeddings": embedding,
            "layers": nn.ModuleList(
                _layer(config, of_layer, multiplier)
                for of_layer, multiplier in zip(heads, config.ffn_multipliers, strict=True)
            ),
            "norm": RMSNorm(config.model_dim, _EPS),
        }
        kind = Kind(
            rope(RopeSettings(dim, config.rope_freq_constant, None, config.rope_max_length))
        )
        stack = Stack(parts, [kind] * layers)
        head = head_of(embedding, config.share_input_output_layers)
        super().__init__({"transformer": stack, "lm_head": head}, heads[0])
        self.heads_of_layers = heads

    def empty_cache(self, context_length: int, longest: int | None = None) -> list[KeyValue]:
        """Zeros: for each layer two [1, its kv_heads, context_length, head_dim]; none slides."""
        sizes = [(heads.key_value, heads.dim) for heads in self.heads_of_layers]
        return [layer for kv, dim in sizes for layer in empty(1, kv, context_length, dim)]
