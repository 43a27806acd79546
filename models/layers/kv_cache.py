"""The external key/value cache: keys and values of all positions so far, passed in and out.

A runtime feeds a prompt in chunks of a signature's fixed length and pads the last chunk, so a
chunk may reach past the end of the cache although each of its real tokens fits. TFLite's
DYNAMIC_UPDATE_SLICE then moves the whole chunk back until it fits, on top of history: garbage from
there on. Here a chunk is instead written as the last window of slots that fits, in which the slots
before the chunk keep what they hold, and the padding that has no slot is dropped. Every position
below context_length is stored right, whichever prefill length the runtime picks.

A sliding layer may have a ring of fewer slots instead: a position is stored in the slot that is its
remainder. A chunk is written whole, its padding too, over the slots of the oldest positions; so
there are as many slots as the first position of the longest chunk sees and as the chunk has.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# What a slot of a ring holds that was not written yet: behind all positions, so that none sees it.
NOTHING = 1 << 30


class KeyValue(NamedTuple):
    """One layer's cache. key and value: [batch, kv_heads, slots, head_dim], float32.

    slots: the context length, or fewer in a ring.
    """

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
    return _window_at(positions[:1].long(), time, context_length)


def _window_at(first: Tensor, time: int, slots: int) -> Window:
    """The last window of slots that fits, for a chunk whose first row goes to slot first[0]."""
    start = first.clamp(max=slots - time)
    shift = first - start
    rows = torch.arange(time, device=first.device)
    return Window(start + rows, (rows < shift)[:, None], (rows - shift).clamp(min=0))


class Ring(NamedTuple):
    """What one call writes into a ring, and what that holds then.

    windows: up to its end, and on from its start; held: [slots], int64, the position that each slot
    holds, or NOTHING.
    """

    windows: tuple[Window, ...]
    held: Tensor


def ring(positions: Tensor, slots: int, context_length: int) -> Ring:
    """Where a chunk goes in a ring that starts at positions[0], which counts alone, as in `window`.

    Slots hold what the formula says, or padding of an earlier chunk in the place of a position so
    old that none of this chunk sees it, where slots >= reach + time - 1 for the longest chunk.
    """
    time, device = positions.shape[0], positions.device
    first = positions[:1].long()
    remainders = torch.arange(context_length, device="cpu") % slots
    start = remainders.index_select(0, first.clamp(max=context_length - 1))
    distance = torch.arange(slots, device=device) - start
    distance = torch.where(distance < 0, distance + slots, distance)
    held = torch.where(distance < time, first + distance, first + distance - slots)
    held = torch.where(held < 0, NOTHING, held)
    if time == 1:
        return Ring((Window(start, None, None),), held)
    rows = torch.arange(time, device=device)
    rest = start - start.clamp(max=slots - time)  # how many rows go on from the ring's start
    behind = Window(rows, (rows >= rest)[:, None], (rows + time - rest).clamp(max=time - 1))
    return Ring((_window_at(start, time, slots), behind), held)


def write(cache: Tensor, chunk: Tensor, window: Window) -> Tensor:
    """Returns the cache with the chunk in its window.

    cache: [batch, kv_heads, slots, head_dim]; chunk: [batch, kv_heads, time, head_dim].
    """
    if window.kept is not None and window.source is not None:
        held = cache.index_select(2, window.slots)
        chunk = torch.where(window.kept, held, chunk.index_select(2, window.source))
    return cache.index_copy(2, window.slots, chunk)


def written(cache: Tensor, chunk: Tensor, windows: Sequence[Window]) -> Tensor:
    """Returns the cache with the chunk in its windows, one after the other: see `write`."""
    for window in windows:
        cache = write(cache, chunk, window)
    return cache


def empty(layers: int, kv_heads: int, context_length: int, head_dim: int) -> list[KeyValue]:
    """A cache of zeros for each layer, batch 1."""
    shape = (1, kv_heads, context_length, head_dim)
    return [KeyValue(torch.zeros(shape), torch.zeros(shape)) for _ in range(layers)]
