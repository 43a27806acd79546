"""Characters of several bytes behind a space or in front of a mark, where cuts fall inside tokens.

A vocabulary has tokens that end inside a character, such as a space with the first bytes of a
symbol: " \\xe2\\x9e" of " \\u2794". In front of a number that shares these bytes, as U+2780 does, an
expression cuts behind the space, but the bytes would merge all the same. So the normalizer decides
it: each character behind a space is asked from the original, and where the space is joined, the
token is written as a private letter, which no merge makes (`Spaced`).

In the same way a symbol of several tokens is no letter that glue could bind a mark to, as the "("
in "\\u2794(foo" must be, so that it begins no word. Where the first bytes of the symbol always
merge before others do, its bytes are made one symbol before all (`joined_marks`).
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from .plan import Piece, Role, Stage
from .pre_tokenizer import Kind
from .source import Source, Spaced, decoded, runs_of_spaces
from .spelling import REPLACEMENT, spell
from .tokenizer_json import MAX_ID

NUKTA = 7  # the combining class of marks that follow a letter, never another mark
JOINED = 100_000  # pieces of glue for marks of several tokens, the most frequent blocks first
FEW_WORDS = 10  # tokens
SPACES_KEYED = 16  # spaces in front of one beyond ASCII that one key takes


def spaced(source: Source) -> Spaced:
    """Finds the characters for which the normalizer decides whether a space is joined."""
    rules, tokens = source.rules, source.vocabulary.tokens
    characters = [
        text
        for kind in Kind
        for text in rules.characters(kind)
        if len(text.encode()) > 2 and (text not in source.kept or text in source.spaced)
    ]
    asked = source.encode([" " + text for text in characters])
    first = {t.encode(): tokens.get(ids[0], b" ") for t, ids in zip(characters, asked, strict=True)}
    partial = {raw for raw in tokens.values() if _ends_in_first_character(raw)}
    leads = {raw[0] for raw, head in first.items() if _is_decided(raw, head, source)}
    leads -= _leads_of_words(source)
    contested = {raw for raw in partial if raw[1] in leads}
    heads = {raw: head for raw, head in first.items() if head in contested}
    for raw, head in first.items():
        is_free = len(head) > 1 and raw[0] in leads and raw not in heads
        if is_free and _merged_without(contested, b" " + raw, source) != head:
            heads[raw] = head
    return Spaced(_shortened(heads, first))


def _ends_in_first_character(raw: bytes) -> bool:
    """Whether a token is a space and the first bytes of a character."""
    return 1 < len(raw) < 5 and raw[:1] == b" " and raw[1] >= 0xC2 and decoded(raw) is None


def _is_decided(raw: bytes, head: bytes, source: Source) -> bool:
    """Whether a character of several tokens takes no space, or is a mark that is to be joined."""
    kind = source.rules.kind(raw.decode())
    if raw in source.ids:
        return False
    if head == b" ":
        return kind in (Kind.NUMBER, Kind.SPACE)
    return kind is Kind.MARK and source.rules.marks_begin_words


def _leads_of_words(source: Source) -> set[int]:
    """The first bytes with which tokens of several letters begin, as those of Devanagari do.

    What is merged there depends on the whole word: no letter can be written in advance.
    """
    count: Counter[int] = Counter()
    for raw in source.ids:
        text = decoded(raw.removeprefix(b" "))
        if text is not None and len(text) > 1 and source.rules.kind(text[0]) is Kind.LETTER:
            count[text.encode()[0]] += 1
    return {lead for lead, words in count.items() if words > FEW_WORDS}


def _shortened(heads: Mapping[bytes, bytes], first: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Takes all characters of a block together where a space is joined to each in the same way."""
    blocks: dict[bytes, set[bytes | None]] = defaultdict(set)
    for raw in first:
        blocks[raw[:-1]].add(heads.get(raw))
    found: dict[bytes, bytes] = {}
    for raw, head in heads.items():
        block = raw[:-1]
        found[block if blocks[block] == {head} and head[1:] != block else raw] = head
    return found


def _merged_without(excluded: set[bytes], raw: bytes, source: Source) -> bytes:
    """The first token that merging bytes by rank gives without some tokens."""
    ranks = source.vocabulary.ranks
    parts = [raw[i : i + 1] for i in range(len(raw))]
    while len(parts) > 1:
        pairs = [a + b for a, b in pairwise(parts)]
        usable = [pair for pair in pairs if pair in ranks and pair not in excluded]
        if not usable:
            break
        at = pairs.index(min(usable, key=ranks.__getitem__))
        parts[at : at + 2] = [pairs[at]]
    return parts[0]


def spaced_keys(source: Source) -> dict[bytes, bytes]:
    """The keys that write a space with what follows it."""
    keys: dict[bytes, bytes] = {}
    for raw in source.wide.heads:
        keys[b" " + raw] = source.spell(b" " + raw).encode()
    return keys | _keys_of_spaces(source)


def _keys_of_spaces(source: Source) -> dict[bytes, bytes]:
    """Keys for runs of spaces that end with one beyond ASCII: it is cut off where more follows."""
    rules = source.rules
    in_runs = {character for run in runs_of_spaces(source) for character in run}
    others = [text for text in rules.characters(Kind.SPACE) if text not in in_runs]
    leads = [bytes([b]) for b in (*range(0x21, 0x7F), *range(0xC3, 0xF4))]
    spaces_begin = {text.encode()[:1] for text in others}
    keys: dict[bytes, bytes] = {}
    runs = [(" " * count, text) for text in others for count in range(1, SPACES_KEYED + 1)]
    results = source.encode([run + text for run, text in runs])
    alone = {text: ids for text, ids in zip(others, source.encode(others), strict=True)}
    for (run, text), ids in zip(runs, results, strict=True):
        raw = text.encode()
        apart = (run + "".join([source.texts[i] for i in alone[text]])).encode()
        if ids[-len(alone[text]) :] == alone[text]:
            keys[run.encode() + raw] = apart
        elif run == " ":
            head = source.wide.head(b" " + raw)
            keys[b" " + raw] = (source.spell if head else spell)(b" " + raw).encode()
            for lead in leads if text in rules.shortened else ():
                if lead not in spaces_begin:
                    keys[b" " + raw + lead] = apart + spell(lead).encode()
    return keys


def letters_to_text(source: Source) -> dict[bytes, bytes]:
    """Denormalizer keys for such letters: whole characters, and U+FFFD for the parts of one."""
    keys: dict[bytes, bytes] = {}
    for text in (c for kind in Kind for c in source.rules.characters(kind)):
        raw = b" " + text.encode()
        head = source.wide.head(raw) if len(raw) > 3 else None
        if head is not None:
            letters = source.spell(raw)
            for end in range(1, len(letters)):
                keys[letters[:end].encode()] = b" " + REPLACEMENT
            keys[letters.encode()] = raw
    return keys


# ------------------------------------------------------------------------------------- marks


def promoted(source: Source) -> set[bytes]:
    """The tokens that begin marks of several tokens and can be merged before all others.

    Only where no token of a lower rank ends or begins inside of them: so they are merged first in
    the original too. What the normalizer writes as a letter does not count.
    """
    candidates = {raw[:end] for raw in _marks(source) for end in range(2, len(raw))}
    candidates |= {raw[1:] for raw in _marks(source) if len(raw) == 3}
    ranks = source.vocabulary.ranks
    lowest: dict[tuple[bool, bytes], int] = {}
    for raw, rank in ranks.items():
        for length in (1, 2):
            if len(raw) > length:
                key = (False, raw[:length])
                lowest[key] = min(rank, lowest.get(key, rank))
                if raw not in source.wide.tokens:
                    key = (True, raw[-length:])
                    lowest[key] = min(rank, lowest.get(key, rank))
    found: set[bytes] = set()
    for raw in sorted(candidates & ranks.keys()):
        parts = [(True, raw[:cut]) for cut in range(1, len(raw))]
        parts += [(False, raw[cut:]) for cut in range(1, len(raw))]
        if all(lowest.get(part, ranks[raw]) >= ranks[raw] for part in parts):
            if len(raw) == 2 or raw[:2] in found:
                found.add(raw)
    return found


def _marks(source: Source) -> list[bytes]:
    return [
        raw
        for text in source.rules.characters(Kind.MARK)
        if text not in source.kept and len(raw := text.encode()) > 2
    ]


def _crosses(raw: bytes) -> bool:
    """Whether a token is a character and the first two bytes of the next."""
    return len(raw) > 3 and raw[0] >= 0xC2 and raw[-2] >= 0xE0 and decoded(raw[:-2]) is not None


def joined_marks(source: Source, words: Iterable[str]) -> Iterator[Piece]:
    """Glue for marks of several tokens, and for each with the marks that may not begin a word.

    words: the marks with which words begin.
    """
    if not source.rules.marks_begin_words:
        return
    plain = [mark for mark in words if mark < "\x80"]
    marks = [raw for raw in _marks(source) if {raw[:-1], raw[1:]} & source.promoted]
    ranks = source.vocabulary.ranks
    crossed = {raw[-2:] for raw in ranks if _crosses(raw)}
    marks.sort(key=lambda raw: min(ranks.get(raw[:-1], MAX_ID), ranks.get(raw[1:], MAX_ID)))
    spent = 0
    for raw in marks:
        text = raw.decode()
        near = [m for m in words if m >= "\x80" and abs(ord(m) - ord(text)) < 0x80]
        ids = source.encode([text])[0]
        parts = [source.vocabulary.tokens.get(i) for i in ids]
        if parts not in (
            [raw[:-1], raw[-1:]],
            [raw[:1], raw[1:]],
        ) or not source.promoted.intersection(parts):
            continue
        if raw[:2] in crossed and unicodedata.combining(text) != NUKTA:
            continue  # behind a mark, its first bytes belong to that one's token
        forms = [spell(raw)]
        if source.wide.head(b" " + raw) is not None:
            forms.append(source.spell(b" " + raw))
        for form in forms:
            yield Piece(form, Role.GLUE, Stage.JOIN)
            for mark in (*plain, *near):
                yield Piece(form + source.spell(mark.encode()), Role.GLUE, Stage.HOLD, 1)
            spent += 1 + len(plain) + len(near)
        if spent > JOINED:
            return
