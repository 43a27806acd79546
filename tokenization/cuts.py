"""Where the original cuts characters of several bytes: alone, and next to others."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from .pre_tokenizer import Kind
from .source import Source, pattern_of
from .spelling import begun, ended
from .wide import wide_characters

# what a character is put between, to see whether it is cut in the same way
BETWEEN = (
    *(("", "a"), ("a", ""), ("(", "("), ("", '",'), ("\n", "\n"), ("1", "1")),
    *(("\u306e", ""), ("", "\u306e"), ("", "\ufe0f"), ("", "\u200d")),
)
FIRST_OF_THREE_BYTES = 0x800
PRIVATE_USE, PLANE_14 = range(0xE000, 0xF900), range(0xE0000, 0xE01F0)


def characters(source: Source) -> list[str]:
    """The characters of three bytes and more, those of private use and of plane 14 as well."""
    assigned = (c for c in map(chr, PLANE_14) if unicodedata.category(c) != "Cn")
    return sorted({*wide_characters(source), *map(chr, PRIVATE_USE), *assigned})


class Cuts:
    """How a tokenizer cuts characters of three bytes and more that are not one letter.

    marks: those of several tokens; parts: their tokens of several bytes; characters: these, and
    others that have such a part in them or begin with the same two bytes; alone: character -> its
    tokens; behind_space: likewise with a space that may be joined to it, where no letter is written
    for the two; takers: the first token of characters -> the tokens of a run of marks and this one,
    which all of them give behind that run, as ' "\\xf0\\x9f'; seen: where tokens begin and end in a
    character, in bytes, for each of the texts that it was looked at in, as if a taker were two, and
    a tail (`tails`), of which the first bytes are the keys of `tails` here.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = source.vocabulary.tokens
        marks = source.rules.characters(Kind.MARK, FIRST_OF_THREE_BYTES)
        self.alone = self.tokens_of([c for c in marks if c not in source.kept], "{0}")
        self.marks = [c for c, tokens in self.alone.items() if len(tokens) > 1]
        parts = {part for c in self.marks for part in self.alone[c] if len(part) > 1}
        self.parts = parts.intersection(source.vocabulary.ranks)
        starts, pattern = {c.encode()[:2] for c in self.marks}, pattern_of(self.parts)
        self.characters = [
            c
            for c in characters(source)
            if c not in source.kept
            and ((raw := c.encode())[:2] in starts or pattern.search(raw) is not None)
        ]
        others = [c for c in self.characters if c not in self.alone]
        self.alone |= self.tokens_of(others, "{0}")
        spaced = [
            c
            for c in (*self.characters, *sorted(source.spaced))
            if source.wide.head(f" {c}".encode()) is None and len(source.rules.cut(f" {c}")) == 1
        ]
        self.behind_space = self.tokens_of(spaced, " {0}")
        self.tails: dict[bytes, set[bytes]] = defaultdict(set)
        for token_id, (end, _) in source.tails.items():
            self.tails[end].add(self.tokens[token_id])
        self.seen: dict[str, set[frozenset[int]]] = {}
        # the last bytes of a character -> what is in one token with them, and the first bytes
        self.behind: dict[bytes, set[str]] = defaultdict(set)
        self.before: dict[bytes, set[str]] = defaultdict(set)
        for raw in source.ids:
            end, beginning = ended(raw), begun(raw)
            text = raw[end : len(raw) - len(beginning)].decode(errors="ignore")
            if end and text:
                self.behind[raw[:end]].add(text)
            elif beginning and text.strip(" "):
                self.before[beginning].add(text)
        self.takers = self._takers()

    def _takers(self) -> dict[bytes, set[bytes]]:
        """Left over are letters and numbers of several tokens behind such a run: they are rare."""
        of_first = {self.alone[c][0]: list[str]() for c in self.marks}
        marks = set(self.marks)
        for c in self.characters:
            if c in marks or len(self.alone.get(c, ())) == 1:
                for end in (2, 3):
                    of_first.get(c.encode()[:end], []).append(c)
        found: dict[bytes, set[bytes]] = defaultdict(set)
        for first, of_it in of_first.items():
            for run in self.before.get(first, ()) if of_it else ():
                raw = run.encode() + first
                is_run = all(map(self.source.is_letter_mark, run.removeprefix(" ")))
                if is_run and raw in self.source.vocabulary.ranks:
                    given = self.tokens_of(of_it, run + "{0}")
                    if all(tokens[0].startswith(raw) for tokens in given.values()):
                        found[first].add(raw)
        return found

    def tokens_of(self, characters: list[str], form: str) -> dict[str, tuple[bytes, ...]]:
        """The tokens of each, but for characters that have an id that is no token."""
        texts = [form.format(c) for c in characters]
        results = zip(characters, texts, self.source.encode(texts), strict=True)
        every = (
            (c, text, tuple(self.tokens.get(token_id, b"") for token_id in ids))
            for c, text, ids in results
        )
        return {c: tokens for c, text, tokens in every if b"".join(tokens) == text.encode()}

    def look_at(self, characters: Iterable[str]) -> None:
        """Sees where the original cuts these characters when something stands beside them."""
        new = [c for c in characters if c in self.alone and c not in self.seen]
        self.seen.update((c, set()) for c in new)
        texts = [(c, a, b) for c in new for a, b in self._between(c)]
        results = self.source.encode([a + c + b for c, a, b in texts])
        for (c, a, _), ids in zip(texts, results, strict=True):
            start, width = len(a.encode()), len(c.encode())
            tokens = [self.tokens.get(token_id, b"") for token_id in ids]
            ends = ends_of(tokens)
            if a.encode() + self.alone[c][0] in self.takers[self.alone[c][0]]:
                ends |= self._as_if_alone(tokens[0], a, c)
            if not self.tails[self.alone[c][-1]].isdisjoint(tokens):
                ends.add(start + width)
            self.seen[c].add(frozenset(end - start for end in ends if 0 <= end - start <= width))

    def _as_if_alone(self, taken: bytes, run: str, c: str) -> set[int]:
        """Where a token of a run and the first token of a character, or all of them, has those."""
        start, alone = len(run.encode()), ends_of(self.alone[c])
        return {start + end for end in alone if end == 0 or taken == (run + c).encode()}

    def _between(self, c: str) -> Iterator[tuple[str, str]]:
        """Texts in front of a character and behind it, those with which it shares tokens included.

        A mark in front of letters begins a word, which may take its last byte: that is left over,
        since few letters follow a mark without a space. A combining mark does where the expression
        has it among letters, but emoji that are wide need no variation selector. Left over too are
        rare letters next to those few with which they share one: ideographs and syllables of
        several tokens, letters that begin with a token of one byte, and letters beside another
        script; and what combines with a letter, behind a mark that does not.
        """
        raw, rules = c.encode(), self.source.rules
        is_mark = rules.kind(c) is Kind.MARK
        is_wide = unicodedata.east_asian_width(c) == "W" or unicodedata.category(c) == "Cn"
        is_rare = is_wide or len(self.alone[c][0]) == 1
        combines = unicodedata.category(c)[0] == "M"
        between = [*BETWEEN, (c, c)]
        if is_mark or not is_rare:
            behind = [t for n in range(1, 4) for t in sorted(self.behind.get(raw[-n:], ()))]
            before = [t for n in range(1, 4) for t in sorted(self.before.get(raw[:n], ()))]
            if is_mark and not combines:
                behind = [t for t in behind if unicodedata.category(t[0])[0] != "M"]
            between += [("", t) for t in behind if is_mark or _script(t[0]) == _script(c)]
            between += [(t, "") for t in before if is_mark or _script(t[-1]) == _script(c)]
        for a, b in between:
            begins_word = is_mark and b != "" and rules.kind(b[0]) is Kind.LETTER
            begins_word &= is_wide or b[:1].isalpha()
            if not begins_word and self.source.is_normal(a + c + b):
                yield a, b

    def is_apart(self, c: str, length: int = 4) -> bool:
        """Whether the first bytes of a character are always cut as they are alone, and cut off."""
        tokens = self.alone.get(c, ())
        if c not in self.seen or self.behind_space.get(c, (b" ", *tokens)) != (b" ", *tokens):
            return False
        alone = {end for end in ends_of(tokens) if end <= length}
        return all({end for end in ends if end <= length} == alone for ends in self.seen[c])


def _script(c: str) -> str:
    """The script of a letter, as its name begins."""
    return unicodedata.name(c, "").split(" ")[0]


def ends_of(tokens: Iterable[bytes]) -> set[int]:
    """Where tokens begin and end, in bytes."""
    ends = [0]
    for token in tokens:
        ends.append(ends[-1] + len(token))
    return set(ends)
