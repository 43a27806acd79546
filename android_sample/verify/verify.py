"""Checks the Android sample as far as a machine without Google's Maven and without a phone can.

usage: run.sh [--cache FOLDER] [--pictures FOLDER] [--until STEP] [--if-changed]
Needs Java 17, Python 3.11 with pip, npm, and apt-get for the test library and the fonts.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import HERE, Bench, Failed
from carriers import WrongDigest, fetch, pinned
from steps import STEPS, Step

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taskpress-android"


_NO_SOURCE = {"build", ".gradle", ".idea", "__pycache__", "screenshots"}
# SKIPPED: a carrier is not served any more; not run: a step before it failed or was skipped
STATUSES = ("ok", "FAILED", "SKIPPED", "not run")


@dataclass(frozen=True)
class Result:
    step: str
    status: str  # of STATUSES
    seconds: float
    note: str

    def row(self) -> str:
        lines = self.note.strip().splitlines() or [""]
        return f"  {self.step:<12} {self.status:<8} {self.seconds:6.1f} s  {lines[0]}"


def get_carriers(cache: Path) -> tuple[Result, dict[str, str]]:
    """Downloads what is not there; returns the row of the table and why carriers are missing."""
    start = time.monotonic()
    cache.mkdir(parents=True, exist_ok=True)
    missing: dict[str, str] = {}
    if shutil.which("javac") is None:
        missing["java"] = "no javac is installed; Java 17 is needed"
        print(f"SKIPPED: {missing['java']}", file=sys.stderr)
    carriers = pinned()
    for carrier in carriers:
        try:
            if reason := fetch(carrier, cache):
                missing[carrier.name] = reason
                print(f"SKIPPED carrier {carrier.name}: {reason}", file=sys.stderr)
        except WrongDigest as error:
            return Result("carriers", "FAILED", time.monotonic() - start, str(error)), missing
    there = sum(carrier.name not in missing for carrier in carriers)
    note = f"{there} of {len(carriers)} are there, in {cache}"
    return Result("carriers", "ok", time.monotonic() - start, note), missing


@dataclass(frozen=True)
class Green:
    """Remembers, in the cache, what the sample was when all of its steps passed."""

    cache: Path
    sample: Path

    def is_unchanged(self) -> bool:
        stamp = self.cache / "green"
        return stamp.is_file() and stamp.read_text() == self.digest()

    def keep(self, digest: str) -> None:
        (self.cache / "green").write_text(digest)

    def digest(self) -> str:
        """Of the names and contents of all files, but for what builds leave and the pictures."""
        total = hashlib.sha256()
        for path in sorted(self.sample.rglob("*")):
            name = path.relative_to(self.sample)
            if path.is_file() and not _NO_SOURCE.intersection(name.parts):
                with path.open("rb") as file:
                    total.update(
                        f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode()
                    )
        return total.hexdigest()


def run_step(step: Step, bench: Bench, done: dict[str, Result], missing: dict[str, str]) -> Result:
    gone = [name for name in step.needs if name in missing]
    if gone:
        return Result(step.name, "SKIPPED", 0, f"needs {gone[0]}: {missing[gone[0]]}")
    for before in step.after:
        if done[before].status != "ok":
            return Result(step.name, "not run", 0, f'needs "{before}"')
    start = time.monotonic()
    try:
        status, note = "ok", step.run(bench)
    except Failed as error:
        status, note = "FAILED", str(error)
    return Result(step.name, status, time.monotonic() - start, note)


def report(results: list[Result]) -> int:
    """Prints the table and the last line; returns the exit code."""
    for result in results:
        if result.status == "FAILED":
            print(f"\n{result.step}:\n{result.note}", file=sys.stderr)
    print("\n" + "\n".join(result.row() for result in results))
    count = {status: sum(each.status == status for each in results) for status in STATUSES}
    seconds = sum(result.seconds for result in results)
    print(
        f"android_sample: {count['ok']} steps passed, {count['FAILED']} failed, "
        f"{count['SKIPPED']} SKIPPED, {count['not run']} not run, {seconds:.0f} s"
    )
    return 1 if count["FAILED"] else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="run.sh", description="Checks the Android sample.")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--sample", type=Path, default=HERE.parent, help=argparse.SUPPRESS)
    parser.add_argument(
        "--if-changed", action="store_true", help="do nothing when the last green run was of this"
    )
    parser.add_argument("--pictures", type=Path, help="where the screenshots go")
    parser.add_argument("--until", choices=[step.name for step in STEPS], help="the last step")
    arguments = parser.parse_args()
    cache = arguments.cache.resolve()
    green = Green(cache, arguments.sample.resolve())
    if arguments.if_changed and green.is_unchanged():
        print("android_sample: not checked, it is as it was at its last green run here")
        print("(ANDROID_VERIFY=1 .ci/run, or android_sample/verify/run.sh, checks it anyway)")
        return 0
    checked = green.digest()  # of what is checked now, whatever is edited meanwhile
    with tempfile.TemporaryDirectory(prefix="android-verify-") as out:
        pictures = arguments.pictures or Path(out) / "screenshots"
        bench = Bench(arguments.sample.resolve(), cache, Path(out), pictures.resolve())
        first, missing = get_carriers(bench.cache)
        results = [first]
        done: dict[str, Result] = {}
        for step in STEPS if first.status == "ok" else ():
            result = run_step(step, bench, done, missing)
            done[step.name] = result
            results.append(result)
            print(result.row(), flush=True)
            if step.name == arguments.until:
                break
        if len(done) == len(STEPS) and all(each.status == "ok" for each in results):
            green.keep(checked)
        return report(results)


if __name__ == "__main__":
    sys.exit(main())
