"""Checks the Android sample as far as a machine without Google's Maven and without a phone can.

usage: run.sh [--cache FOLDER] [--sample FOLDER] [--pictures FOLDER] [--until STEP]
Needs Java 17, Python 3.11, pip, npm and, for three of the carriers, apt-get.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import HERE, Bench, Failed
from carriers import WrongDigest, fetch, pinned
from steps import STEPS, Step

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taskpress-android"


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
    carriers = pinned()
    for carrier in carriers:
        try:
            if reason := fetch(carrier, cache):
                missing[carrier.name] = reason
                print(f"SKIPPED carrier {carrier.name}: {reason}", file=sys.stderr)
        except WrongDigest as error:
            return Result("carriers", "FAILED", time.monotonic() - start, str(error)), missing
    note = f"{len(carriers) - len(missing)} of {len(carriers)} are there, in {cache}"
    return Result("carriers", "ok", time.monotonic() - start, note), missing


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
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--sample", type=Path, default=HERE.parent)
    parser.add_argument("--pictures", type=Path, help="where the screenshots go")
    parser.add_argument("--until", choices=[step.name for step in STEPS], help="the last step")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="android-verify-") as out:
        pictures = arguments.pictures or Path(out) / "screenshots"
        bench = Bench(
            arguments.sample.resolve(), arguments.cache.resolve(), Path(out), pictures.resolve()
        )
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
        return report(results)


if __name__ == "__main__":
    sys.exit(main())
