"""The check of a corpus as a Ray Data job, for corpora that outgrow one machine.

A path is what Ray Data takes: a file or a folder, local or in a cloud, of Parquet files (a text in
each row of one column) or of text files. Text files are read whole and cut into the same blocks as
without Ray, since the ends of lines are tokens too: `ray.data.read_text` would drop them. Counts
are sums, and the mismatches shown are the first by path and text, so neither depends on the order
in which the blocks are done.

Ray is started here, unless it runs already or RAY_ADDRESS names a cluster.
"""

import json
import logging
import os
import pickle
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from . import TokenizerError, corpus
from .comparer import Comparer
from .tally import SHOWN, Mismatch, Tally

TEXTS_A_BATCH = 32  # rows; a text file is one
PATH, BYTES, RESULT = "path", "bytes", "result"  # columns; the first two are named by Ray

Key = tuple[str, str]  # a path and a text, by which mismatches are ordered
Keyed = tuple[Tally, list[tuple[Key, Mismatch]]]


def compare(
    document: dict[str, Any], model: bytes, path: str, column: str | None, jobs: int
) -> Tally:
    """The counts over all texts of a path, shared by up to `jobs` processes.

    column: of Parquet files; None for text files, read as UTF-8 (bytes that are none count as
    U+FFFD). Raises TokenizerError where Ray is not installed, or the path cannot be read.
    """
    ray = _ray()
    needed = "text files are" if column is None else f"Parquet files with a column {column!r} are"
    try:
        _start(ray, jobs)
        results = _read(ray, path, column).map_batches(
            _Comparing,
            fn_constructor_args=(ray.put((json.dumps(document), model)),),
            fn_kwargs={"column": BYTES if column is None else column},
            concurrency=(1, jobs),
            batch_size=TEXTS_A_BATCH,
        )
        return _total(pickle.loads(row[RESULT]) for row in results.iter_rows())
    except (OSError, ValueError, ImportError, ray.exceptions.RayError) as error:
        raise TokenizerError(f"{path}: {_one_line(error)}; {needed} needed") from error


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise TokenizerError(
            f"--engine ray: {error}; Ray Data is needed: pip install 'taskpress[ray]'"
        ) from error
    return ray


def _start(ray: Any, jobs: int) -> None:
    if not ray.is_initialized():
        size = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": jobs, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **size)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


def _read(ray: Any, path: str, column: str | None) -> Any:
    """The dataset with a path and a text, or the bytes of one, in each row."""
    if column is None:
        return ray.data.read_binary_files(path, include_paths=True)
    dataset = ray.data.read_parquet(path, include_paths=True)
    names = dataset.schema().names
    if column not in names:
        raise ValueError(f"has the columns {', '.join(n for n in names if n != PATH)}")
    return dataset.select_columns([PATH, column])


class _Comparing:
    """Both tokenizers in a process of Ray's."""

    def __init__(self, models: Any) -> None:
        document, model = _ray().get(models)
        self.comparer = Comparer(json.loads(document), model)

    def __call__(self, batch: dict[str, Any], column: str) -> dict[str, Any]:
        """One row, with the counts of a batch and its first mismatches by path and text."""
        tally = Tally()
        first: list[tuple[Key, Mismatch]] = []
        for path, value in zip(batch[PATH], batch[column], strict=True):
            if value is None:  # a Parquet column may have no text in a row
                continue
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            for block in corpus.split_text(text):
                counted = self.comparer.compare([block])
                first += [((str(path), block), mismatch) for mismatch in counted.first]
                tally.add(replace(counted, first=[]))
        return {RESULT: [pickle.dumps((tally, _least(first)))]}


def _least(first: list[tuple[Key, Mismatch]]) -> list[tuple[Key, Mismatch]]:
    return sorted(first, key=lambda entry: entry[0])[:SHOWN]


def _total(results: Iterable[Keyed]) -> Tally:
    total = Tally()
    first: list[tuple[Key, Mismatch]] = []
    for tally, some in results:
        total.add(tally)
        first = _least([*first, *some])
    total.first = [mismatch for _, mismatch in first]
    return total


def _one_line(error: BaseException) -> str:
    """The first line of an error, of the one that caused it where Ray wraps it."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, FileNotFoundError):
        return "no such file or folder"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
