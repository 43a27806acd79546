"""GPT-2: learned positions, and a plain feed-forward. Its Hub files store matrices [in, out]."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import CheckpointError
from ._decoder import activation, checked_heads, head_of
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import weights_and_biases
from ._hub_layout import HubLayout
from .layers.attention import FusedAttention, Heads
from .layers.decoder import CausalLM, Kind, Stack
from .layers.feed_forward import FeedForward
from .layers.kv_cache import KeyValue
from .layers.layer import PreNormLayer
from .layers.linear import Embedding, Linear
from .layers.normalization import LayerNorm

HUB = HubLayout(
    prefix="transformer.",
    transposed=r"transformer\.h\.\d+\.(attn|mlp)\.c_(attn|proj|fc)\.weight",
    unused=r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",
)
GGUF = GgufArchitecture(
    name="gpt2",
    config={
        "attention.head_count": "n_head",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
        "block_count": "n_layer",
        "context_length": "n_positions",
        "embedding_length": "n_embd",
        "feed_forward_length": "n_inner",
    },
    tensors=weights_and_biases(
        {
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "blk.{i}.attn_norm": "transformer.h.{i}.ln_1",
            "blk.{i}.attn_qkv": "transformer.h.{i}.attn.c_attn",
            "blk.{i}.attn_output": "transformer.h.{i}.attn.c_proj",
            "blk.{i}.ffn_norm": "transformer.h.{i}.ln_2",
            "blk.{i}.ffn_up": "transformer.h.{i}.mlp.c_fc",
            "blk.{i}.ffn_down": "transformer.h.{i}.mlp.c_proj",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        }
    ),
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of config.json that shape the forward pass, and those of its unused heads."""

    n_embd: int
    n_head: int
    n_layer: int
    n_positions: int
    vocab_size: int
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    n_ctx: int | None = None
    n_inner: int | None = None
    # Of a head for multiple choice, which no checkpoint for generation has.
    summary_activation: str | None = None
    summary_first_dropout: float | None = None
    summary_proj_to_labels: bool = True
    summary_type: str | None = None
    summary_use_proj: bool = True
    tie_word_embeddings: bool = True


class PositionedStack(Stack):
    """A stack with learned positions. Parts: embedding, positions, layers, norm."""

    def embed(self, tokens: Tensor, positions: Tensor, *embeddings: nn.Module) -> Tensor:
        embedding, table = embeddings
        assert isinstance(table, nn.Embedding)
        # A runtime may pad a chunk with positions beyond the table, and TFLite fails on those.
        positions = torch.clamp(positions, 0, table.num_embeddings - 1)
        return embedding(tokens) + table(positions)


def _layer(config: Config, heads: Heads) -> PreNormLayer:
    hidden, eps = config.n_embd, config.layer_norm_epsilon
    inner = config.n_inner or 4 * hidden
    attention = {"c_attn": Linear(hidden, 3 * hidden), "c_proj": Linear(hidden, hidden)}
    mlp = {"c_fc": Linear(hidden, inner), "c_proj": Linear(inner, hidden)}
    return PreNormLayer(
        {
            "ln_1": LayerNorm(hidden, eps),
            "attn": FusedAttention(attention, heads),
            "ln_2": LayerNorm(hidden, eps),
            "mlp": FeedForward(mlp, activation(config.activation_function)),
        }
    )


class Model(CausalLM):
    """A GPT-2 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        heads = checked_heads(config.n_head, config.n_head, config.n_embd // config.n_head)
        embedding = Embedding(config.vocab_size, config.n_embd)
        parts: dict[str, nn.Module] = {
            "wte": embedding,
            "wpe": Embedding(config.n_positions, config.n_embd),
            "h": nn.ModuleList(_layer(config, heads) for _ in range(config.n_layer)),
            "ln_f": LayerNorm(config.n_embd, config.layer_norm_epsilon),
        }
        stack = PositionedStack(parts, [Kind()] * config.n_layer)
        head = head_of(embedding, config.tie_word_embeddings)
        super().__init__({"transformer": stack, "lm_head": head}, heads)
        self.n_positions = config.n_positions

    def empty_cache(self, context_length: int, longest: int | None = None) -> list[KeyValue]:
        """As `CausalLM.empty_cache`. Raises CheckpointError beyond the last position."""
        if context_length > self.n_positions:
            raise CheckpointError(
                f"config.json: n_positions={self.n_positions}: a context length of "
                f"{context_length} needs as many learned positions"
            )
        return super().empty_cache(context_length, longest)
