"""T5, 1.1 and FLAN-T5: an encoder, and a decoder that also attends to what the encoder made.

Positions are known by a bias only, which the first layer has for all; scores are not scaled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from ._decoder import activation, head_of
from ._hub_layout import HubLayout
from .layers.attention import Attention, Heads, Step, scaled
from .layers.block import Block
from .layers.cross_attention import CrossAttention
from .layers.encoder_decoder import CrossStack, EncoderDecoder, TextStack
from .layers.feed_forward import FeedForward, GatedFeedForward
from .layers.kv_cache import KeyValue
from .layers.linear import Embedding, Linear
from .layers.normalization import RMSNorm
from .layers.relative_bias import BiasedAttention, RelativeBias

# Files of the first T5 have a bias there, which transformers ignores too.
HUB = HubLayout(
    unused=r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight"
)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The keys of config.json that shape the forward pass, and what some files say besides."""

    d_ff: int
    d_kv: int
    d_model: int
    num_heads: int
    num_layers: int
    vocab_size: int
    feed_forward_proj: Literal["relu", "gated-gelu"] = "relu"
    is_encoder_decoder: Literal[True] = True
    layer_norm_epsilon: float = 1e-6
    num_decoder_layers: int | None = None
    relative_attention_max_distance: int = 128
    relative_attention_num_buckets: int = 32
    # Whether the decoder's output is scaled by d_model ** -0.5; None: where the head is tied.
    scale_decoder_outputs: bool | None = None
    tie_word_embeddings: bool = True
    # feed_forward_proj again, in two words.
    dense_act_fn: Literal["relu", "gelu_new"] | None = None
    is_gated_act: bool | None = None
    # Of the texts that it was trained on.
    n_positions: int | None = None

    def __post_init__(self) -> None:
        buckets, most = self.relative_attention_num_buckets, self.relative_attention_max_distance
        if buckets < 4 or buckets % 2 or most <= buckets // 2:
            raise ValueError(
                f"relative_attention_num_buckets={buckets}, relative_attention_max_distance={most}:"
                " needs an even number from 4, and a distance of more than half of it"
            )
        for key, own in (("dense_act_fn", self.inner_activation), ("is_gated_act", self.gated)):
            if getattr(self, key) not in (None, own):
                raise ValueError(
                    f"{key}={getattr(self, key)!r} with feed_forward_proj="
                    f"{self.feed_forward_proj!r}: needs {own!r}"
                )

    @property
    def gated(self) -> bool:
        return self.feed_forward_proj == "gated-gelu"

    @property
    def inner_activation(self) -> str:
        return "gelu_new" if self.gated else "relu"


class Layer(Block):
    """x + part(norm(x)) of attention, of cross-attention in a decoder, of a feed-forward.

    Parts: a ModuleList of blocks, each of such a part and its norm.
    """

    def forward(
        self, x: Tensor, step: Step, cache: KeyValue | None, *memory_and_mask: KeyValue | Tensor
    ) -> tuple[Tensor, KeyValue]:
        (attention, norm), *cross, (feed_forward, last_norm) = _pairs(self)
        y, written = attention(norm(x), step, cache)
        x = x + y
        for attention, norm in cross:
            x = x + attention(norm(x), *memory_and_mask)
        return x + feed_forward(last_norm(x)), written

    def memory(self, states: Tensor) -> KeyValue:
        """The cross-attention's keys and values of the encoder's output."""
        _, (cross, _), _ = _pairs(self)
        assert isinstance(cross, CrossAttention)
        return cross.memory(states)


def _pairs(layer: nn.Module) -> list[list[nn.Module]]:
    (blocks,) = layer.children()
    return [list(block.children()) for block in blocks.children()]


class Encoder(TextStack):
    """The encoder."""

    def bias(self, time: int) -> Tensor:
        return _bias(self).bidirectional(time)


class Decoder(CrossStack):
    """The decoder."""

    def bias(self, positions: Tensor, context_length: int) -> Tensor:
        return _bias(self).causal(positions, context_length)


def _bias(stack: TextStack | CrossStack) -> RelativeBias:
    (attention, _), *_ = _pairs(stack.layers[0])
    *_, bias = attention.children()
    assert isinstance(bias, RelativeBias)
    return bias


def _attention(config: Config) -> dict[str, nn.Module]:
    hidden, inner = config.d_model, config.num_heads * config.d_kv
    parts: dict[str, nn.Module] = {name: Linear(hidden, inner, bias=False) for name in "qkv"}
    return {**parts, "o": Linear(inner, hidden, bias=False)}


def _self_attention(config: Config, first: bool) -> Attention:
    parts, attend = _attention(config), scaled(1.0)
    if not first:
        return Attention(parts, config.d_kv, attend)
    buckets, most = config.relative_attention_num_buckets, config.relative_attention_max_distance
    parts["relative_attention_bias"] = RelativeBias(buckets, config.num_heads, most)
    return BiasedAttention(parts, config.d_kv, attend)


def _feed_forward(config: Config) -> nn.Module:
    hidden, inner = config.d_model, config.d_ff
    down, function = Linear(inner, hidden, bias=False), activation(config.inner_activation)
    if config.gated:
        names = {name: Linear(hidden, inner, bias=False) for name in ("wi_0", "wi_1")}
        return GatedFeedForward({**names, "wo": down}, function)
    return FeedForward({"wi": Linear(hidden, inner, bias=False), "wo": down}, function)


def _layer(config: Config, parts: Mapping[str, nn.Module]) -> Layer:
    width, eps = config.d_model, config.layer_norm_epsilon
    blocks = [
        Block({name: part, "layer_norm": RMSNorm(width, eps)}) for name, part in parts.items()
    ]
    return Layer({"layer": nn.ModuleList(blocks)})


def _encoder_layer(config: Config, first: bool) -> Layer:
    own, last = _self_attention(config, first), _feed_forward(config)
    return _layer(config, {"SelfAttention": own, "DenseReluDense": last})


def _decoder_layer(config: Config, first: bool) -> Layer:
    own, last = _self_attention(config, first), _feed_forward(config)
    cross = CrossAttention(_attention(config), config.d_kv, scaled(1.0))
    parts = {"SelfAttention": own, "EncDecAttention": cross, "DenseReluDense": last}
    return _layer(config, parts)


class Model(EncoderDecoder):
    """A T5 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        embedding = Embedding(config.vocab_size, config.d_model)

        def parts(layer: Callable[[Config, bool], Layer], count: int) -> dict[str, nn.Module]:
            layers = nn.ModuleList(layer(config, i == 0) for i in range(count))
            norm = RMSNorm(config.d_model, config.layer_norm_epsilon)
            return {"embed_tokens": embedding, "block": layers, "final_layer_norm": norm}

        layers = config.num_decoder_layers or config.num_layers
        super().__init__(
            {
                "shared": embedding,
                "encoder": Encoder(parts(_encoder_layer, config.num_layers)),
                "decoder": Decoder(parts(_decoder_layer, layers)),
                "lm_head": head_of(embedding, config.tie_word_embeddings),
            },
            Heads(config.num_heads, config.num_heads, config.d_kv),
        )
        tied = config.tie_word_embeddings
        is_scaled = tied if config.scale_decoder_outputs is None else config.scale_decoder_outputs
        self.scale = config.d_model**-0.5 if is_scaled else 1.0

    def scaled(self, x: Tensor) -> Tensor:
        return x if self.scale == 1 else x * self.scale
