"""What `repack` must not do: hide damage under a new CRC-32, or move text between prefixes."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.parts import MODEL


@pytest.mark.parametrize("name", ["out.task", "out.litertlm"])
def test_a_damaged_part_gets_no_new_crc32(
    refused: Callable[..., str], tiny_task: Path, tmp_path: Path, name: str
) -> None:
    damaged = Path(shutil.copy(tiny_task, tmp_path / "damaged.task"))
    extent = read_bundle(damaged).entries[MODEL]
    data = bytearray(damaged.read_bytes())
    data[extent.offset + extent.size - 1] ^= 1
    damaged.write_bytes(data)
    says = f"damaged.task: {MODEL}: its CRC-32 is not the one written beside it"
    refused("repack", damaged, "-o", tmp_path / name, says=says)


def test_there_and_back_is_the_same_file(
    taskpress: Callable[..., Any], tiny_task: Path, tmp_path: Path
) -> None:
    other, back = tmp_path / "a.litertlm", tmp_path / "b.task"
    for source, output in ((tiny_task, other), (other, back)):
        ran = taskpress("repack", source, "-o", output)
        assert (ran.code, ran.err) == (0, "")
    assert read_bundle(back).parameters == read_bundle(tiny_task).parameters
    assert back.read_bytes() == tiny_task.read_bytes()
