"""The verb `taskpress doctor`: its arguments, and what it prints."""

import argparse
import json
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from . import engines

if TYPE_CHECKING:
    from .diagnosis import Diagnosis
    from .findings import Finding

_WIDTH = 100
_LEVELS = ("error", "warning", "note")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the file, and what it is meant for."""
    parser.add_argument("file", type=Path, help="a .task, .litertlm or .tflite")
    parser.add_argument(
        "--runtime",
        choices=tuple(engines.RUNTIMES),
        help="what the file is for (a .task: mediapipe-0.10.x; else litert-lm-0.18)",
    )
    parser.add_argument(
        "--no-trial",
        action="store_false",
        dest="trial",
        help="do not run the model: one prefill and a few decode steps, in a process of its own",
    )


def verb(arguments: argparse.Namespace) -> int:
    """Examines the file and prints what was found; returns 1 where an error is among it."""
    from .diagnosis import diagnose

    diagnosis = diagnose(arguments.file, arguments.runtime, trial=arguments.trial)
    if arguments.json:
        print(json.dumps(asdict(diagnosis), indent=2, ensure_ascii=False))
    else:
        print("\n".join(table(diagnosis)))
    return int(diagnosis.has_errors)


def table(diagnosis: "Diagnosis") -> Iterator[str]:
    """The findings as text for people, the worst first."""
    counts = [
        f"{count} {level}{'s' if count != 1 else ''}"
        for level in _LEVELS
        if (count := sum(each.level == level for each in diagnosis.findings))
    ]
    found = ", ".join(counts) or "nothing to say"
    yield f"{diagnosis.file}: {diagnosis.kind}, for {diagnosis.runtime}: {found}"
    for level in _LEVELS:
        for each in diagnosis.findings:
            if each.level == level:
                yield ""
                yield from _shown(each)


def _shown(finding: "Finding") -> Iterator[str]:
    # what stands in a file may hold anything, a terminal's commands too
    what = "".join(c if c.isprintable() else repr(c)[1:-1] for c in finding.what)
    where = "".join(c if c.isprintable() else repr(c)[1:-1] for c in finding.where)
    yield from _wrapped(f"{finding.level} {finding.code}: ", f"{where}: {what}")
    if finding.level == "note":
        return
    yield from _wrapped("  why:  ", finding.why)
    yield from _wrapped("  mend: ", finding.mend)
    for text in finding.says:
        # an engine's words stay on one line, to be searched for
        yield f"  says: {text}"


def _wrapped(title: str, text: str) -> list[str]:
    indent = " " * (8 if title.startswith(" ") else 2)
    return textwrap.wrap(
        title + text, _WIDTH, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False,
    )  # fmt: skip
