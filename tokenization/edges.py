"""Tokens that join marks to bytes of the character beside them: the last byte of "\u27d4" and '",'.

A letter of several tokens may end or begin with the same bytes, as "\u9ad4" does, and is cut from
the marks beside it. So such tokens are late: they are merged when words are whole, and before that
each letter of several tokens becomes one symbol (`closed`), with which nothing is merged. Late are
also the tokens of marks that the original merges behind one of these and that want bytes of it.

Nothing is late where marks begin words, since runs of marks are merged before words there, nor
where an expression cuts marks from other marks.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from .pre_tokenizer import Kind, PreTokenizer
from .source import Source, decoded
from .spelling import begun, ended, spell, width_of

LATE = 3  # where the ranks of late tokens begin in REJOIN (`closed` has those before)
OTHERS = 100  # marks to each other character that begins like them and is too rare to be looked at
LONGER_KEYS, MORE = 2, 2  # how often a key is made longer, and by how many marks at once


def late(source: Source) -> set[bytes]:
    """The tokens that are merged behind words."""
    rules = source.rules
    if rules.marks_begin_words or source.readable or source.cuts_marks:
        return set()
    surplus = _surplus_of_marks(rules)
    of_marks = {raw for raw in source.vocabulary.ranks if _is_of_marks(raw, surplus, rules)}
    edges = {raw for raw in of_marks if _is_edge(raw, surplus)}
    return _with_rivals(edges, of_marks, source.vocabulary.ranks) - source.promoted


def _surplus_of_marks(rules: PreTokenizer) -> Counter[bytes]:
    """For the first bytes of characters: whether all of these are marks, but for a few: > 0."""
    surplus: Counter[bytes] = Counter()
    for kind in Kind:
        for text in rules.characters(kind):
            raw = text.encode()
            for end in range(1, len(raw)):
                surplus[raw[:end]] += 1 if rules.is_mark(text) else -OTHERS
    return surplus


def _is_of_marks(raw: bytes, surplus: Mapping[bytes, int], rules: PreTokenizer) -> bool:
    """Whether a token is in runs of marks only."""
    text = raw.removeprefix(b" ").decode(errors="surrogateescape")
    whole = [c for c in text if not "\udc80" <= c <= "\udcff"]
    return all(map(rules.is_mark, whole)) and (bool(whole) or surplus[begun(raw)] > 0)


def _is_edge(raw: bytes, surplus: Mapping[bytes, int]) -> bool:
    """Whether such a token may take bytes of a letter in front of it or behind it."""
    return ended(raw) > 0 or surplus[begun(raw)] < 0


def _missing(raw: bytes) -> int:
    """How many bytes the character needs that a token ends in."""
    lead = begun(raw)
    return width_of(lead[0]) - len(lead) if lead else 0


def _with_rivals(edges: set[bytes], of_marks: set[bytes], ranks: Mapping[bytes, int]) -> set[bytes]:
    """Adds what is made of a late token, or would take bytes from one that is merged before it."""
    found, more = set[bytes](), edges
    # what late tokens begin and end with, with the bytes missing there -> their lowest rank
    starts: dict[tuple[bytes, int], int] = {}
    ends: dict[tuple[bytes, int], int] = {}
    while more:
        found |= more
        for raw in more:
            for cut in range(1, len(raw)):
                start, end = (raw[:cut], ended(raw[cut:])), (raw[cut:], _missing(raw[:cut]))
                starts[start] = min(ranks[raw], starts.get(start, ranks[raw]))
                ends[end] = min(ranks[raw], ends.get(end, ranks[raw]))
        more = {
            raw
            for raw in of_marks - found
            if any(
                ends.get((raw[:cut], ended(raw)), ranks[raw]) < ranks[raw]
                or starts.get((raw[cut:], _missing(raw)), ranks[raw]) < ranks[raw]
                for cut in range(1, len(raw))
            )
            or any(ranks[part] < ranks[raw] for part in _parts(raw) if part in found)
        }
    return found


def _parts(raw: bytes) -> Iterator[bytes]:
    return (raw[i:end] for i in range(len(raw)) for end in range(i + 1, len(raw) + 1))


def keys(source: Source) -> dict[bytes, bytes]:
    """Keys for marks that are one letter, where a late token takes bytes of one.

    They write it by its bytes; longer keys leave it whole where another mark decides that.
    """
    tails, heads = _beside(source)
    fronts = ("", " ")
    asked = {(f, c, tail): False for c, found in tails.items() for tail in found for f in fronts}
    asked |= {(head, c, ""): False for c, found in heads.items() for head in found}
    runs = [text for text in map(decoded, source.ids) if text and _is_run(text, source)]
    single = [" ", *(text for text in runs if len(text) == 1)]
    keys: dict[bytes, bytes] = {}
    for _ in range(LONGER_KEYS + 1):
        longer: dict[tuple[str, str, str], bool] = {}  # -> whether the shorter key splits it
        results = source.encode(["".join(parts) for parts in asked])
        for ((front, c, behind), split_before), ids in zip(asked.items(), results, strict=True):
            text = f"{front}{c}{behind}"
            is_split = _is_split(front, c, ids, source)
            if text.encode() in keys or is_split == split_before or not source.knows(ids):
                continue
            keys[text.encode()] = _written(front, c, behind, is_split, source).encode()
            fronts = [r for r in runs if r.endswith(front) and 0 < len(r) - len(front) <= MORE]
            ends = [r for r in runs if r.startswith(behind) and 0 < len(r) - len(behind) <= MORE]
            longer |= {(run, c, behind): is_split for run in (fronts if front else single)}
            longer |= {(front, c, run): is_split for run in (ends if behind else tails[c])}
        asked = longer
    return keys


def _written(front: str, mark: str, behind: str, is_split: bool, source: Source) -> str:
    """How a mark is written with what is beside it; behind a space as that is written elsewhere."""
    kept = () if is_split else source.kept
    raw = f"{mark}{behind}".encode()
    if not front.endswith(" "):
        return spell(front.encode() + raw, kept)
    if source.wide.head(b" " + raw) is not None:
        return spell(front[:-1].encode()) + source.spell(b" " + raw)
    return spell(front.encode() + raw, () if mark in source.spaced else kept)


def _is_run(text: str, source: Source) -> bool:
    """Whether a token is marks in ASCII, or a space and these."""
    marks = text.removeprefix(" ")
    return marks.isascii() and bool(marks) and all(map(source.rules.is_mark, marks))


def _beside(source: Source) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """For marks that are one letter: marks behind that a late token joins to their last bytes.

    And marks in front that one joins to their first bytes.
    """
    tails: dict[str, list[str]] = defaultdict(list)
    heads: dict[str, list[str]] = defaultdict(list)
    for raw in sorted(source.late.tokens):
        end, beginning = raw[: ended(raw)], begun(raw)
        marks = raw[len(end) : len(raw) - len(beginning)].decode()
        if not marks.isascii() or bool(end) == bool(beginning):
            continue
        for c in sorted(source.kept):
            if end and c.encode().endswith(end):
                tails[c].append(marks)
            elif beginning and c.encode().startswith(beginning):
                heads[c].append(marks)
    return tails, heads


def _is_split(front: str, character: str, ids: Iterable[int], source: Source) -> bool:
    """Whether a token ends inside of a character."""
    start = len(front.encode())
    inside = range(start + 1, start + len(character.encode()))
    position = 0
    for token_id in ids:
        position += len(source.vocabulary.tokens.get(token_id, b""))
        if position in inside:
            return True
    return False
