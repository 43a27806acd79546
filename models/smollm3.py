"""SmolLM3: Llama in which some layers do without rotary embeddings."""

from dataclasses import dataclass, replace
from typing import Literal

from . import CheckpointError, llama
from ._decoder import FULL, SLIDING, by_type, heads_of, rope_of
from ._gguf_tables import NO_EXPERTS
from .layers.decoder import Kind, Rope

GGUF = replace(llama.GGUF, name="smollm3", harmless=NO_EXPERTS)


@dataclass(frozen=True, kw_only=True)
class Config(llama.Config):
    """The keys of config.json that shape the forward pass."""

    layer_types: tuple[str, ...] | None = None
    no_rope_layer_interval: int = 4
    no_rope_layers: tuple[Literal[0, 1], ...] | None = None
    num_key_value_heads: int | None = 4
    rope_theta: float = 2000000.0
    sliding_window: int | None = None
    tie_word_embeddings: bool = True
    use_sliding_window: bool = False


def layer_kinds(config: Config, rope: Rope) -> list[Kind]:
    """Of each layer: whether it turns, as no_rope_layers says with 1, and whether it slides."""
    layers = config.num_hidden_layers
    turns = config.no_rope_layers or tuple(
        int((layer + 1) % config.no_rope_layer_interval != 0) for layer in range(layers)
    )
    if len(turns) < layers:
        raise CheckpointError(
            f"config.json: no_rope_layers has {len(turns)} entries; needs one for each of "
            f"{layers} layers"
        )
    slides = config.use_sliding_window and config.sliding_window is not None
    types = config.layer_types or [
        SLIDING if slides and not turn else FULL for turn in turns[:layers]
    ]
    window = config.sliding_window if slides else None
    kinds = by_type({FULL: Kind(rope), SLIDING: Kind(rope, window)}, types, layers)
    return [
        kind if turn else kind._replace(rope=None)
        for kind, turn in zip(kinds, turns[:layers], strict=True)
    ]


class Model(llama.Model):
    """A SmolLM3 with its head. Raises CheckpointError for a config that it does not implement."""

    def __init__(self, config: Config) -> None:
        heads = heads_of(config, config.head_dim)
        super().__init__(config, layer_kinds(config, rope_of(config, heads.dim)))
