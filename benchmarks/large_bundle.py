"""Bundles with a model of 5 GiB: `python benchmarks/large_bundle.py` prints a table.

The model is a small one with 5 GiB of zeros behind it, in a sparse file. Each verb runs in a
process of its own, which tells its peak memory (VmHWM), and is compared with `cp --sparse=never` of
the model, run before it. The best of --runs counts: a virtual machine whose host must first give
the memory for the copy takes up to five times as long. What was written twice must be the same, and
so must the model that was unpacked. Takes 20 GiB of disk for a while, in --folder.
"""

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

_CHILD = """
import json, sys, time
from taskpress.bundler.cli import main
from taskpress.bundler.memory import peak_memory_bytes
started = time.monotonic()
code = main(sys.argv[1:])
print(json.dumps([code, time.monotonic() - started, peak_memory_bytes()]), file=sys.stderr)
"""


def taskpress(*arguments: object) -> tuple[float, int]:
    """(seconds, peak bytes) of a verb that must succeed."""
    command = [sys.executable, "-c", _CHILD, *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    code, seconds, peak = json.loads(ran.stderr.splitlines()[-1])
    if code:
        raise SystemExit(ran.stderr)
    return seconds, peak


def copied(model: Path, to: Path) -> float:
    started = time.monotonic()
    subprocess.run(["cp", "--sparse=never", model, to], check=True)
    subprocess.run(["sync", to], check=True)  # as ours does
    seconds = time.monotonic() - started
    to.unlink()
    return seconds


def measured(folder: Path, gibibytes: float) -> dict[str, tuple[float, float, int]]:
    """Verb -> seconds, seconds of cp, peak bytes."""
    from mutations import small_parts

    model, tokenizer = folder / "model.tflite", folder / "tokenizer.model"
    data, (spelled, _) = small_parts()
    tokenizer.write_bytes(spelled)
    with model.open("wb") as file:
        file.write(data)
        file.truncate(int(gibibytes * (1 << 30)))
    tokens = ("--start-token", "<s>", "--stop-token", "</s>")
    found: dict[str, tuple[float, float, int]] = {}

    def timed(name: str, *arguments: object) -> None:
        cp = copied(model, folder / "copy")
        seconds, peak = taskpress(*arguments)
        found[name] = (seconds, cp, peak)

    for suffix, other in ((".task", ".litertlm"), (".litertlm", ".task")):
        one, again = folder / f"one{suffix}", folder / f"again{suffix}"
        timed(f"bundle {suffix}", "bundle", model, tokenizer, "-o", one, *tokens)
        taskpress("bundle", model, tokenizer, "-o", again, *tokens)
        assert filecmp.cmp(one, again, shallow=False), "two writes differ"
        again.unlink()
        timed(f"inspect {suffix}", "inspect", one, "--json")
        timed(f"unpack {suffix}", "unpack", one, "-o", folder / "parts")
        unpacked = folder / "parts" / "TF_LITE_PREFILL_DECODE.tflite"
        assert filecmp.cmp(unpacked, model, shallow=False), "the model differs"
        shutil.rmtree(folder / "parts")
        timed(f"repack {suffix} to {other}", "repack", one, "-o", folder / f"other{other}")
        (folder / f"other{other}").unlink()
        one.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--gibibytes", type=float, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    arguments = parser.parse_args()
    runs = []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            runs.append(measured(Path(folder), arguments.gibibytes))
    table = Table("verb", "seconds", "cp", "ratio", "peak MB")
    for name in runs[0]:
        seconds, cp = (min(run[name][i] for run in runs) for i in (0, 1))
        peak = max(run[name][2] for run in runs) >> 20
        table.add_row(name, f"{seconds:.1f}", f"{cp:.1f}", f"{seconds / cp:.2f}", str(peak))
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    main()
