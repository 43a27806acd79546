"""The verb `taskpress parity`: its arguments, and what it does with them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import BundleError
from .arguments import count, threshold

if TYPE_CHECKING:
    from ..tokenization.parity import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says how to compare, and what to do with the report."""
    parser.add_argument("--pairs", type=count, default=20_000, help="random id pairs (%(default)s)")
    parser.add_argument(
        "--fuzz",
        type=count,
        default=2_000,
        metavar="N",
        help="random strings of each class (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random ones (%(default)s)")
    parser.add_argument(
        "--corpus",
        nargs="+",
        default=[],
        metavar="FILE",
        help="text files to compare on, besides the sample that ships",
    )
    parser.add_argument(
        "--threshold",
        type=threshold,
        action="append",
        default=[],
        metavar="[SECTION=]RATE",
        help="exit with 1 where a mismatch rate is above it: for all, or for a section or group of "
        "the report, as fuzz=0.01 or sample/prose=1e-5; may be repeated (0)",
    )
    parser.add_argument(
        "--jobs", type=count, default=1, metavar="N", help="processes (%(default)s)"
    )
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: each --corpus is a file or folder, here or in a cloud, for Ray Data",
    )
    parser.add_argument(
        "--column", metavar="NAME", help="ray: the corpora are Parquet, with texts in this column"
    )
    parser.add_argument("--html", type=Path, metavar="OUT.html", help="write a page with plots too")
    parser.add_argument("--force", action="store_true", help="replace OUT.html if it exists")


def verb(arguments: argparse.Namespace) -> int:
    """Compares and prints the report; returns 1 where a rate is above its threshold."""
    from ..tokenization import parity, parity_html, parity_report
    from ..tokenization.sentencepiece_model import check
    from .files import read_file
    from .output import refuse_existing, whole_file
    from .progress import progress
    from .rebuild import Given, read_source

    options = _options(arguments)
    thresholds = dict(arguments.threshold)
    unknown = thresholds.keys() - {"", *parity.threshold_names(options)}
    if unknown:
        raise BundleError(
            f"--threshold {min(unknown)}: is no section of the report; "
            f"{', '.join(parity.GROUPS)} or {parity.ROUND_TRIP} is needed, or a section, "
            "as sample/prose"
        )
    if arguments.html is not None:
        refuse_existing(arguments.html, force=arguments.force)
    model = read_file(arguments.tokenizer)
    check(model, str(arguments.tokenizer))
    given = Given(arguments.pattern, dict(arguments.specials))
    original = read_source(arguments.source, given)[0].as_document()
    with progress("parity", "%") as tell:
        report = parity.compare(
            original, model, options, lambda share: tell(round(100 * share), 100)
        )
    if arguments.html is not None:
        page = parity_html.to_html(report, thresholds, arguments.tokenizer.name)
        with whole_file(arguments.html, force=arguments.force) as out:
            out.write(page.encode(errors="backslashreplace"))
    render = parity_report.to_json if arguments.json else parity_report.table
    print(render(report, thresholds))
    return int(bool(report.above(thresholds)))


def _options(arguments: argparse.Namespace) -> "Options":
    from ..tokenization.parity import Options

    if arguments.column is not None and arguments.engine != "ray":
        raise BundleError("--column: is of Parquet files, which only --engine ray reads")
    return Options(
        pairs=arguments.pairs,
        fuzz=arguments.fuzz,
        seed=arguments.seed,
        corpora=tuple(arguments.corpus),
        jobs=arguments.jobs,
        engine=arguments.engine,
        column=arguments.column,
    )
