"""What is compiled, and what all parts of the compiler ask about it."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from tokenizers import Tokenizer

from .pre_tokenizer import Kind, PreTokenizer
from .spelling import begun, spell
from .tokenizer_json import MAX_ID, Vocabulary

# Pieces of tokens and of rare glue: SentencePiece models of more would be larger than 20 MB. What a
# vocabulary leaves goes to words behind a tab, and in parts to what is rarer still.
PIECES = 325_000
# characters, and where a token begins or ends inside of one its bytes there
CHARACTERS_AND_PARTS = re.compile("[\udcc0-\udcff]?[\udc80-\udcbf]+|.", re.DOTALL)


@dataclass(frozen=True)
class Spaced:
    """What is written for a character behind a space: a token as a letter, and its other bytes.

    heads: the bytes of a character, or the first bytes of a whole block of them -> the token that
    the space in front of it is in; each of these tokens is written as a private letter.
    """

    heads: dict[bytes, bytes] = field(default_factory=dict)

    @cached_property
    def tokens(self) -> frozenset[bytes]:
        """All these tokens."""
        return frozenset(self.heads.values())

    def head(self, raw: bytes) -> bytes | None:
        """The token that `raw`, which begins with a space, is written with; None for none."""
        if raw in self.tokens:
            return raw
        for end in range(min(len(raw), 5), 2, -1):
            if raw[1:end] in self.heads:
                return self.heads[raw[1:end]]
        return None


@dataclass(frozen=True)
class Late:
    """What is merged behind words (`edges`).

    tokens: those of marks that are; beginnings: the symbols with which they begin; closed: the
    letters that become one symbol before that, and their first tokens -> the tokens of them.
    """

    tokens: set[bytes] = field(default_factory=set)
    beginnings: set[bytes] = field(default_factory=set)
    closed: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """Characters beyond ASCII that are written by their tokens (`marks`).

    letters: the tokens of several bytes that are private letters; of: character -> these, and its
    other bytes; behind_space: likewise with a space in front, where that makes other tokens;
    joined: the marks that can be one symbol, the most frequent first; takers: the letters that
    these begin with -> the tokens of a run of marks and such a letter.
    """

    letters: frozenset[bytes] = frozenset()
    of: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    behind_space: dict[str, tuple[bytes, ...]] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)
    takers: dict[bytes, set[bytes]] = field(default_factory=dict)

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """Finds any of the letters."""
        return pattern_of(self.letters)

    def is_taken(self, raw: bytes) -> bool:
        """Whether a token is made of a taker, or is one."""
        text = raw.decode(errors="ignore")
        symbols = self.of.get(text[-1:], ())
        begins = raw.removesuffix(text[-1:].encode()) + symbols[0] if symbols else raw
        return begins in self.takers.get(symbols[0] if symbols else begun(raw), ())

    def symbols(self, raw: bytes, kept: Collection[str]) -> tuple[bytes, ...]:
        """What some bytes are written as: these letters, kept characters and single bytes."""
        found: list[bytes] = []
        text = raw.decode(errors="surrogateescape")
        if text[:1] == " " and text[1:2] in self.behind_space:
            found += self.behind_space[text[1]]
            text = text[2:]
        for piece in CHARACTERS_AND_PARTS.findall(text):
            part = piece.encode(errors="surrogateescape")
            if piece in self.of:
                found += self.of[piece]
            elif piece in kept:
                found.append(part)
            else:
                found += each(part) if len(piece) == 1 else self._of_part(part)
        return tuple(found)

    def spelled(self, tokens: Iterable[bytes]) -> tuple[bytes, ...]:
        """What some tokens of a character are written as."""
        return tuple(symbol for token in tokens for symbol in self.symbols(token, ()))

    def _of_part(self, part: bytes) -> Iterator[bytes]:
        """Likewise for the first or last bytes of a character."""
        cuts = range(len(part) + 1)
        held = [(i, end) for i in cuts for end in reversed(cuts) if part[i:end] in self.letters]
        begin, end = next(((i, e) for i, e in held if i == 0 or e == len(part)), (0, 0))
        yield from each(part[:begin])
        yield from [part[begin:end]] if end else ()
        yield from each(part[end:])


@dataclass(frozen=True)
class Source:
    """What is compiled: the vocabulary, the rules, and the original to ask how it encodes.

    ids: bytes -> id; kept: characters beyond ASCII that are one letter, and not one a byte;
    spaced: those of them that the original splits behind a space; private: id -> the letter of a
    token that no merge may make; texts: id -> how the token is spelled; looked_up: the words that
    the original takes whole although no merges make them; unreached: tokens that no merge makes;
    runs: runs of one space beyond ASCII -> their letters, where keys take them whole;
    empty_lines: tokens of spaces and several newlines that keys write;
    endings: contractions that end words -> their ids;
    comments: "/*" and the like, the longest first, where they need a letter of their own;
    wide: what is written behind a space; parts: characters that are written by their tokens;
    promoted: tokens that are merged before all others;
    readable: whether each token is to be spelled by its own text (`plain`); composed: the texts of
    tokens then that have a character without a token; never: tokens that may not be found;
    tails: tokens of the last bytes of a mark and of marks behind it (`tails`) -> these two;
    late: what is merged behind words instead (`edges`).
    """

    vocabulary: Vocabulary
    rules: PreTokenizer
    original: Tokenizer
    ids: dict[bytes, int]
    kept: set[str] = field(default_factory=set)
    spaced: set[str] = field(default_factory=set)
    private: dict[int, str] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    looked_up: set[int] = field(default_factory=set)
    unreached: set[int] = field(default_factory=set)
    runs: dict[str, str] = field(default_factory=dict)
    empty_lines: set[int] = field(default_factory=set)
    endings: dict[str, int] = field(default_factory=dict)
    comments: list[bytes] = field(default_factory=list)
    wide: Spaced = field(default_factory=Spaced)
    parts: Parts = field(default_factory=Parts)
    promoted: set[bytes] = field(default_factory=set)
    readable: bool = False
    composed: set[str] = field(default_factory=set)
    never: set[int] = field(default_factory=set)
    tails: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    late: Late = field(default_factory=Late)

    @property
    def room(self) -> int:
        """How many pieces there may be of glue that is rare."""
        return max(0, PIECES - self.vocabulary.size)

    @cached_property
    def cuts_marks(self) -> bool:
        """Whether there are marks that are cut from other marks."""
        return bool((self.rules.kinds == Kind.APART).any())

    @property
    def marks_come_first(self) -> bool:
        """Whether runs of marks are merged before words: one may begin a word, or a contraction."""
        merged = self.rules.contractions if self.readable else self.contractions_of_parts
        return self.rules.marks_begin_words or bool(merged)

    @cached_property
    def contractions_of_parts(self) -> tuple[str, ...]:
        """The contractions of one letter that are no token, but the apostrophe and the letter."""
        short = [text for text in self.rules.contractions if len(text) == 2]
        results = self.encode(short)
        return tuple(t for t, ids in zip(short, results, strict=True) if len(ids) == 2)

    def is_letter_mark(self, character: str) -> bool:
        """Whether a mark is one letter, as all in ASCII are."""
        known = character < "\x80" or character in self.kept
        return known and self.rules.kind(character) is Kind.MARK

    @cached_property
    def words_by_mark(self) -> dict[str, list[bytes]]:
        """The marks with which tokens of letters, or of first bytes of one, begin -> these tokens.

        Where no mark begins a word, only those of contractions.
        """
        contractions = {text[0] for text in self.rules.contractions}
        found: dict[str, list[bytes]] = defaultdict(list)
        for raw in self.ids:
            text = words_beginning(raw, self)
            if text is not None and self.is_letter_mark(text[0]):
                found[text[0]].append(raw)
        begin_words = found if self.rules.marks_begin_words else contractions.intersection(found)
        return {mark: found[mark] for mark in sorted(begin_words)}

    @cached_property
    def runs_of_spaces(self) -> list[str]:
        """The tokens that are several spaces."""
        texts = map(decoded, self.vocabulary.tokens.values())
        return [t for t in texts if t is not None and len(t) > 1 and is_spaces(t, self.rules)]

    @cached_property
    def rank_behind_space(self) -> dict[bytes, int]:
        """The ranks, where a space with a character beyond ASCII has that of what takes the space.

        Of " \u201d," the original may merge " \\xe2" before it has the quote, and so before '",'.
        """
        ranks = self.vocabulary.ranks
        found = dict(ranks)
        for raw in ranks:
            if raw[:1] == b" " and raw[1:2] >= b"\xc2" and len(decoded(raw) or "") == 2:
                found[raw] = _rank_of_first(raw, ranks)
        return found

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The ids of some texts."""
        return [e.ids for e in self.original.encode_batch(texts, add_special_tokens=False)]

    def knows(self, ids: list[int]) -> bool:
        """Whether none of the ids is an added token: SentencePiece finds those before any key."""
        return all(token_id in self.vocabulary.tokens for token_id in ids)

    def is_normal(self, text: str) -> bool:
        """Whether the original leaves a text as it is (NFC), before it cuts it."""
        normalizer = self.original.normalizer
        return normalizer is None or normalizer.normalize_str(text) == text

    def spell(self, raw: bytes) -> str:
        """How bytes are written, but for private letters of whole tokens."""
        if self.endings and (ending := self._ending_of(raw)):
            before = self.spell(raw[: -len(ending)])
            return before + self.private[self.endings[ending]]
        for comment in self.comments:
            if comment in raw:
                before, after = raw.split(comment, 1)
                return self.spell(before) + self.private[self.ids[comment]] + self.spell(after)
        if self.runs and (run := self._run_in(raw)):
            before, after = raw.split(run.encode(), 1)
            return self.spell(before) + self.runs[run] + self.spell(after)
        if whole := self._composed_in(raw):
            before, after = raw.split(whole.encode(), 1)
            return self.spell(before) + spell(whole.encode(), whole) + self.spell(after)
        head = self.wide.head(raw) if raw[:1] == b" " and len(raw) > 1 else None
        if head is None:
            return self._spelled(raw)
        return self.private[self.ids[head]] + self._spelled(raw[len(head) :])

    def _spelled(self, raw: bytes) -> str:
        """How bytes are written where no space in front is joined to them."""
        letters = self.parts.letters
        if not self.parts.pattern.search(raw):
            return spell(raw, self.kept)
        return "".join(
            [
                self.private[self.ids[symbol]] if symbol in letters else spell(symbol, self.kept)
                for symbol in self.parts.symbols(raw, self.kept)
            ]
        )

    def joined(self, *tokens: str) -> str:
        """How the symbol is written that these tokens make one behind the other."""
        return "".join([self.texts[self.ids[token.encode()]] for token in tokens])

    def _ending_of(self, raw: bytes) -> str | None:
        """The contraction that some bytes end with, behind a letter."""
        text = decoded(raw) if b"'" in raw else None
        found = self._endings_pattern.search(text) if text is not None else None
        return found.group() if found is not None else None

    def _run_in(self, raw: bytes) -> str | None:
        """The first run of several of one space in some bytes, as far as one key takes it."""
        text = decoded(raw)
        found = self._runs_pattern.search(text) if text is not None else None
        return found.group() if found is not None else None

    def _composed_in(self, raw: bytes) -> str | None:
        """The first of the composed texts in some bytes, as the normalizer finds it."""
        text = decoded(raw) if self.composed else None
        found = self._pattern.search(text) if text is not None else None
        return found.group() if found is not None else None

    @cached_property
    def _endings_pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.endings, key=len, reverse=True)
        return re.compile(rf"(?<=[^\W\d_])(?:{'|'.join(longest_first)})\Z")

    @cached_property
    def _runs_pattern(self) -> re.Pattern[str]:
        several = sorted((run for run in self.runs if len(run) > 1), key=len, reverse=True)
        return re.compile("|".join(several))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.composed, key=lambda text: (-len(text), text))
        return re.compile("|".join(map(re.escape, longest_first)))


def pattern_of(parts: Iterable[bytes]) -> re.Pattern[bytes]:
    """Finds any of these bytes."""
    return re.compile(b"|".join(map(re.escape, sorted(parts))) or b"(?!)")


def merged(parts: Sequence[bytes], ranks: Mapping[bytes, int]) -> list[bytes]:
    """What merging by rank makes of these parts."""
    parts = list(parts)
    while len(parts) > 1:
        found = [ranks.get(a + b, MAX_ID) for a, b in pairwise(parts)]
        at = found.index(min(found))
        if found[at] == MAX_ID:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def merged_without(tokens: set[bytes], raw: bytes, ranks: Mapping[bytes, int]) -> list[bytes]:
    """What merging makes of some bytes if there were none of these tokens."""
    inside = {raw[i:end] for end in range(len(raw) + 1) for i in range(end)} - tokens
    return merged(each(raw), {part: ranks[part] for part in inside if part in ranks})


def each(raw: bytes) -> list[bytes]:
    """Its bytes, one by one."""
    return [raw[i : i + 1] for i in range(len(raw))]


def _rank_of_first(raw: bytes, ranks: Mapping[bytes, int]) -> int:
    """The rank of the merge that takes the first byte of a token, when merging it by rank."""
    parts = each(raw)
    while True:
        usable = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not usable:
            return ranks[raw]
        rank, at = min(usable)
        if at == 0:
            return rank
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def decoded(raw: bytes) -> str | None:
    """The text of a token; None when it begins or ends inside a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def is_lone(text: str, rules: PreTokenizer) -> bool:
    """Whether a character is a space, or a number that takes no space in front of it."""
    kind = rules.kind(text)
    return kind is Kind.SPACE or (kind is Kind.NUMBER and len(rules.cut(f" {text}")) > 1)


def is_spaces(text: str, rules: PreTokenizer) -> bool:
    """Whether a text is spaces, or what no expression takes out from among them."""
    return all(map(rules.is_among_spaces, text))


def words_beginning(raw: bytes, source: Source) -> str | None:
    """The text of a token of a character and letters, or first bytes of one; else None."""
    text = raw.decode(errors="surrogateescape")
    if len(text) < 2:
        return None
    is_partial = "\udc80" <= text[1] <= "\udcff"
    return text if is_partial or source.rules.kind(text[1]) is Kind.LETTER else None
