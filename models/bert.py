"""BERT, MiniLM and the like: an encoder with learned positions, norms behind each sum, exact GELU.

With sentence-transformers' files beside it, an embedding of a sentence; else its hidden states. Its
pooler and its heads for training (masked tokens, next sentence) are not used, a head of another
kind is refused. One text at a time: the token types of a second one are not used either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from . import CheckpointError
from ._decoder import activation, checked_heads
from ._hub_layout import HubLayout
from .layers.attention import Attention, Heads, Projected, Step
from .layers.block import Block
from .layers.decoder import Kind
from .layers.encoder import Encoder, through
from .layers.feed_forward import Activation
from .layers.kv_cache import KeyValue
from .layers.linear import Embedding, Linear
from .layers.normalization import LayerNorm

HUB = HubLayout(
    dropped_prefix="bert.",
    endings={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
    unused=r"pooler\.dense\.(weight|bias)|cls\.(predictions|seq_relationship)\..+",
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of config.json that shape the forward pass, and of the unused head."""

    hidden_size: int
    intermediate_size: int
    max_position_embeddings: int
    num_attention_heads: int
    num_hidden_layers: int
    vocab_size: int
    hidden_act: str = "gelu"
    is_decoder: Literal[False] = False
    layer_norm_eps: float = 1e-12
    position_embedding_type: Literal["absolute"] | None = "absolute"
    # Of the head for masked tokens.
    tie_word_embeddings: bool = True
    type_vocab_size: int = 2


class Embeddings(Block):
    """The norm of the sum of three rows. Parts: the tables of words, positions and types; norm."""

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: [1, time]; returns [1, time, hidden]."""
        words, positions, types, norm = self.children()
        places = torch.arange(tokens.shape[1], device="cpu")
        return norm(words(tokens) + types(torch.zeros_like(places)) + positions(places))


class AddNorm(Block):
    """norm(x + linear(y)). Parts: a linear layer, norm."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """x: [1, time, hidden], which is also what is returned; y: [1, time, in_features]."""
        linear, norm = self.children()
        return norm(linear(y) + x)


class SelfAttention(Attention):
    """norm(x + attention(x)). Parts: a block of q, k and v; `AddNorm`, which has the output."""

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        projections, output = self.children()
        y, written = self.mix(x, step, cache, projections)
        return output(x, y), written

    def project(self, x: Tensor, *parts: nn.Module) -> Projected:
        (projections,) = parts
        return super().project(x, *projections.children())


class Layer(Block):
    """norm(x + attention(x)), then norm(x + feed_forward(x)).

    Parts: `SelfAttention`, a block of the feed-forward's first layer, `AddNorm` with its second.
    Source: Vaswani et al. 2017, section 3.1.
    """

    part = "feed_forward"

    def __init__(self, parts: Mapping[str, nn.Module], activation: Activation) -> None:
        super().__init__(parts)
        self.activation = activation

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        attention, intermediate, output = self.children()
        x, written = attention(x, step, cache)
        (up,) = intermediate.children()
        return output(x, self.activation(up(x))), written


def _layer(config: Config, heads: Heads) -> Layer:
    hidden, inner = config.hidden_size, config.intermediate_size

    def add_norm(width: int) -> AddNorm:
        norm = LayerNorm(hidden, config.layer_norm_eps)
        return AddNorm({"dense": Linear(width, hidden), "LayerNorm": norm})

    projections = Block({name: Linear(hidden, hidden) for name in ("query", "key", "value")})
    return Layer(
        {
            "attention": SelfAttention(
                {"self": projections, "output": add_norm(hidden)}, heads.dim
            ),
            "intermediate": Block({"dense": Linear(hidden, inner)}),
            "output": add_norm(inner),
        },
        activation(config.hidden_act),
    )


class Model(Encoder):
    """A BERT. sentence: see `Encoder`. Raises CheckpointError for a config not implemented."""

    def __init__(self, config: Config, sentence: Mapping[str, nn.Module] | None = None) -> None:
        hidden, count = config.hidden_size, config.num_attention_heads
        if hidden % count:
            raise CheckpointError(
                f"config.json: hidden_size={hidden}: needs a multiple of "
                f"num_attention_heads={count}"
            )
        heads = checked_heads(count, count, hidden // count)
        embeddings = {
            "word_embeddings": Embedding(config.vocab_size, hidden),
            "position_embeddings": Embedding(config.max_position_embeddings, hidden),
            "token_type_embeddings": Embedding(config.type_vocab_size, hidden),
            "LayerNorm": LayerNorm(hidden, config.layer_norm_eps),
        }
        layers = nn.ModuleList(_layer(config, heads) for _ in range(config.num_hidden_layers))
        parts = {"embeddings": Embeddings(embeddings), "encoder": Block({"layer": layers})}
        super().__init__(parts, [Kind()] * len(layers), sentence or {})

    def hidden_states(self, tokens: Tensor, steps: Sequence[Step], *parts: nn.Module) -> Tensor:
        embeddings, encoder = parts
        (layers,) = encoder.children()
        return through(layers, embeddings(tokens), steps)
