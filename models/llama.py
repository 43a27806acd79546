"""Llama, and what shares its architecture: Llama 2 and 3, TinyLlama, SmolLM 1 and 2."""

from collections.abc import Sequence
from dataclasses import dataclass

from ._decoder import Decoder, LlamaLikeConfig, heads_of, pre_norm_layer, rope_of
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import HEAD_DIM, KEYS, NO_EXPERTS, RMS_NORM_EPS, TENSORS, interleaved
from .layers.attention import Attention, projections
from .layers.decoder import Kind
from .layers.normalization import RMSNorm

GGUF = GgufArchitecture(
    name="llama",
    config={**KEYS, **HEAD_DIM, **RMS_NORM_EPS},
    tensors=interleaved(TENSORS),
    constants={"hidden_act": "silu"},
    present={"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"},
    harmless={**NO_EXPERTS, "tensor_data_layout": ("Meta AI original pth",)},
)


@dataclass(frozen=True, kw_only=True)
class Config(LlamaLikeConfig):
    """The keys of config.json that shape the forward pass."""

    attention_bias: bool = False
    head_dim: int | None = None
    mlp_bias: bool = False


class Model(Decoder):
    """A Llama with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config, kinds: Sequence[Kind] | None = None) -> None:
        """kinds: of the layers, where they are not all alike."""
        hidden, heads = config.hidden_size, heads_of(config, config.head_dim)
        super().__init__(
            config,
            heads,
            layer=lambda: pre_norm_layer(
                config,
                Attention(projections(hidden, heads, config.attention_bias), heads.dim),
                config.mlp_bias,
            ),
            kinds=kinds or [Kind(rope_of(config, heads.dim))] * config.num_hidden_layers,
            norm=RMSNorm(hidden, config.rms_norm_eps),
        )
