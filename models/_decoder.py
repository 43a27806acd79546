"""What the decoders share: the keys of most config.json files, and their usual names."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import nn

from . import CheckpointError
from ._rope import RopeSettings, rope
from .layers.attention import Attention, Heads
from .layers.decoder import CausalLM, Kind, Rope, Stack
from .layers.feed_forward import Activation, GatedFeedForward, gated, gelu_tanh
from .layers.layer import PreNormLayer
from .layers.linear import Embedding, Linear
from .layers.normalization import RMSNorm

ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": F.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": F.relu,
    "silu": F.silu,
}
FULL, SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The keys of config.json that nearly all decoders have."""

    hidden_size: int
    intermediate_size: int
    max_position_embeddings: int
    num_attention_heads: int
    num_hidden_layers: int
    vocab_size: int
    hidden_act: str = "silu"
    num_key_value_heads: int | None = None
    rope_scaling: Mapping[str, Any] | None = None
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = False


@dataclass(frozen=True, kw_only=True)
class LlamaLikeConfig(DecoderConfig):
    """Those of decoders with RMSNorm."""

    rms_norm_eps: float = 1e-6


def heads_of(config: DecoderConfig, head_dim: int | None = None) -> Heads:
    """The heads; hidden_size is divided among them where head_dim is None."""
    query = config.num_attention_heads
    key_value = config.num_key_value_heads or query
    return checked_heads(query, key_value, head_dim or config.hidden_size // query)


def checked_heads(query: int, key_value: int, head_dim: int) -> Heads:
    """Raises CheckpointError unless the heads can be grouped and turned."""
    if query % key_value or head_dim % 2 or not head_dim:
        raise CheckpointError(
            f"config.json: num_attention_heads={query}, num_key_value_heads={key_value}, "
            f"head_dim={head_dim}: the heads must divide evenly, and head_dim by 2"
        )
    return Heads(query, key_value, head_dim)


def rope_of(config: DecoderConfig, dims: int) -> Rope:
    """The rotary embedding that config.json asks for, of so many dimensions of each head."""
    trained = config.max_position_embeddings
    return rope(RopeSettings(dims, config.rope_theta, config.rope_scaling, trained))


def partial_dims(factor: float, head_dim: int) -> int:
    """How many dimensions of each head partial_rotary_factor turns."""
    dims = int(head_dim * factor)
    if dims % 2 or not 0 < dims <= head_dim:
        raise CheckpointError(
            f"config.json: partial_rotary_factor={factor} of head_dim={head_dim} is {dims} "
            "dimensions; needs pairs"
        )
    return dims


def activation(name: str) -> Activation:
    """config.json's hidden_act."""
    if name not in ACTIVATIONS:
        raise CheckpointError(
            f"config.json: hidden_act={name!r:.80}: not implemented; {', '.join(ACTIVATIONS)} are"
        )
    return ACTIVATIONS[name]


def kinds_of(rope: Rope, window: int | None, layer_types: Sequence[str], layers: int) -> list[Kind]:
    """The kind of each layer by its name in layer_types: full, or sliding over a window."""
    kinds = {FULL: Kind(rope), SLIDING: Kind(rope, window)}
    return by_type(kinds, layer_types, layers)


def by_type(kinds: Mapping[str, Kind], layer_types: Sequence[str], layers: int) -> list[Kind]:
    """The kind of each layer by its name. Raises CheckpointError for one that there is not."""
    if len(layer_types) != layers or not set(layer_types) <= kinds.keys():
        raise CheckpointError(
            f"config.json: layer_types={list(layer_types)!r:.120}: needs one of "
            f"{', '.join(kinds)} for each of {layers} layers"
        )
    if SLIDING in layer_types and kinds[SLIDING].reach is None:
        raise CheckpointError(f"config.json: no sliding_window; {SLIDING} in layer_types needs it")
    return [kinds[kind] for kind in layer_types]


def pre_norm_layer(
    config: LlamaLikeConfig, attention: Attention, mlp_bias: bool = False
) -> PreNormLayer:
    """Llama's layer by its checkpoints' names, around an attention."""
    hidden, eps = config.hidden_size, config.rms_norm_eps
    return PreNormLayer(
        {
            "input_layernorm": RMSNorm(hidden, eps),
            "self_attn": attention,
            "post_attention_layernorm": RMSNorm(hidden, eps),
            "mlp": GatedFeedForward(
                gated(hidden, config.intermediate_size, mlp_bias), activation(config.hidden_act)
            ),
        }
    )


class Decoder(CausalLM):
    """A decoder by the most common names: model.embed_tokens, model.layers, model.norm, lm_head.

    layer: makes one; kinds: of each layer; norm: the last one; embedding_scale: see `Stack`.
    """

    def __init__(
        self,
        config: DecoderConfig,
        heads: Heads,
        layer: Callable[[], nn.Module],
        kinds: Sequence[Kind],
        norm: nn.Module,
        embedding_scale: float = 1.0,
    ) -> None:
        embedding = Embedding(config.vocab_size, config.hidden_size)
        layers = nn.ModuleList(layer() for _ in range(config.num_hidden_layers))
        parts = {"embed_tokens": embedding, "layers": layers, "norm": norm}
        head = head_of(embedding, config.tie_word_embeddings)
        super().__init__({"model": Stack(parts, kinds, embedding_scale), "lm_head": head}, heads)


def head_of(embedding: nn.Embedding, tied: bool, bias: bool = False) -> Linear:
    """The projection to logits; tied: its weight is the embedding's."""
    head = Linear(embedding.embedding_dim, embedding.num_embeddings, bias)
    if tied:
        head.weight = embedding.weight
    return head
