"""Empty lines behind spaces, where keys take both.

An expression with [\\r\\n]* gives the newlines behind marks to these, and takes all others with the
spaces in front of them. So newlines are merged together with marks, before words and spaces. But
of "    \\n\\n\\n\\n\\n" the original may join the spaces to two newlines, before it makes one token
of all five: there such a token, "    \\n\\n", is a private letter, and keys write the whole run.
"""

from collections.abc import Collection, Iterator
from itertools import product

from .source import Source, each, merged

SPACES_KEYED = {" ": 24, "\t": 6}  # that one key takes
NEWLINES_KEYED = {"\n": 10, "\r\n": 4}


def tokens(source: Source) -> list[int]:
    """The tokens of spaces and newlines that merging the newlines first would miss."""
    if not source.marks_come_first or not source.rules.mark_endings:
        return []
    known = source.vocabulary.ranks
    newlines = {raw: rank for raw, rank in known.items() if not raw.strip(b"\r\n")}
    found = dict[int, None]()
    runs = list(_runs(source))
    for run, ids in zip(runs, source.encode(runs), strict=True):
        made = merged(merged(each(run.encode()), newlines), known)
        if made != [source.vocabulary.tokens[i] for i in ids]:
            texts = [source.vocabulary.tokens[i] for i in ids]
            found.update((i, None) for i, raw in zip(ids, texts, strict=True) if _is_both(raw))
    return list(found)


def keys(source: Source, token_ids: Collection[int]) -> dict[bytes, bytes]:
    """Keys for all runs, where there are such tokens."""
    runs = list(_runs(source)) if token_ids else []
    return {
        run.encode(): "".join([source.texts[i] for i in ids]).encode()
        for run, ids in zip(runs, source.encode(runs), strict=True)
    }


def _runs(source: Source) -> Iterator[str]:
    """Runs of a space and newlines behind them, and what other spaces stand in such tokens."""
    spaces = [space * n for space, most in SPACES_KEYED.items() for n in range(1, most + 1)]
    found = (run.rstrip("\r\n") for run in source.runs_of_spaces)
    others = {run for run in found if run and not set(run) - {*SPACES_KEYED}} - {*spaces}
    newlines = [line * n for line, most in NEWLINES_KEYED.items() for n in range(2, most + 1)]
    return map("".join, product([*spaces, *sorted(others)], newlines))


def _is_both(raw: bytes) -> bool:
    return raw[:1] in (b" ", b"\t") and raw[-1:] in (b"\r", b"\n")
