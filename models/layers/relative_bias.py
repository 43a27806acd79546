"""Relative position bias: what attention adds to a score for how far apart two positions are."""

import math

import torch
from torch import Tensor

from .. import CheckpointError
from .attention import Attention, Step
from .kv_cache import KeyValue
from .linear import Embedding

# Of a text that is there as a whole: the bias is a constant of the model, of 256 MB.
_MOST_SCORES = 1 << 26


def relative_buckets(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """The bucket of each distance: of distances' shape, int64, from 0 to buckets - 1.

    distances: integers of at least 0. The first half of the buckets are for one distance each, the
    others grow with the logarithm, up to max_distance; the last one has all beyond.
    Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning", section 2.1; the
    rounding is that of its code, on which trained weights depend.
    """
    exact = buckets // 2
    # Of those within `exact`, the logarithm is not used; of 0 there is none.
    ratios = torch.log(distances.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    wide = (exact + (ratios * (buckets - exact)).long()).clamp(max=buckets - 1)
    return torch.where(distances < exact, distances, wide)


class RelativeBias(Embedding):
    """A learned bias for each head and bucket of distances: weight [buckets, heads].

    max_distance: from which on all distances share a bucket. Of the two ways to look, a model has
    one; the scores of all its layers get the same bias.
    """

    def __init__(self, buckets: int, heads: int, max_distance: int) -> None:
        super().__init__(buckets, heads)
        self.max_distance = max_distance

    def bidirectional(self, time: int) -> Tensor:
        """For a text that is there as a whole: [1, heads, time, time], float32.

        Half of the buckets are for keys at or before the query, the others for those behind it.
        Raises CheckpointError for a text that is too long.
        """
        scores = self.embedding_dim * time * time
        if scores > _MOST_SCORES:
            raise CheckpointError(
                f"an encode length of {time}: has {scores} biases for {self.embedding_dim} heads; "
                f"needs {_MOST_SCORES} at most"
            )
        half = self.num_embeddings // 2
        offsets = torch.arange(1 - time, time, device="cpu")  # of the key from the query
        found = relative_buckets(offsets.abs(), half, self.max_distance) + half * (offsets > 0)
        places = torch.arange(time, device="cpu")
        index = places - places[:, None] + time - 1
        return self._gather(found, index)

    def causal(self, positions: Tensor, context_length: int) -> Tensor:
        """For keys in the slots of a cache: [1, heads, time, context_length], float32.

        positions: [time], integers, of the queries. Slots behind a query, which a mask hides, have
        the bias of its own.
        """
        distances = torch.arange(context_length, device="cpu")
        found = relative_buckets(distances, self.num_embeddings, self.max_distance)
        slots = torch.arange(context_length, device=positions.device)
        # A runtime may pad a chunk with positions beyond the cache, and TFLite fails on those.
        index = (positions[:, None] - slots).clamp(0, context_length - 1)
        return self._gather(found, index)

    def _gather(self, buckets: Tensor, index: Tensor) -> Tensor:
        """The bias of each index's bucket. index: [time, slots], into buckets.

        A table of all distances is a constant of the graph, so that the graph has one gather.
        """
        table = self.weight.index_select(0, buckets).T
        return table.index_select(1, index.reshape(-1)).reshape(1, -1, *index.shape)


class BiasedAttention(Attention):
    """An attention that holds the bias of all layers, which reaches it in the mask as the others.

    Parts: those of `Attention`; `RelativeBias`.
    """

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        *parts, output, _ = self.children()
        y, written = self.mix(x, step, cache, *parts)
        return output(y), written
