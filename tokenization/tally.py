"""What is counted when two tokenizers are compared, and how sure the rates are."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

SHOWN = 10  # mismatches kept of each section
CONFIDENCE = 0.95
BISECTIONS = 60  # halves an interval of 0 to 1 to less than a float64's last digit near 1
MOST_TERMS = 100_000  # of a continued fraction; it needs about the square root of the count


@dataclass(frozen=True)
class Mismatch:
    """The first tokens that differ in one text, with a few around them.

    text: what the tokens of `expected` stand for; expected, got: the texts of the tokens, the
    original's and the rebuilt model's, all as `alignment.shown` writes them; expected_marked,
    got_marked: first and one past the last of those that differ; rule: the name of what explains
    it; why: the explanation in words.
    """

    text: str
    expected: tuple[str, ...]
    got: tuple[str, ...]
    expected_marked: tuple[int, int]
    got_marked: tuple[int, int]
    rule: str
    why: str


@dataclass
class Tally:
    """Counts over some texts. Seconds are of encoding alone, one text at a time.

    tokens: of the original; tokens_wrong: those that are not in the rebuilt model's ids at the same
    place, and one for each place where it only has tokens too many; rules: how many places each
    rule explains.
    """

    strings: int = 0
    strings_wrong: int = 0
    tokens: int = 0
    tokens_wrong: int = 0
    round_trips_broken: int = 0
    size_bytes: int = 0
    seconds_original: float = 0.0
    seconds_rebuilt: float = 0.0
    rules: Counter[str] = field(default_factory=Counter)
    first: list[Mismatch] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Adds what was counted over later texts."""
        self.strings += other.strings
        self.strings_wrong += other.strings_wrong
        self.tokens += other.tokens
        self.tokens_wrong += other.tokens_wrong
        self.round_trips_broken += other.round_trips_broken
        self.size_bytes += other.size_bytes
        self.seconds_original += other.seconds_original
        self.seconds_rebuilt += other.seconds_rebuilt
        self.rules.update(other.rules)
        self.first = [*self.first, *other.first][:SHOWN]


@dataclass(frozen=True)
class Section:
    """One line of the report. `by` says what its rate is a share of."""

    name: str
    by: Literal["strings", "tokens"]
    tally: Tally

    @property
    def wrong(self) -> int:
        """How many strings, or tokens, are wrong."""
        return self.tally.strings_wrong if self.by == "strings" else self.tally.tokens_wrong

    @property
    def total(self) -> int:
        """How many strings, or tokens, were compared."""
        return self.tally.strings if self.by == "strings" else self.tally.tokens

    @property
    def rate(self) -> float:
        """Wrong of all, 0.0 to 1.0."""
        # more tokens than the original has may be wrong, where a model adds some
        return min(1.0, self.wrong / self.total) if self.total else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """What the rate may be on other texts of the kind, see `interval`."""
        return interval(min(self.wrong, self.total), self.total)

    @property
    def speeds(self) -> tuple[float, float]:
        """Megabytes a second of the original and of the rebuilt model; 0.0 where nothing ran."""
        seconds = (self.tally.seconds_original, self.tally.seconds_rebuilt)
        original, rebuilt = (self.tally.size_bytes / 1e6 / s if s else 0.0 for s in seconds)
        return original, rebuilt


def interval(count: int, total: int) -> tuple[float, float]:
    """The exact two-sided bounds of a rate of which `count` in `total` were seen.

    With CONFIDENCE, if each of the total is wrong or not independently of the others; tokens of one
    text are not, so for them the bounds are somewhat too near. (0.0, 1.0) for a total of 0.
    Source: Clopper and Pearson 1934: the bounds are quantiles of beta distributions.
    """
    tail = (1 - CONFIDENCE) / 2
    low = _quantile(tail, count, total - count + 1) if count else 0.0
    high = _quantile(1 - tail, count + 1, total - count) if count < total else 1.0
    return low, high


def _quantile(share: float, a: int, b: int) -> float:
    """Where the distribution function of Beta(a, b) is `share`."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _beta(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(x: float, a: int, b: int) -> float:
    """The distribution function of Beta(a, b) at x, 0 < x < 1.

    Source: DLMF 8.17.22, its continued fraction, which converges fast left of the mean; right of it
    the symmetry 1 - Beta(b, a) at 1 - x is taken.
    """
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    log_front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
        - math.log(a)
    )
    return math.exp(log_front) / _fraction(x, a, b)


def _fraction(x: float, a: int, b: int) -> float:
    """1 + d1 / (1 + d2 / (1 + ...)), from the front, as ratios of successive convergents."""
    value = numerators = 1.0
    denominators = 0.0
    for term in range(1, MOST_TERMS):
        m = term // 2
        if term % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominators = 1 / (1 + d * denominators)
        numerators = 1 + d / numerators
        step = numerators * denominators
        value *= step
        if abs(step - 1) < 1e-14:
            break
    return value
