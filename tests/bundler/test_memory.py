import sys

import pytest
from taskpress.bundler.memory import give_back_freed_memory, memory_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the C library elsewhere is another")
def test_memory_in_holes_goes_back_to_the_system() -> None:
    blocks = [bytes([1]) * 2000 for _ in range(50_000)]
    full = memory_bytes()
    blocks = blocks[-1:]  # what stands behind a hole keeps it from being given back at once
    give_back_freed_memory()
    assert full - memory_bytes() > 60_000_000
    assert len(blocks) == 1
