import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from taskpress.bundler import BundleError
from taskpress.bundler.output import whole_file


def write(output: Path, block: Callable[[BinaryIO], object], *, force: bool = False) -> None:
    with whole_file(output, force=force) as file:
        file.write(b"half")
        block(file)


def test_the_file_appears_at_the_end_only(tmp_path: Path) -> None:
    output = tmp_path / "out.task"
    with whole_file(output) as file:
        file.write(b"12345")
        file.seek(1)
        file.write(b"x")
        file.seek(0)
        assert file.read() == b"1x345"
        assert not output.exists()
    assert output.read_bytes() == b"1x345"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ZeroDivisionError, BundleError])
def test_a_failure_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    output = tmp_path / "out.task"
    output.write_bytes(b"before")

    def fail(file: BinaryIO) -> None:
        raise failure

    with pytest.raises(failure):
        write(output, fail, force=True)
    assert list(tmp_path.iterdir()) == [output]
    assert output.read_bytes() == b"before"


def test_an_existing_output_needs_force(tmp_path: Path) -> None:
    output = tmp_path / "out.task"
    output.write_bytes(b"before")
    with pytest.raises(BundleError, match=r"out\.task: exists; .* --force"), whole_file(output):
        pytest.fail("the block must not run")
    assert output.read_bytes() == b"before"
    with whole_file(output, force=True) as file:
        file.write(b"after")
    assert output.read_bytes() == b"after"


def test_an_output_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    output = tmp_path / "out.task"
    with pytest.raises(BundleError, match="exists"):
        write(output, lambda _: output.write_bytes(b"theirs"))
    assert output.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [output]


def test_force_replaces_a_link_and_not_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "original").write_bytes(b"before")
    output = tmp_path / "out.task"
    output.symlink_to("original")
    with whole_file(output, force=True) as file:
        file.write(b"after")
    assert not output.is_symlink()
    assert (tmp_path / "original").read_bytes() == b"before"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is a folder; name a file"),
        ("pipe", "is not a regular file"),
        ("missing/out.task", "missing is not a folder that exists; make it first"),
        ("file/out.task", "file is not a folder that exists"),
        ("n" * 300, "cannot be written: File name too long"),
    ],
)
def test_places_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BundleError, match=message), whole_file(tmp_path / name, force=True):
        pytest.fail("the block must not run")
    assert sorted(tmp_path.iterdir()) == before


def test_a_read_only_folder() -> None:
    # /proc refuses new files for everyone, root too
    with (
        pytest.raises(BundleError, match=r"^/proc/out\.task: cannot be written: "),
        whole_file(Path("/proc/out.task")),
    ):
        pytest.fail("the block must not run")


def test_a_full_disk_is_one_line_about_the_output(tmp_path: Path) -> None:
    output = tmp_path / "out.task"

    def fill(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(BundleError, match=r"task: cannot be written: No space left on device$"):
        write(output, fill)
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_fails_is_named_beside_the_output(tmp_path: Path) -> None:
    missing = tmp_path / "model.tflite"
    message = rf"model\.tflite: No such file or directory; {tmp_path}/out\.task was not written"
    with pytest.raises(BundleError, match=message), whole_file(tmp_path / "out.task"):
        missing.read_bytes()


def test_a_killed_process_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    output = tmp_path / "out.task"
    program = (
        "import sys, time; from pathlib import Path\n"
        "from taskpress.bundler.output import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); print('written', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(output)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not output.exists()
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
