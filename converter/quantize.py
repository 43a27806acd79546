"""How a recipe stores the weights: by part of the model, and row by row."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from . import ConversionError
from .graph import Weight

# What each part of a model is stored as. Parts: embedding (tables), attention and feed_forward
# (the linear layers in such blocks), head (every other linear layer).
RECIPES: Mapping[str, Mapping[str, str]] = {
    "none": dict.fromkeys(("embedding", "attention", "feed_forward", "head"), "float32"),
    "fp16": dict.fromkeys(("embedding", "attention", "feed_forward", "head"), "float16"),
    "int8": dict.fromkeys(("embedding", "attention", "feed_forward", "head"), "int8"),
}

# Of a row of zeros too: XNNPACK refuses a whole model for a scale that is 0 or subnormal.
SMALLEST_SCALE = np.finfo(np.float32).tiny

ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1}

# Elements that are in memory at a time. 1 MB of float32 stays in the processor's cache.
CHUNK_ELEMENTS = 1 << 18


class ReadRows(Protocol):
    """Reads rows start to stop of a parameter as float32 [stop - start, ...]."""

    def __call__(self, name: str, start: int, stop: int, /) -> np.ndarray: ...


def size_bytes(weight: Weight) -> int:
    """The bytes of a weight's values in the file, without its scales."""
    return int(np.prod(weight.shape)) * ITEM_BYTES[weight.dtype]


def chunks(weight: Weight, read_rows: ReadRows) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """A weight piece by piece: first row, its stored values, and its scales (none but for int8).

    int8 is symmetric with one scale a row, max |row| / 127 but at least SMALLEST_SCALE, which is
    what TFLite calls per channel: value = scale * stored. Raises ConversionError where a value is
    not finite.
    """
    rows = weight.shape[0]
    step = max(1, CHUNK_ELEMENTS * rows // max(1, int(np.prod(weight.shape))))
    for start in range(0, rows, step):
        values = _scaled(weight, start, read_rows(weight.name, start, min(start + step, rows)))
        largest = np.maximum(values.max(axis=-1), -values.min(axis=-1))
        refuse_not_finite(largest, f"{weight.name}: rows {start} to {start + len(values) - 1}")
        yield start, *_stored(weight, values, largest)


def refuse_not_finite(values: np.ndarray, where: str) -> None:
    """Raises ConversionError for NaN and infinity."""
    if not np.isfinite(values).all():
        raise ConversionError(f"{where}: a value is not finite; the checkpoint is damaged")


def _scaled(weight: Weight, start: int, values: np.ndarray) -> np.ndarray:
    """Rows of a weight, from start on, with its factors."""
    if weight.rows:
        factors = np.frombuffer(weight.rows, np.float32)[start : start + len(values)]
        values = values * factors[:, None]
    if weight.columns:
        values = values * np.frombuffer(weight.columns, np.float32)
    return values


def _stored(
    weight: Weight, values: np.ndarray, largest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    none = np.empty(0, np.float32)
    if weight.dtype == "float32":
        return values, none
    if weight.dtype == "float16":
        limit = float(np.finfo(np.float16).max)
        if largest.max() > limit:
            raise ConversionError(
                f"{weight.name}: a value of {largest.max():g} does not fit float16 (at most "
                f"{limit:g}); use int8 or none"
            )
        return values.astype(np.float16), none
    scales = np.maximum(largest / np.float32(127), SMALLEST_SCALE)
    scaled = values * (1 / scales)[:, None]
    np.rint(scaled, out=scaled)
    return scaled.astype(np.int8), scales
