"""The report as table, JSON and HTML."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from taskpress.tokenization import parity_html, parity_report
from taskpress.tokenization.parity import Options, Report
from taskpress.tokenization.tally import Mismatch, Section, Tally

MISMATCH = Mismatch(
    text="<a & b>",
    expected=("x", "<a", " &", "b>"),
    got=("x", "<a &", "b>"),
    expected_marked=(1, 3),
    got_marked=(1, 2),
    rule="merged across a cut",
    why="the original cuts before U+0020 ' ' & the rebuilt merged across it",
)


def tally(wrong: int, first: list[Mismatch]) -> Tally:
    found = Tally(100, wrong, 1000, wrong, 0, 5_000_000, 2.0, 1.0, first=first)
    found.rules.update({"merged across a cut": wrong} if wrong else {})
    return found


@pytest.fixture
def report() -> Report:
    sections = (
        Section("pairs/honest", "strings", tally(0, [])),
        Section("sample/prose", "tokens", tally(2, [MISMATCH, replace(MISMATCH, rule="other")])),
        Section("fuzz/digits", "strings", tally(3, [MISMATCH])),
    )
    return Report(1000, 1234, Options(), sections)


def test_the_table_has_rates_bounds_speeds_and_mismatches(report: Report) -> None:
    lines = parity_report.table(report, {"fuzz": 0.5}).splitlines()
    assert lines[0].startswith("1000 ids, 1234 pieces; seed 0")
    (prose,) = (line for line in lines if line.startswith("sample/prose *"))
    cells = ["2", "1000 tokens", "0.2 %", "0.0242 %", "0.721 %", "ok", "5.00", "2.50"]
    for cell in (*cells, "merged across a cut 2"):
        assert f" {cell}" in prose
    (digits,) = (line for line in lines if line.startswith("fuzz/digits "))
    assert "3 %" in digits
    assert "*" not in digits
    assert "    'x' [ '<a' ' &' ] 'b>'" in lines
    assert "    'x' [ '<a &' ] 'b>'" in lines
    assert f"    {MISMATCH.why}" in lines
    assert lines[-1] == "above the threshold: sample/prose 0.2 % > 0"


def test_the_table_of_an_exact_model_has_no_more_than_rows() -> None:
    exact = Report(1, 1, Options(), (Section("bytes", "strings", Tally(strings=5)),))
    table = parity_report.table(exact, {})
    assert "mismatches" not in table
    assert "threshold" not in table


def test_the_table_has_the_worst_corpora() -> None:
    sections = tuple(
        Section(f"corpus/{i}", "tokens", tally(i, [])) for i in range(parity_report.ROWS + 5)
    )
    lines = parity_report.table(Report(1, 1, Options(), sections), {"": 1}).splitlines()
    rows = [line.split()[0] for line in lines if line.startswith("corpus/")]
    assert rows == [f"corpus/{i}" for i in range(5, parity_report.ROWS + 5)]


def test_mismatches_are_shared_out_among_the_sections() -> None:
    many = Section("fuzz/a", "strings", tally(9, [MISMATCH] * 10))
    few = Section("fuzz/b", "strings", tally(9, [MISMATCH]))
    shown = parity_report.first_mismatches(Report(1, 1, Options(), (many, few)))
    assert [name for name, _ in shown] == ["fuzz/a"] * 9 + ["fuzz/b"]


def test_json_has_the_counts_and_rates(report: Report) -> None:
    document = json.loads(parity_report.to_json(report, {"": 0.5, "sample/prose": 0.001}))
    assert document["above_threshold"] == ["sample/prose"]
    assert document["options"]["pairs"] == 20_000
    prose = document["sections"][1]
    assert (prose["name"], prose["rate"], prose["threshold"]) == ("sample/prose", 0.002, 0.001)
    assert prose["rate_low"] < 0.002 < prose["rate_high"]
    assert prose["megabytes_per_second_rebuilt"] == 5.0
    assert prose["first"][0]["why"] == MISMATCH.why
    assert prose["rules"] == {"merged across a cut": 2}
    assert document["sections"][-1]["name"] == "round-trip"


class Tags(HTMLParser):
    """Checks that tags are closed in order, and collects what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


def test_html_is_one_whole_page(report: Report) -> None:
    page = parity_html.to_html(report, {"fuzz": 0.5}, "a <model>")
    parsed = Tags()
    parsed.feed(page)
    parsed.close()
    assert parsed.open == []
    assert parsed.links == []  # nothing is loaded
    assert "Tokenizer parity: a <model>" in parsed.texts["title"]
    assert "prefers-color-scheme: dark" in page
    assert MISMATCH.why in parsed.texts["p"]
    assert parsed.texts["span"][1:3] == ["<a", "\u2423&"]
    assert "1 of 4 rates are above their threshold." in page


def test_plots_are_svg_with_a_mark_for_each_section(report: Report) -> None:
    page = parity_html.to_html(report, {"fuzz": 0.5}, "x")
    plots = [part.partition("</svg>")[0] for part in page.split("<svg")[1:]]
    rates, speeds = (ElementTree.fromstring(f"<svg{plot}</svg>") for plot in plots)
    name = "{http://www.w3.org/2000/svg}"
    circles = rates.findall(f".//{name}circle")
    assert len(circles) == len(report.sections) + 1
    places = [float(circle.attrib["cx"]) for circle in circles]
    left, prose, digits, _ = places
    assert left == parity_html.LABELS
    # the axis is logarithmic: seven powers of ten over its width
    assert digits - prose == pytest.approx(parity_html.PLOT / 7 * 1.17609, abs=0.2)
    bars = [float(bar.attrib["width"]) for bar in speeds.findall(f".//{name}rect")]
    assert bars[0] == pytest.approx(2 * bars[1], abs=0.2)
    assert len([g for g in rates.findall(f"{name}g") if g.attrib["class"] == "bad"]) == 1


def test_a_page_without_mismatches_says_so() -> None:
    exact = Report(1, 1, Options(), (Section("bytes", "strings", Tally(strings=5)),))
    page = parity_html.to_html(exact, {}, "x")
    assert "<p>None.</p>" in page
    assert "No rate is above its threshold." in page
    assert "No corpus was compared." in page
