"""Bundles with a model of 5 GiB: `python benchmarks/large_bundle.py` prints a table.

The model is a small one with 5 GiB of zeros behind it, in a sparse file. Each verb runs in a
process of its own, which tells its peak memory (VmHWM), and is compared with `cp --sparse=never` of
the file that the verb reads. The two take turns, and each is first in every other turn; the table
has the medians of --runs, with the least and the most: on a virtual machine whose host must first
give the memory for a copy, one may take five times as long. What was written twice must be the
same, and so must the model that was unpacked. Takes 20 GiB of disk for a while, in --folder.
"""

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

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


def copied(source: Path, to: Path) -> float:
    started = time.monotonic()
    subprocess.run(["cp", "--sparse=never", source, to], check=True)
    subprocess.run(["sync", to], check=True)  # as ours does
    seconds = time.monotonic() - started
    to.unlink()
    return seconds


@dataclass
class Measured:
    """Of each turn the seconds of a verb and of cp, if it copies, and the verb's peak in bytes."""

    seconds: list[float] = field(default_factory=list)
    cp_seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)


def measured(folder: Path, gibibytes: float, runs: int) -> dict[str, Measured]:
    """By verb."""
    from mutations import small_parts

    model, tokenizer = folder / "model.tflite", folder / "tokenizer.model"
    data, (spelled, _) = small_parts()
    tokenizer.write_bytes(spelled)
    with model.open("wb") as file:
        file.write(data)
        file.truncate(int(gibibytes * (1 << 30)))
    tokens = ("--start-token", "<s>", "--stop-token", "</s>")
    found: dict[str, Measured] = defaultdict(Measured)

    def timed(name: str, *arguments: object, reads: Path, makes: Path) -> None:
        def ours() -> None:
            seconds, peak = taskpress(*arguments)
            found[name].seconds.append(seconds)
            found[name].peaks.append(peak)
            removed(makes)

        def theirs() -> None:
            found[name].cp_seconds.append(copied(reads, folder / "copy"))

        for run in range(runs):
            for each in (ours, theirs) if run % 2 else (theirs, ours):
                each()

    for suffix, other in ((".task", ".litertlm"), (".litertlm", ".task")):
        one, again = folder / f"one{suffix}", folder / f"again{suffix}"
        parts, repacked = folder / "parts", folder / f"other{other}"
        bundle = ("bundle", model, tokenizer, *tokens, "-o")
        timed(f"bundle {suffix}", *bundle, one, reads=model, makes=one)
        for made in (one, again):
            taskpress(*bundle, made)
        assert filecmp.cmp(one, again, shallow=False), "two writes differ"
        removed(again)
        taskpress("unpack", one, "-o", parts)
        unpacked = parts / "TF_LITE_PREFILL_DECODE.tflite"
        assert filecmp.cmp(unpacked, model, shallow=False), "the model differs"
        removed(parts)
        for _ in range(runs):
            seconds, peak = taskpress("inspect", one, "--json")
            found[f"inspect {suffix}"].seconds.append(seconds)
            found[f"inspect {suffix}"].peaks.append(peak)
        timed(f"unpack {suffix}", "unpack", one, "-o", parts, reads=one, makes=parts)
        timed(
            f"repack {suffix} to {other}", "repack", one, "-o", repacked, reads=one, makes=repacked
        )
        removed(one)
    return found


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _with_range(seconds: list[float]) -> str:
    return f"{median(seconds):.1f} [{min(seconds):.1f}-{max(seconds):.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--gibibytes", type=float, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        found = measured(Path(folder), arguments.gibibytes, arguments.runs)
    table = Table("verb", "seconds", "cp", "ratio", "peak MB")
    for name, runs in found.items():
        cp, ratio = "", ""
        if runs.cp_seconds:
            cp = _with_range(runs.cp_seconds)
            ratio = f"{median(runs.seconds) / median(runs.cp_seconds):.2f}"
        table.add_row(name, _with_range(runs.seconds), cp, ratio, str(max(runs.peaks) >> 20))
    Console(width=100).print(table)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    main()
