"""Qwen 3: Qwen 2 with normalized queries and keys, and no biases."""

from dataclasses import dataclass, replace

from . import qwen2
from ._decoder import heads_of, pre_norm_layer
from ._gguf_tables import HEAD_DIM
from .layers.attention import NormedAttention, projections
from .layers.normalization import RMSNorm

GGUF = replace(qwen2.GGUF, name="qwen3", config={**qwen2.GGUF.config, **HEAD_DIM})


@dataclass(frozen=True, kw_only=True)
class Config(qwen2.Config):
    """The keys of config.json that shape the forward pass."""

    attention_bias: bool = False
    head_dim: int = 128


class Model(qwen2.QwenDecoder):
    """A Qwen 3 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        hidden, heads = config.hidden_size, heads_of(config, config.head_dim)

        def attention() -> NormedAttention:
            parts = projections(hidden, heads, config.attention_bias)
            output = parts.pop("o_proj")
            parts["q_norm"] = RMSNorm(heads.dim, config.rms_norm_eps)
            parts["k_norm"] = RMSNorm(heads.dim, config.rms_norm_eps)
            return NormedAttention({**parts, "o_proj": output}, heads.dim)

        super().__init__(config, heads, lambda: pre_norm_layer(config, attention()))
