"""The parity report as a table for people and as JSON for machines."""

import json
import platform
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from .parity import Report, threshold
from .tally import SHOWN, Mismatch, Section

ROWS = 20  # corpora in the table; JSON has all
RULES = 2  # rules in a row of the table


def to_json(report: Report, thresholds: Mapping[str, float]) -> str:
    """The report as a JSON object, with rates, bounds and speeds beside the counts."""
    document: dict[str, Any] = {
        "vocabulary_size": report.vocabulary_size,
        "pieces": report.pieces,
        "options": asdict(report.options),
        "python": platform.python_version(),
        "unicode": unicodedata.unidata_version,
        "sections": [_section(s, thresholds) for s in (*report.sections, report.round_trip)],
        "above_threshold": [section.name for section in report.above(thresholds)],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _section(section: Section, thresholds: Mapping[str, float]) -> dict[str, Any]:
    low, high = section.bounds
    original, rebuilt = section.speeds
    return {
        "name": section.name,
        "by": section.by,
        "wrong": section.wrong,
        "total": section.total,
        "rate": section.rate,
        "rate_low": low,
        "rate_high": high,
        "threshold": threshold(section.name, thresholds),
        "megabytes_per_second_original": original,
        "megabytes_per_second_rebuilt": rebuilt,
        # asdict makes nothing sensible of a Counter before Python 3.12
        **asdict(replace(section.tally, rules=Counter())),
        "rules": dict(section.tally.rules.most_common()),
    }


def table(report: Report, thresholds: Mapping[str, float]) -> str:
    """The report as plain text."""
    lines = [
        f"{report.vocabulary_size} ids, {report.pieces} pieces; seed {report.options.seed}; "
        f"bounds with 95 % confidence",
        "",
        *_rows(shown_sections(report), thresholds),
    ]
    shown = first_mismatches(report)
    if shown:
        lines += ["", "first mismatches (what differs is in [ ]: the original's, the rebuilt's):"]
    for name, mismatch in shown:
        lines += _mismatch(name, mismatch)
    above = report.above(thresholds)
    if above:
        names = (f"{s.name} {percent(s.rate)} > {threshold(s.name, thresholds):g}" for s in above)
        lines += ["", "above the threshold: " + ", ".join(names)]
    return "\n".join(lines)


def shown_sections(report: Report) -> list[Section]:
    """The sections in order, of the corpora only the ROWS worst."""
    corpora = [s for s in report.sections if s.name.startswith("corpus/")]
    worst = {id(s) for s in sorted(corpora, key=lambda s: -s.rate)[:ROWS]}
    return [
        *(s for s in report.sections if not s.name.startswith("corpus/") or id(s) in worst),
        report.round_trip,
    ]


def first_mismatches(report: Report) -> list[tuple[str, Mismatch]]:
    """The first mismatches of the sections with their names, SHOWN in all, and fair to each."""
    found = [s for s in report.sections if s.tally.first]
    turns = (
        (s.name, s.tally.first[i]) for i in range(SHOWN) for s in found if i < len(s.tally.first)
    )
    chosen = [entry for entry, _ in zip(turns, range(max(SHOWN, len(found))), strict=False)]
    return sorted(chosen, key=lambda entry: [s.name for s in found].index(entry[0]))


def percent(rate: float) -> str:
    """A rate in percent, to three digits."""
    return f"{100 * rate:.3g} %"


def rules(section: Section) -> str:
    """The most frequent rules of a section with their counts."""
    most = section.tally.rules.most_common()
    shown = [f"{rule} {count}" for rule, count in most[:RULES]]
    return ", ".join([*shown, "..."] if len(most) > RULES else shown)


def _rows(sections: Sequence[Section], thresholds: Mapping[str, float]) -> list[str]:
    header = ("section", "wrong", "of", "rate", "at least", "at most", "round trip", "MB/s")
    rows: list[tuple[str, ...]] = [(*header, "original", "rules")]
    above = [s for s in sections if s.rate > threshold(s.name, thresholds)]
    for section in sections:
        original, rebuilt = section.speeds
        low, high = section.bounds
        broken = section.tally.round_trips_broken
        rows.append(
            (
                section.name + (" *" if section in above else ""),
                f"{section.wrong}",
                f"{section.total} {section.by}",
                percent(section.rate),
                percent(low),
                percent(high),
                f"{broken} broken" if broken else "ok" if section.tally.seconds_rebuilt else "",
                f"{rebuilt:.2f}" if rebuilt else "",
                f"{original:.2f}" if original else "",
                rules(section),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if 0 < position < len(widths) - 1 else cell.ljust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _mismatch(name: str, mismatch: Mismatch) -> list[str]:
    return [
        f"  {name}: {mismatch.rule}",
        "    " + marked(mismatch.expected, mismatch.expected_marked),
        "    " + marked(mismatch.got, mismatch.got_marked),
        f"    {mismatch.why}",
    ]


def marked(tokens: Sequence[str], place: tuple[int, int]) -> str:
    """Tokens on one line, those of a place in brackets."""
    shown = [f"'{token}'" for token in tokens]
    start, end = place
    inner = " ".join(shown[start:end])
    return " ".join([*shown[:start], f"[ {inner} ]" if inner else "[ ]", *shown[end:]])
