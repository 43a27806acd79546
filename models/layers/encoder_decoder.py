"""The skeleton of an encoder-decoder: a text in one call, then another one step by step."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .attention import Heads, Step, bidirectional_mask, causal_mask
from .block import Block
from .cross_attention import memory_mask
from .decoder import Cache
from .encoder import through
from .kv_cache import KeyValue, empty, window


class EncoderDecoder(Block):
    """An encoder and a decoder with its head.

    Parts: the embedding of both; a `TextStack`; a `CrossStack`; the projection to logits. heads: of
    the decoder's attentions.
    """

    def __init__(self, parts: Mapping[str, nn.Module], heads: Heads) -> None:
        super().__init__(parts)
        self.heads = heads

    def encode(self, tokens: Tensor, mask: Tensor) -> list[KeyValue]:
        """The memory of a text, which `forward` takes: of each layer of the decoder.

        tokens: [1, slots], integers; mask: [1, slots], integers, 1 for a token and 0 for padding.
        Returns two [1, kv_heads, slots, head_dim] each, whose slots of padding mean nothing.
        """
        _, encoder, decoder, _ = self.children()
        assert isinstance(decoder, CrossStack)
        return decoder.memory(encoder(tokens, mask.float()))

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Cache,
        mask: Tensor | None,
        memory: Cache,
        encoder_mask: Tensor,
    ) -> tuple[Tensor, list[KeyValue]]:
        """One chunk of the decoder's text, after what the cache holds.

        memory: from `encode`; encoder_mask: what `encode` took as its mask; all else as in
        `CausalLM`. Returns logits [1, time, vocabulary] and the new cache.
        """
        *_, decoder, head = self.children()
        of_memory = memory_mask(encoder_mask.float())
        x, written = decoder(tokens, positions, cache, mask, memory, of_memory)
        return head(self.scaled(x)), written

    def scaled(self, x: Tensor) -> Tensor:
        """What the head takes of the decoder's output, of the same shape."""
        return x

    def empty_cache(self, context_length: int) -> list[KeyValue]:
        """Zeros: for each layer two [1, kv_heads, context_length, head_dim]."""
        return self._empty(context_length)

    def empty_memory(self, slots: int) -> list[KeyValue]:
        """Zeros in the shape of what `encode` makes of a text of so many slots."""
        return self._empty(slots)

    def _empty(self, slots: int) -> list[KeyValue]:
        *_, decoder, _ = self.children()
        assert isinstance(decoder, CrossStack)
        return empty(len(decoder.layers), self.heads.key_value, slots, self.heads.dim)


class _Stack(Block):
    """Parts: embedding, a ModuleList of layers, norm."""

    @property
    def layers(self) -> list[Any]:
        _, layers, _ = self.children()
        return list(layers.children())


class TextStack(_Stack):
    """An encoder whose layers share a bias.

    Parts: embedding, a ModuleList of layers, norm. A layer takes x, a `Step` and None.
    """

    def forward(self, tokens: Tensor, present: Tensor) -> Tensor:
        """tokens: [1, time]; present: [1, time], float32; returns [1, time, hidden]."""
        embedding, layers, norm = self.children()
        mask = bidirectional_mask(present) + self.bias(tokens.shape[1])
        return norm(through(layers, embedding(tokens), [Step(None, mask, None)] * len(self.layers)))

    def bias(self, time: int) -> Tensor:
        """Added to the scores: [1, heads, time, time]."""
        raise NotImplementedError


class CrossStack(_Stack):
    """A decoder without its head, whose layers share a bias, and attend to an encoder's output too.

    Parts: embedding, a ModuleList of layers, norm. A layer's forward takes x, a `Step`, its cache,
    its memory and the memory's mask; its `memory` makes that of the encoder's output.
    """

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Cache,
        mask: Tensor | None,
        memory: Cache,
        memory_mask: Tensor,
    ) -> tuple[Tensor, list[KeyValue]]:
        """tokens: [1, time]; returns [1, time, hidden], and the cache of every layer."""
        embedding, _, norm = self.children()
        context_length = cache[0][0].shape[2]
        if mask is None:
            mask = causal_mask(positions, context_length)
        mask = mask + self.bias(positions, context_length)
        step = Step((window(positions, context_length),), mask, None)
        x, written = embedding(tokens), []
        for layer, own, other in zip(self.layers, cache, memory, strict=True):
            x, updated = layer(x, step, KeyValue(*own), KeyValue(*other), memory_mask)
            written.append(updated)
        return norm(x), written

    def bias(self, positions: Tensor, context_length: int) -> Tensor:
        """Added to the scores of self-attention: [1, heads, time, context_length]."""
        raise NotImplementedError

    def memory(self, states: Tensor) -> list[KeyValue]:
        """states: [1, slots, hidden]."""
        return [layer.memory(states) for layer in self.layers]
