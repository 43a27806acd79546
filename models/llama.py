"""Llama, and what shares its architecture: Llama 2 and 3, TinyLlama, SmolLM2."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import CheckpointError
from ._gguf_mapping import GgufArchitecture, GgufTensor
from .layers.attention import Attention, Step, causal_mask
from .layers.feed_forward import GatedFeedForward
from .layers.kv_cache import KeyValue, empty, window
from .layers.linear import Embedding, Linear
from .layers.normalization import RMSNorm
from .layers.rotary import (
    RotaryEmbedding,
    inverse_frequencies,
    llama3_frequencies,
)

GGUF = GgufArchitecture(
    name="llama",
    config={
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.key_length": "head_dim",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
        "attention.value_length": "head_dim",
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "rope.dimension_count": "head_dim",
        "rope.freq_base": "rope_theta",
        "vocab_size": "vocab_size",
    },
    tensors={
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.{i}.attn_norm.weight": "model.layers.{i}.input_layernorm.weight",
        "blk.{i}.attn_q.weight": GgufTensor(
            "model.layers.{i}.self_attn.q_proj.weight", heads="num_attention_heads"
        ),
        "blk.{i}.attn_q.bias": GgufTensor(
            "model.layers.{i}.self_attn.q_proj.bias", heads="num_attention_heads"
        ),
        "blk.{i}.attn_k.weight": GgufTensor(
            "model.layers.{i}.self_attn.k_proj.weight", heads="num_key_value_heads"
        ),
        "blk.{i}.attn_k.bias": GgufTensor(
            "model.layers.{i}.self_attn.k_proj.bias", heads="num_key_value_heads"
        ),
        "blk.{i}.attn_v.weight": "model.layers.{i}.self_attn.v_proj.weight",
        "blk.{i}.attn_v.bias": "model.layers.{i}.self_attn.v_proj.bias",
        "blk.{i}.attn_output.weight": "model.layers.{i}.self_attn.o_proj.weight",
        "blk.{i}.attn_output.bias": "model.layers.{i}.self_attn.o_proj.bias",
        "blk.{i}.ffn_norm.weight": "model.layers.{i}.post_attention_layernorm.weight",
        "blk.{i}.ffn_gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
        "blk.{i}.ffn_gate.bias": "model.layers.{i}.mlp.gate_proj.bias",
        "blk.{i}.ffn_up.weight": "model.layers.{i}.mlp.up_proj.weight",
        "blk.{i}.ffn_up.bias": "model.layers.{i}.mlp.up_proj.bias",
        "blk.{i}.ffn_down.weight": "model.layers.{i}.mlp.down_proj.weight",
        "blk.{i}.ffn_down.bias": "model.layers.{i}.mlp.down_proj.bias",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    },
    constants={"hidden_act": "silu"},
    present={"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"},
    harmless={"expert_count": (0,), "tensor_data_layout": ("Meta AI original pth",)},
)

# rope_type in config.json -> its keys there, and what `llama3_frequencies` calls them.
ROPE_SCALING: Mapping[str, Mapping[str, str]] = {
    "default": {},
    # What llama.cpp stores of Llama 3's: a divisor for each frequency.
    "factors": {"factors": "factors"},
    "llama3": {
        "factor": "factor",
        "low_freq_factor": "low_freq_factor",
        "high_freq_factor": "high_freq_factor",
        "original_max_position_embeddings": "original_context_length",
    },
}


@dataclass(frozen=True)
class Config:
    """The keys of config.json that shape the forward pass."""

    hidden_size: int
    intermediate_size: int
    max_position_embeddings: int
    num_attention_heads: int
    num_hidden_layers: int
    rms_norm_eps: float
    vocab_size: int
    attention_bias: bool = False
    head_dim: int | None = None
    hidden_act: str = "silu"
    mlp_bias: bool = False
    num_key_value_heads: int | None = None
    rope_scaling: Mapping[str, Any] | None = None
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = False


class Layer(nn.Module):
    """Attention, then feed-forward, each on the normalized stream and added back to it."""

    def __init__(self, config: Config, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        hidden, inner = config.hidden_size, config.intermediate_size
        bias, mlp_bias = config.attention_bias, config.mlp_bias
        self.input_layernorm = RMSNorm(hidden, config.rms_norm_eps)
        self.self_attn = Attention(
            q_proj=Linear(hidden, heads * head_dim, bias),
            k_proj=Linear(hidden, kv_heads * head_dim, bias),
            v_proj=Linear(hidden, kv_heads * head_dim, bias),
            o_proj=Linear(heads * head_dim, hidden, bias),
            head_dim=head_dim,
        )
        self.post_attention_layernorm = RMSNorm(hidden, config.rms_norm_eps)
        self.mlp = GatedFeedForward(
            gate_proj=Linear(hidden, inner, mlp_bias),
            up_proj=Linear(hidden, inner, mlp_bias),
            down_proj=Linear(inner, hidden, mlp_bias),
            activation=F.silu,
        )

    def forward(self, x: Tensor, step: Step, cache: KeyValue) -> tuple[Tensor, KeyValue]:
        """x: [1, time, hidden_size]; returns the same shape, and the layer's cache."""
        y, cache = self.self_attn(self.input_layernorm(x), step, cache)
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), cache


class Decoder(nn.Module):
    """The embedding, the layers and the last norm: all but the head, as the checkpoint has it."""

    def __init__(self, config: Config, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            Layer(config, heads, kv_heads, head_dim) for _ in range(config.num_hidden_layers)
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary = RotaryEmbedding(rope_frequencies(config, head_dim))

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Sequence[tuple[Tensor, Tensor]],
        mask: Tensor | None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """tokens: [1, time]; returns [1, time, hidden_size], and the cache of every layer."""
        context_length = cache[0][0].shape[2]
        if mask is None:
            mask = causal_mask(positions, context_length)
        step = Step(window(positions, context_length), mask, self.rotary(positions))
        x = self.embed_tokens(tokens)
        written = []
        for layer, layer_cache in zip(self.layers, cache, strict=True):
            x, updated = layer(x, step, KeyValue(*layer_cache))
            written.append(updated)
        return self.norm(x), written


class Model(nn.Module):
    """A Llama with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.hidden_act != "silu":
            raise CheckpointError(
                f"config.json: hidden_act={config.hidden_act!r}: models/llama.py has 'silu' only"
            )
        heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads or heads
        self.head_dim = config.head_dim or config.hidden_size // heads
        if heads % self.kv_heads or self.head_dim % 2:
            raise CheckpointError(
                f"config.json: num_attention_heads={heads}, num_key_value_heads={self.kv_heads}, "
                f"head_dim={self.head_dim}: the heads must divide evenly, and head_dim by 2"
            )
        self.model = Decoder(config, heads, self.kv_heads, self.head_dim)
        self.lm_head = Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Sequence[tuple[Tensor, Tensor]],
        mask: Tensor | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """One chunk of the text, after what the cache holds.

        tokens: [1, time], integers; positions: [time], integers, consecutive; cache: from
        `empty_cache` or the last call; mask: [1, 1, time, context_length], added to the scores,
        causal where it is None. Returns logits [1, time, vocab_size] and the new cache.
        """
        x, written = self.model(tokens, positions, cache, mask)
        return self.lm_head(x), written

    def empty_cache(self, context_length: int) -> list[KeyValue]:
        """Zeros: for each layer two [1, kv_heads, context_length, head_dim]."""
        return empty(len(self.model.layers), self.kv_heads, context_length, self.head_dim)


def rope_frequencies(config: Config, head_dim: int) -> Tensor:
    """The rotary frequencies that config.json asks for: [head_dim / 2], float32."""
    frequencies = inverse_frequencies(head_dim, config.rope_theta)
    scaling = dict(config.rope_scaling or {})
    rope_type = scaling.pop("rope_type", "default")
    keys = ROPE_SCALING.get(rope_type)
    if keys is None or scaling.keys() != keys.keys():
        known = "; ".join(
            f"{name} with {', '.join(k) or 'nothing'}" for name, k in ROPE_SCALING.items()
        )
        raise CheckpointError(
            f"config.json: rope_scaling={config.rope_scaling}: models/llama.py has {known}"
        )
    if rope_type == "default":
        return frequencies
    if rope_type == "factors":
        return _divided(frequencies, scaling["factors"])
    if scaling["low_freq_factor"] >= scaling["high_freq_factor"]:
        raise CheckpointError(
            f"config.json: rope_scaling={config.rope_scaling}: low_freq_factor must be less than "
            "high_freq_factor"
        )
    return llama3_frequencies(frequencies, **{keys[key]: scaling[key] for key in keys})


def _divided(frequencies: Tensor, factors: Sequence[float]) -> Tensor:
    if len(factors) != len(frequencies):
        raise CheckpointError(
            f"rope_freqs.weight: {len(factors)} factors; head_dim / 2 = {len(frequencies)} needed"
        )
    return frequencies / torch.tensor(factors, device="cpu")
