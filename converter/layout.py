"""Where everything goes in the file, as a pure function of sizes."""

from collections.abc import Sequence

# XNNPACK reads weights with vector instructions; 64 is a cache line, and what TFLite aligns to.
ALIGNMENT = 64


def aligned(offset: int, alignment: int = ALIGNMENT) -> int:
    """The first multiple of alignment at or after offset."""
    return -(-offset // alignment) * alignment


def plan(sizes: Sequence[int], start: int) -> tuple[list[int], int]:
    """The offset of each of these sizes, one after the other from start, and the end of the last.

    All in bytes from the beginning of the model, which need not be that of the file.
    """
    offsets = []
    for size in sizes:
        start = aligned(start)
        offsets.append(start)
        start += size
    return offsets, start
