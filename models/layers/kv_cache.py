"""The external key/value cache: keys and values of all positions so far, passed in and out.

A runtime feeds a prompt in chunks of a signature's fixed length and pads the last chunk, so a
chunk may reach past the end of the cache although each of its real tokens fits. TFLite's
DYNAMIC_UPDATE_SLICE then moves the whole chunk back until it fits, on top of history: garbage from
there on. Here a chunk is instead written as the last window of slots that fits, in which the slots
before the chunk keep what they hold, and the padding that has no slot is dropped. Every position
below context_length is stored right, whichever prefill length the runtime picks.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class KeyValue(NamedTuple):
    """One layer's cache. key and value: [batch, kv_heads, context_length, head_dim], float32."""

    key: Tensor
    value: Tensor


class Window(NamedTuple):
    """The consecutive cache slots that one call writes, and what goes into them.

    slots: [time], int64, consecutive; kept: [time, 1], bool, the slots that keep what they hold;
    source: [time], int64, for each other slot the row of the chunk that it takes.
    kept and source are None where a chunk always fits, that is for a single position.
    """

    slots: Tensor
    kept: Tensor | None
    source: Tensor | None


def window(positions: Tensor, context_length: int) -> Window:
    """Where a chunk goes that starts at positions[0].

    positions: [time], integers. Only the first one counts: a runtime numbers the tokens of a chunk
    consecutively, and pads with whatever it likes. time must not exceed context_length.
    """
    time = positions.shape[0]
    if time == 1:
        return Window(positions.long(), None, None)
    first = positions[:1].long()
    start = first.clamp(max=context_length - time)
    shift = first - start
    rows = torch.arange(time, device=positions.device)
    return Window(start + rows, (rows < shift)[:, None], (rows - shift).clamp(min=0))


def write(cache: Tensor, chunk: Tensor, window: Window) -> Tensor:
    """Returns the cache with the chunk in its window.

    cache: [batch, kv_heads, context_length, head_dim]; chunk: [batch, kv_heads, time, head_dim].
    """
    if window.kept is not None and window.source is not None:
        held = cache.index_select(2, window.slots)
        chunk = torch.where(window.kept, held, chunk.index_select(2, window.source))
    return cache.index_copy(2, window.slots, chunk)


def empty(layers: int, kv_heads: int, context_length: int, head_dim: int) -> list[KeyValue]:
    """A cache of zeros for each layer, batch 1."""
    shape = (1, kv_heads, context_length, head_dim)
    return [KeyValue(torch.zeros(shape), torch.zeros(shape)) for _ in range(layers)]
