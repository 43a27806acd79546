"""EmbeddingGemma: Gemma 3's text model whose layers look both ways, with pooling and dense layers.

Its config.json has the model_type gemma3_text, and use_bidirectional_attention beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from torch import Tensor, nn

from . import gemma3_text
from ._decoder import heads_of
from .layers.attention import Step
from .layers.encoder import Encoder, through
from .layers.linear import Embedding
from .layers.normalization import OffsetRMSNorm


@dataclass(frozen=True, kw_only=True)
class Config(gemma3_text.Config):
    """The keys of config.json that shape the forward pass.

    sliding_window: of both sides together, of which half is looked at to each.
    """

    sliding_window: int = field()
    use_bidirectional_attention: Literal[True]


class Model(Encoder):
    """An EmbeddingGemma. sentence: see `Encoder`. Raises CheckpointError as gemma3_text."""

    def __init__(self, config: Config, sentence: Mapping[str, nn.Module] | None = None) -> None:
        hidden, heads = config.hidden_size, heads_of(config, config.head_dim)
        layers = [gemma3_text.layer_of(config, heads) for _ in range(config.num_hidden_layers)]
        parts = {
            "embed_tokens": Embedding(config.vocab_size, hidden),
            "layers": nn.ModuleList(layers),
            "norm": OffsetRMSNorm(hidden, config.rms_norm_eps),
        }
        reach = config.sliding_window // 2 + 1
        kinds = gemma3_text.layer_kinds(replace(config, sliding_window=reach))
        super().__init__(parts, kinds, sentence or {})
        self.embedding_scale = math.sqrt(hidden)

    def hidden_states(self, tokens: Tensor, steps: Sequence[Step], *parts: nn.Module) -> Tensor:
        embedding, layers, norm = parts
        return norm(through(layers, embedding(tokens) * self.embedding_scale, steps))
