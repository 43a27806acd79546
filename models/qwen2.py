"""Qwen 2 and 2.5: Llama with biases on q, k and v."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ._decoder import (
    FULL,
    SLIDING,
    Decoder,
    LlamaLikeConfig,
    heads_of,
    kinds_of,
    pre_norm_layer,
    rope_of,
)
from ._gguf_mapping import GgufArchitecture
from ._gguf_tables import KEYS, NO_EXPERTS, RMS_NORM_EPS, TENSORS
from .layers.attention import Attention, Heads, projections
from .layers.linear import Linear
from .layers.normalization import RMSNorm

GGUF = GgufArchitecture(
    name="qwen2",
    config={**KEYS, **RMS_NORM_EPS},
    tensors=TENSORS,
    constants={"hidden_act": "silu"},
    harmless=NO_EXPERTS,
)


@dataclass(frozen=True, kw_only=True)
class Config(LlamaLikeConfig):
    """The keys of config.json that shape the forward pass."""

    layer_types: tuple[str, ...] | None = None
    max_window_layers: int = 28
    num_key_value_heads: int | None = 32
    sliding_window: int | None = 4096
    use_sliding_window: bool = False


def layer_types(config: Config) -> tuple[str, ...]:
    """config.json's, or as it says without: sliding from layer max_window_layers on."""
    full = config.num_hidden_layers
    if config.use_sliding_window and config.sliding_window is not None:
        full = min(config.max_window_layers, full)
    return config.layer_types or (FULL,) * full + (SLIDING,) * (config.num_hidden_layers - full)


class QwenDecoder(Decoder):
    """What Qwen 2 and 3 share: all but the attention that `layer` puts into a layer."""

    def __init__(self, config: Config, heads: Heads, layer: Callable[[], nn.Module]) -> None:
        window = config.sliding_window if config.use_sliding_window else None
        rope = rope_of(config, heads.dim)
        super().__init__(
            config,
            heads,
            layer,
            kinds=kinds_of(rope, window, layer_types(config), config.num_hidden_layers),
            norm=RMSNorm(config.hidden_size, config.rms_norm_eps),
        )


class Model(QwenDecoder):
    """A Qwen 2 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, heads = config.hidden_size, heads_of(config)

        def attention() -> Attention:
            parts = projections(hidden, heads, bias=True)
            parts["o_proj"] = Linear(heads.query * heads.dim, hidden, bias=False)
            return Attention(parts, heads.dim)

        super().__init__(config, heads, lambda: pre_norm_layer(config, attention()))
