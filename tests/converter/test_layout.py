import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskpress.converter.layout import ALIGNMENT, aligned, plan


def test_exact_offsets() -> None:
    assert plan([10, 64, 0, 1], start=100) == ([128, 192, 256, 256], 257)
    assert plan([], start=100) == ([], 100)


@pytest.mark.parametrize(("offset", "expected"), [(0, 0), (1, 64), (63, 64), (64, 64), (65, 128)])
def test_aligned(offset: int, expected: int) -> None:
    assert aligned(offset) == expected


@given(st.lists(st.integers(0, 1000)), st.integers(0, 1000))
def test_nothing_overlaps_and_no_room_is_lost(sizes: list[int], start: int) -> None:
    offsets, end = plan(sizes, start)
    due = start
    for offset, size in zip(offsets, sizes, strict=True):
        assert offset % ALIGNMENT == 0
        assert 0 <= offset - due < ALIGNMENT
        due = offset + size
    assert end == due
