"""The skeleton of a decoder: embedding, layers, norm and head, over an external cache."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from .attention import Heads, Step, causal_mask, held_mask
from .block import Block
from .kv_cache import KeyValue, empty, ring, window
from .rotary import RotaryEmbedding

# From a context length, since the tables of some scalings depend on it.
Rope = Callable[[int], RotaryEmbedding]
Bias = Callable[[int], Tensor]
Cache = Sequence[tuple[Tensor, Tensor]]


class Kind(NamedTuple):
    """What the layers of one kind share: how they know positions, and how far back they look.

    rope: the rotary embedding for a context length; reach: how many positions a sliding layer
    sees, its own included; bias: what is added to the scores, [1, heads, 1, context_length].
    """

    rope: Rope | None = None
    reach: int | None = None
    bias: Bias | None = None

    def slots(self, context_length: int, longest: int | None) -> int:
        """How many slots the cache of such a layer has, see `CausalLM.empty_cache`."""
        if self.reach is None or self.bias is not None or longest is None:
            return context_length
        return min(context_length, self.reach + longest - 1)

    def step(self, positions: Tensor, context_length: int, slots: int, mask: Tensor | None) -> Step:
        """What these layers need in one call; a mask that is given is narrowed to the reach."""
        rotation = None if self.rope is None else self.rope(context_length)(positions)
        if slots < context_length:
            windows, held = ring(positions, slots, context_length)
            seen = held_mask(positions, held, self.reach)
            if mask is not None:
                seen = seen + mask.index_select(3, held.clamp(max=context_length - 1))
            return Step(windows, seen, rotation)
        if mask is None:
            mask = causal_mask(positions, context_length, self.reach)
        elif self.reach is not None:
            mask = mask + causal_mask(positions, context_length, self.reach)
        if self.bias is not None:
            mask = mask + self.bias(context_length)
        return Step((window(positions, context_length),), mask, rotation)


class Stack(Block):
    """A decoder without its head.

    Parts: embedding, a ModuleList of layers, norm. kinds: of each layer, in order;
    embedding_scale: what the embedding is multiplied by.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        kinds: Sequence[Kind],
        embedding_scale: float = 1.0,
    ) -> None:
        super().__init__(parts)
        self.kinds = tuple(kinds)
        self.embedding_scale = embedding_scale

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Cache, mask: Tensor | None
    ) -> tuple[Tensor, list[KeyValue]]:
        """tokens: [1, time]; returns [1, time, hidden], and the cache of every layer."""
        *embeddings, layers, norm = self.children()
        slots = {kind: key.shape[2] for kind, (key, _) in zip(self.kinds, cache, strict=True)}
        context_length = max(slots.values())
        steps = {kind: kind.step(positions, context_length, slots[kind], mask) for kind in slots}
        x = self.embed(tokens, positions, *embeddings)
        written = []
        for layer, kind, of_layer in zip(layers.children(), self.kinds, cache, strict=True):
            x, updated = layer(x, steps[kind], KeyValue(*of_layer))
            written.append(updated)
        return norm(x), written

    def embed(self, tokens: Tensor, positions: Tensor, *embeddings: nn.Module) -> Tensor:
        """tokens: [1, time]; positions: [time]; returns [1, time, hidden]."""
        (embedding,) = embeddings
        x = embedding(tokens)
        return x if self.embedding_scale == 1 else x * self.embedding_scale


class CausalLM(Block):
    """A decoder with its head. Parts: a `Stack`, and the projection to logits."""

    def __init__(self, parts: Mapping[str, nn.Module], heads: Heads) -> None:
        super().__init__(parts)
        self.heads = heads

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Cache, mask: Tensor | None = None
    ) -> tuple[Tensor, list[KeyValue]]:
        """One chunk of the text, after what the cache holds.

        tokens: [1, time], integers; positions: [time], integers, consecutive; cache: from
        `empty_cache` or the last call; mask: [1, 1, time, context_length], added to the scores,
        causal where it is None. Returns logits [1, time, vocabulary] and the new cache.
        """
        stack, head = self.children()
        x, written = stack(tokens, positions, cache, mask)
        return self.logits(head(x)), written

    def logits(self, x: Tensor) -> Tensor:
        """What the model makes of its head's output, of the same shape."""
        return x

    def empty_cache(self, context_length: int, longest: int | None = None) -> list[KeyValue]:
        """Zeros: for each layer two [1, kv_heads, slots, head_dim].

        slots: context_length, or with longest, the tokens of the longest chunk to come, in sliding
        layers what their window and such a chunk take if that is less: a ring. Where all layers
        slide none is one, since the context length is known by the caches only.
        """
        stack, _ = self.children()
        assert isinstance(stack, Stack)
        slots = [kind.slots(context_length, longest) for kind in stack.kinds]
        if max(slots) < context_length:
            slots = [context_length] * len(slots)
        heads = self.heads
        return [cache for n in slots for cache in empty(1, heads.key_value, n, heads.dim)]
