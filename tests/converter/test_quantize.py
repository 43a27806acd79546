"""Weights as a file stores them: exact, whatever the size of the pieces."""

import numpy as np
import pytest
from taskpress.converter import ConversionError, quantize
from taskpress.converter.graph import Weight
from taskpress.converter.quantize import RECIPES, SMALLEST_SCALE, ReadRows, chunks, size_bytes

VALUES = np.random.default_rng(0).standard_normal((50, 24)).astype(np.float32)


def reader(values: np.ndarray) -> ReadRows:
    def read_rows(name: str, start: int, stop: int, /) -> np.ndarray:
        assert name == "w"
        assert 0 <= start < stop <= len(values)
        return values[start:stop]

    return read_rows


def stored(
    values: np.ndarray, dtype: str, rows: bytes = b"", columns: bytes = b""
) -> tuple[np.ndarray, np.ndarray]:
    """All that `chunks` gives, put together: values and scales."""
    weight = Weight("w", values.shape, dtype, rows, columns)
    pieces = list(chunks(weight, reader(values)))
    firsts = np.cumsum([0, *(len(piece) for _, piece, _ in pieces)])
    assert [first for first, _, _ in pieces] == firsts[:-1].tolist()
    data, scales = (np.concatenate([piece[i] for piece in pieces]) for i in (1, 2))
    assert data.nbytes == size_bytes(weight)
    return data, scales


def test_float32_is_stored_as_it_is() -> None:
    data, scales = stored(VALUES, "float32")
    np.testing.assert_array_equal(data, VALUES)
    assert scales.size == 0


def test_float16_is_rounded_to_nearest() -> None:
    data, scales = stored(VALUES, "float16")
    assert data.dtype == np.float16
    np.testing.assert_array_equal(data, VALUES.astype(np.float16))
    assert scales.size == 0


def test_int8_by_hand() -> None:
    values = np.array([[1.0, -127.0, 63.5, 64.4], [0.5, 0.25, -0.1, 0.0]], np.float32)
    data, scales = stored(values, "int8")
    # 63.5 is as near to 63 as to 64: the even one
    np.testing.assert_array_equal(data, [[1, -127, 64, 64], [127, 64, -25, 0]])
    np.testing.assert_array_equal(scales, np.array([1.0, 0.5 / 127], np.float32))


def test_int8_is_within_half_a_step() -> None:
    data, scales = stored(VALUES, "int8")
    assert data.dtype == np.int8
    assert scales.dtype == np.float32
    np.testing.assert_array_equal(scales, np.abs(VALUES).max(1) / np.float32(127))
    np.testing.assert_array_equal(np.abs(data.astype(int)).max(1), 127)
    error = np.abs(data * scales[:, None].astype(np.float64) - VALUES)
    assert (error <= scales[:, None] / 2 * (1 + 1e-5)).all()


@pytest.mark.parametrize("largest", [0.0, -0.0, 1e-45, 1e-40, 1e-37])
@pytest.mark.filterwarnings("error")
def test_rows_of_next_to_nothing_have_a_scale_that_xnnpack_takes(largest: float) -> None:
    values = np.array([[largest, 0, -largest, 0], [1, 2, 3, 4]], np.float32)
    data, scales = stored(values, "int8")
    assert scales[0] >= SMALLEST_SCALE > 0
    error = np.abs(data[0] * scales[0].astype(np.float64) - values[0])
    assert (error <= scales[0] / 2).all()
    np.testing.assert_array_equal(data[1], [32, 64, 95, 127])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("elements", [1, 24, 25, 48, 50 * 24 - 1, 50 * 24, 10**9])
def test_the_size_of_the_pieces_changes_nothing(
    dtype: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1: a row is longer than a piece, and is a piece of its own."""
    expected = stored(VALUES, dtype)
    monkeypatch.setattr(quantize, "CHUNK_ELEMENTS", elements)
    pieces = list(chunks(Weight("w", VALUES.shape, dtype), reader(VALUES)))
    assert max(piece.size for _, piece, _ in pieces) <= max(elements, VALUES.shape[1])
    for got, whole in zip(stored(VALUES, dtype), expected, strict=True):
        np.testing.assert_array_equal(got, whole)


def test_factors_come_before_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "CHUNK_ELEMENTS", 7 * VALUES.shape[1])
    random = np.random.default_rng(1)
    rows, columns = (random.uniform(0.5, 2, n).astype(np.float32) for n in VALUES.shape)
    data, scales = stored(VALUES, "int8", rows.tobytes(), columns.tobytes())
    expected = stored(VALUES * rows[:, None] * columns, "int8")
    np.testing.assert_array_equal(data, expected[0])
    np.testing.assert_array_equal(scales, expected[1])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_is_refused(
    dtype: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "CHUNK_ELEMENTS", 10 * VALUES.shape[1])
    values = VALUES.copy()
    values[37, 5] = value
    with pytest.raises(ConversionError, match=r"^w: rows 30 to 39: a value is not finite; "):
        stored(values, dtype)


def test_what_float16_cannot_hold_is_refused() -> None:
    values = VALUES.copy()
    values[3, 4] = -65504.0
    assert stored(values, "float16")[0][3, 4] == -65504.0
    values[3, 4] = -70000.0
    message = "^w: a value of 70000 does not fit float16 .at most 65504.; use int8 or none$"
    with pytest.raises(ConversionError, match=message):
        stored(values, "float16")


def test_every_recipe_knows_every_part() -> None:
    for recipe in RECIPES.values():
        assert recipe.keys() == {"embedding", "attention", "feed_forward", "head"}
