"""Progress of long work on stderr, where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with what is done and what there is in all.
Progress = Callable[[int, int], None]


def percent(report: Progress) -> Callable[[float], None]:
    """Takes a share of 0 to 1 for a bar that counts to 100."""
    return lambda share: report(round(100 * share), 100)


@contextmanager
def progress(what: str, unit: str = "bytes") -> Iterator[Progress]:
    """Gives a function to call with what is done and what there is in all.

    unit: "bytes", or the name of what is counted. Shows a bar with the time left, and nothing
    where stderr is not a terminal. The bar goes when the block ends.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich import progress as rich
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what if unit == "bytes" else f"{what} ({unit})", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
