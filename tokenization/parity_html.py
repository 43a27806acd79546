"""The parity report as one HTML file that needs nothing else, with plots in SVG."""

import math
from collections.abc import Mapping, Sequence
from html import escape

from .parity import Report, threshold
from .parity_report import percent, rules, shown_sections
from .tally import Mismatch, Section

LEAST = 1e-7  # the left end of the logarithmic axis; lower rates are drawn there
LABELS, PLOT, ROW, TOP = 220, 760, 22, 28  # pixels: widths, the height of a row, and of the axis
SPACE = "\u2423"  # the open box
SPEED_GROUPS = ("sample", "corpus")  # short strings tell more of calls than of encoding

STYLE = """
:root { color-scheme: light dark; --ink: #1c2227; --soft: #5d6b76; --line: #d5dbe0;
  --paper: #fbfbfa; --good: #2f7d4f; --bad: #c2410c; --other: #64748b; --mark: #fde2c8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ed; --soft: #94a3ae; --line: #36404a;
  --paper: #14181c; --good: #5fbf87; --bad: #fb923c; --other: #8b9bb0; --mark: #5a3413; } }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { color: var(--soft); margin: .2rem 0 .8rem; max-width: 48rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
td:last-child { white-space: normal; min-width: 11rem; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
.above td:first-child, .above .rate { color: var(--bad); font-weight: 600; }
svg { display: block; max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .soft { fill: var(--soft); } svg line { stroke: var(--line); }
svg .ok { stroke: var(--good); fill: var(--good); }
svg .bad { stroke: var(--bad); fill: var(--bad); }
svg .limit { stroke: var(--soft); stroke-dasharray: 3 3; }
svg .rebuilt { fill: var(--good); } svg .original { fill: var(--other); }
section { border-top: 1px solid var(--line); padding: .7rem 0; }
h3 { font-size: 1rem; margin: 0 0 .3rem; } summary { color: var(--soft); cursor: pointer; }
article { padding: .3rem 0 .5rem; }
article h4 { font-size: .85rem; margin: 0 0 .2rem; } article p { margin: .2rem 0 0; }
article div { font: 13px/1.9 ui-monospace, monospace; overflow-wrap: anywhere; }
article b { display: inline-block; width: 5rem; font: 12px system-ui, sans-serif;
  color: var(--soft); }
.token { border: 1px solid var(--line); border-radius: 4px; padding: 0 .25rem; margin-right: 2px;
  white-space: pre-wrap; }
mark { background: var(--mark); color: inherit; } mark:empty::after { content: "nothing"; }
"""


def to_html(report: Report, thresholds: Mapping[str, float], title: str) -> str:
    """The whole page."""
    sections = shown_sections(report)
    options = report.options
    above = report.above(thresholds)
    verdict = (
        f"{len(above)} of {len(report.sections) + 1} rates are above their threshold."
        if above
        else "No rate is above its threshold."
    )
    body = [
        f"<h1>Tokenizer parity: {escape(title)}</h1>",
        f"<p>{report.vocabulary_size:,} ids, {report.pieces:,} pieces; {options.pairs:,} pairs, "
        f"{options.fuzz:,} strings a fuzz class, seed {options.seed}. {verdict}</p>",
        "<h2>Mismatch rates</h2>",
        "<p>A dot is the measured rate, the line its exact 95 % bounds (Clopper-Pearson), on a "
        f"logarithmic scale. Nothing wrong has its dot at the left end ({LEAST:g} or less); the "
        "line then says how much may be wrong unseen. Dashes are thresholds above 0.</p>",
        _rates(sections, thresholds),
        "<h2>Speed</h2>",
        "<p>Encoding, one block of about 4,096 characters at a time, in MB/s of UTF-8.</p>",
        _speeds([s for s in sections if s.name.partition("/")[0] in SPEED_GROUPS]),
        "<h2>Counts</h2>",
        _table(sections, thresholds),
        "<h2>First mismatches</h2>",
        *(_mismatches(section) for section in sections if section.tally.first),
        "" if any(section.tally.first for section in sections) else "<p>None.</p>",
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>Tokenizer parity: {escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _place(rate: float) -> float:
    """Where a rate lies on the axis, in pixels."""
    share = 1 - math.log10(max(rate, LEAST)) / math.log10(LEAST)
    return LABELS + PLOT * share


def _rates(sections: Sequence[Section], thresholds: Mapping[str, float]) -> str:
    height = TOP + ROW * len(sections)
    shapes: list[str] = []
    for exponent in range(round(math.log10(LEAST)), 1):
        x = _place(10.0**exponent)
        shapes.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height}"/>')
        label = percent(10.0**exponent).replace("e-0", "e-")
        shapes.append(_text(x, TOP - 10, label, "middle", "soft"))
    for i, section in enumerate(sections):
        y = TOP + ROW * (i + 0.5)
        limit = threshold(section.name, thresholds)
        kind = "bad" if section.rate > limit else "ok"
        low, high = map(_place, section.bounds)
        shapes.append(_text(LABELS - 12, y + 4, section.name, "end"))
        shapes.append(
            f'<g class="{kind}"><title>{escape(section.name)}: {section.wrong} of {section.total} '
            f'{section.by}, {percent(section.rate)}</title><line class="{kind}" x1="{low:.1f}" '
            f'x2="{high:.1f}" y1="{y}" y2="{y}" stroke-width="2"/>'
            f'<circle cx="{_place(section.rate):.1f}" cy="{y}" r="4"/></g>'
        )
        if limit > 0:
            x = _place(limit)
            ends = f'y1="{y - ROW / 2}" y2="{y + ROW / 2}"'
            shapes.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
    return _svg(height, "Mismatch rate of each section", shapes)


def _speeds(sections: Sequence[Section]) -> str:
    if not sections:
        return "<p>No corpus was compared.</p>"
    fastest = max(1e-9, *(speed for section in sections for speed in section.speeds))
    height = TOP + 2 * ROW * len(sections)
    shapes: list[str] = [
        _text(LABELS, TOP - 10, "rebuilt", "start", "rebuilt"),
        _text(LABELS + 70, TOP - 10, "original", "start", "original"),
    ]
    for i, section in enumerate(sections):
        y = TOP + 2 * ROW * i
        shapes.append(_text(LABELS - 12, y + ROW, section.name, "end"))
        original, rebuilt = section.speeds
        for j, (kind, speed) in enumerate((("rebuilt", rebuilt), ("original", original))):
            width = (PLOT - 50) * speed / fastest
            bar = y + 4 + j * 17
            shapes.append(
                f'<rect class="{kind}" x="{LABELS}" y="{bar}" width="{width:.1f}" height="14"/>'
            )
            shapes.append(_text(LABELS + width + 6, bar + 11, f"{speed:.2f}", "start", "soft"))
    return _svg(height, "Speed of both tokenizers", shapes)


def _svg(height: float, label: str, shapes: Sequence[str]) -> str:
    width = LABELS + PLOT + 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 6}" '
        f'width="{width}" role="img" aria-label="{label}">' + "".join(shapes) + "</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    shown = text if len(text) <= 32 else "\u2026" + text[-31:]
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of_kind}>{escape(shown)}</text>'


def _table(sections: Sequence[Section], thresholds: Mapping[str, float]) -> str:
    names = ("section", "wrong", "of", "", "rate", "at least", "at most", "broken round trips")
    header = "".join(f"<th>{name}</th>" for name in (*names, "MB/s", "original", "rules"))
    rows: list[str] = []
    for section in sections:
        original, rebuilt = section.speeds
        low, high = section.bounds
        cells = (
            f"<td>{escape(section.name)}</td><td>{section.wrong:,}</td><td>{section.total:,}</td>"
            f'<td>{section.by}</td><td class="rate">{percent(section.rate)}</td>'
            f"<td>{percent(low)}</td><td>{percent(high)}</td>"
            f"<td>{section.tally.round_trips_broken:,}</td>"
            f"<td>{f'{rebuilt:.2f}' if rebuilt else ''}</td>"
            f"<td>{f'{original:.2f}' if original else ''}</td><td>{escape(rules(section))}</td>"
        )
        is_above = section.rate > threshold(section.name, thresholds)
        rows.append(f"<tr{_class(is_above)}>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{header}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _class(is_above: bool) -> str:
    return ' class="above"' if is_above else ""


def _mismatches(section: Section) -> str:
    """The first mismatch of a section, and the others folded away."""
    first, *others = (_mismatch(mismatch) for mismatch in section.tally.first)
    more = f"<details><summary>{len(others)} more</summary>{''.join(others)}</details>"
    return f"<section><h3>{escape(section.name)}</h3>{first}{more if others else ''}</section>"


def _mismatch(mismatch: Mismatch) -> str:
    return (
        f"<article><h4>{escape(mismatch.rule)}</h4>"
        f"<div><b>original</b>{_tokens(mismatch.expected, mismatch.expected_marked)}</div>"
        f"<div><b>rebuilt</b>{_tokens(mismatch.got, mismatch.got_marked)}</div>"
        f"<p>{escape(mismatch.why)}</p></article>"
    )


def _tokens(tokens: Sequence[str], place: tuple[int, int]) -> str:
    texts = (escape(token).replace(" ", SPACE) for token in tokens)
    shown = [f'<span class="token">{text}</span>' for text in texts]
    start, end = place
    return "".join((*shown[:start], "<mark>", *shown[start:end], "</mark>", *shown[end:]))
