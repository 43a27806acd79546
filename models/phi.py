"""Phi-1, 1.5 and 2: attention and a plain feed-forward in parallel, with biases everywhere."""

from dataclasses import dataclass

from torch import nn

from ._decoder import DecoderConfig, activation, head_of, heads_of, partial_dims, rope_of
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import KEYS, TENSORS, weights_and_biases
from .layers.attention import Attention, Heads, NormedAttention, projections
from .layers.decoder import CausalLM, Kind, Stack
from .layers.feed_forward import FeedForward
from .layers.layer import ParallelLayer
from .layers.linear import Embedding, Linear
from .layers.normalization import LayerNorm

GGUF = GgufArchitecture(
    name="phi2",
    config={
        **KEYS,
        "attention.layer_norm_epsilon": "layer_norm_eps",
        "rope.dimension_count": "rotary_dims",
    },
    tensors={
        **TENSORS,
        **weights_and_biases(
            {
                "blk.{i}.attn_output": "model.layers.{i}.self_attn.dense",
                "blk.{i}.ffn_up": "model.layers.{i}.mlp.fc1",
                "blk.{i}.ffn_down": "model.layers.{i}.mlp.fc2",
                "output_norm": "model.final_layernorm",
            }
        ),
    },
    constants={"hidden_act": "gelu_new"},
)


@dataclass(frozen=True, kw_only=True)
class Config(DecoderConfig):
    """The keys of config.json that shape the forward pass.

    rotary_dims: GGUF's form of partial_rotary_factor, which goes before it.
    """

    hidden_act: str = "gelu_new"
    layer_norm_eps: float = 1e-5
    partial_rotary_factor: float = 0.5
    qk_layernorm: bool = False
    rotary_dims: int | None = None


def _attention(config: Config, heads: Heads) -> Attention:
    parts = projections(config.hidden_size, heads, bias=True)
    output = parts.pop("o_proj")
    if not config.qk_layernorm:
        return Attention({**parts, "dense": output}, heads.dim)
    norms = {
        "q_layernorm": LayerNorm(heads.dim, config.layer_norm_eps),
        "k_layernorm": LayerNorm(heads.dim, config.layer_norm_eps),
    }
    return NormedAttention({**parts, **norms, "dense": output}, heads.dim)


class Model(CausalLM):
    """A Phi with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, inner, heads = config.hidden_size, config.intermediate_size, heads_of(config)
        act, eps = activation(config.hidden_act), config.layer_norm_eps
        dims = config.rotary_dims or partial_dims(config.partial_rotary_factor, heads.dim)

        def layer() -> ParallelLayer:
            mlp = {"fc1": Linear(hidden, inner), "fc2": Linear(inner, hidden)}
            return ParallelLayer(
                {
                    "input_layernorm": LayerNorm(hidden, eps),
                    "self_attn": _attention(config, heads),
                    "mlp": FeedForward(mlp, act),
                }
            )

        embedding = Embedding(config.vocab_size, hidden)
        parts = {
            "embed_tokens": embedding,
            "layers": nn.ModuleList(layer() for _ in range(config.num_hidden_layers)),
            "final_layernorm": LayerNorm(hidden, eps),
        }
        kinds = [Kind(rope_of(config, dims))] * config.num_hidden_layers
        head = head_of(embedding, config.tie_word_embeddings, bias=True)
        super().__init__({"model": Stack(parts, kinds), "lm_head": head}, heads)
