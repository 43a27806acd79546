"""Finds where two id sequences of one text differ, and says which rule of the original explains it.

Both models have the same vocabulary, so an id stands for the same bytes in both: the ids of a text
are two ways to cut the same bytes, and they differ exactly between the cuts that both have. Only
where the bytes themselves differ (a normalizer, a byte without a token) is an alignment by longest
common subsequences needed.

Nothing is guessed. The pre-tokens are the original's own (the words that it numbers in an
encoding), and what it makes of a part of one is asked from its model. The first rule that applies
explains the place:

1. An added token is on one side only.
2. The bytes differ: by spaces, which a tokenizer with a sign for the space adds and drops, by the
   normalizer, by the bytes that a side has no token for, or otherwise.
3. One id stands for the same bytes as the other.
4. The original has a cut between pre-tokens inside of the place: there the rebuilt model merged
   across it. Where bytes that the original has no token for, and drops, stood at the cut, they
   explain the place.
5. The pre-token is a token that its merges do not make (`ignore_merges`).
6. One token of the original is several, and the model's own ids of the two parts beside one of the
   rebuilt cuts are the rebuilt ids: the rebuilt model has a cut there.
7. Otherwise it merged in another order, or, with Unigram, took other pieces.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from typing import Any

from tokenizers import Encoding, Tokenizer

from .metaspace import BYTE_PIECE, SPACE_SIGN, is_metaspace
from .tally import Mismatch
from .tokenizer_json import BYTE_LETTERS, original, split_merge, to_bytes

CONTEXT_TOKENS = 3  # shown before and after the tokens that differ
MOST_QUOTED = 60  # characters of a text in an explanation
MOST_TOKENS = 16  # shown of the tokens that differ


class Rule(StrEnum):
    """What explains a place where the ids differ."""

    ADDED = "added token"
    NORMALIZER = "normalizer"
    NO_TOKEN = "bytes without a token"
    DROPPED = "merged across dropped bytes"
    SPACES = "other spaces"
    OTHER_BYTES = "other bytes"
    SAME_BYTES = "another token of the same bytes"
    ACROSS = "merged across a cut"
    LOOKED_UP = "looked up whole"
    CUT = "cut inside a pre-token"
    ORDER = "order of merges"
    PIECES = "other pieces"


EXPLANATIONS: dict[Rule, str] = {
    Rule.ADDED: "the {who} finds the added token {token} here, and the {other} does not",
    Rule.NORMALIZER: "the original's normalizer ({name}) makes {expected} of this text; the "
    "rebuilt ids stand for {got}",
    Rule.NO_TOKEN: "the {who} has no token for some bytes of {text}; the original's ids stand for "
    "{expected}, the rebuilt ids for {got}",
    Rule.DROPPED: "the original has no token for {text} and drops it, but cuts there; the rebuilt "
    "model merged across it: {got}",
    Rule.SPACES: "the original writes or drops spaces of its own here, as in front of a text, "
    "and its ids stand for {expected}; the rebuilt ids for {got}",
    Rule.OTHER_BYTES: "the original's ids stand for {expected}, the rebuilt ids for {got}",
    Rule.SAME_BYTES: "{token} has two ids: the original takes {expected}, the rebuilt model {got}",
    Rule.ACROSS: "the original cuts before {where} (pre-tokenizer), and the rebuilt model merged "
    "across it: {got}",
    Rule.LOOKED_UP: "the original takes the pre-token {token} whole (ignore_merges), which its "
    "merges do not make; the rebuilt model merges: {got}",
    Rule.CUT: "the rebuilt model cuts the pre-token {token} before {where}; the original does not "
    "cut there",
    Rule.ORDER: "inside of the pre-token {token} the original makes {expected}; the rebuilt model "
    "merged in another order and made {got}",
    Rule.PIECES: "inside of the pre-token {token} the original's best pieces are {expected}; the "
    "rebuilt model took {got}",
}


@dataclass(frozen=True)
class Place:
    """The tokens that differ: a half-open range of either sequence; one of them may be empty."""

    expected: tuple[int, int]
    got: tuple[int, int]


class Reference:
    """The original, with what explaining it needs: the bytes of its tokens, and its merges."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.tokenizer: Tokenizer = original(document)
        self.added = {t["id"]: t["content"] for t in document.get("added_tokens") or []}
        self.is_metaspace = is_metaspace(document)
        vocabulary = document["model"]["vocab"]
        self.is_unigram = isinstance(vocabulary, list)
        entries = (
            ((i, text) for i, (text, _) in enumerate(vocabulary))
            if isinstance(vocabulary, list)
            else ((i, text) for text, i in vocabulary.items())
        )
        self.bytes_of: Mapping[int, bytes] = {
            token_id: self._bytes(text) for token_id, text in entries
        } | {token_id: content.encode() for token_id, content in self.added.items()}

    def _bytes(self, token: str) -> bytes:
        if not self.is_metaspace:
            return to_bytes(token) or token.encode()
        if self.document["model"].get("byte_fallback") and BYTE_PIECE.fullmatch(token):
            return bytes([int(token[3:5], 16)])
        return token.replace(SPACE_SIGN, " ").encode()

    def raw(self, ids: Sequence[int]) -> bytes:
        """What ids stand for; nothing for an id that the original has not."""
        return b"".join(self.bytes_of.get(token_id, b"") for token_id in ids)

    def name(self, token_id: int) -> str:
        """One token as it is shown, see `shown`."""
        raw = self.bytes_of.get(token_id)
        return f"<id {token_id}>" if raw is None else shown(raw)

    def model_ids(self, raw: bytes) -> list[int] | None:
        """What the model alone makes of some bytes; None where it cannot be asked for them."""
        if not self.is_metaspace:
            letters = "".join(BYTE_LETTERS[byte] for byte in raw)
            return [token.id for token in self._merging.tokenize(letters)]
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return None
        return [token.id for token in self._merging.tokenize(text.replace(" ", SPACE_SIGN))]

    def rank(self, token_id: int) -> int | None:
        """The rank of the merge that makes a token, 0 first."""
        return self._ranks.get(self.bytes_of.get(token_id, b""))

    @cached_property
    def single_bytes(self) -> frozenset[int]:
        """The bytes that have a token of their own."""
        return frozenset(raw[0] for raw in self.bytes_of.values() if len(raw) == 1)

    @cached_property
    def _merging(self) -> Any:
        """The model, which takes nothing whole."""
        model = self.document["model"]
        if not model.get("ignore_merges"):
            return self.tokenizer.model
        merging = {**self.document, "model": {**model, "ignore_merges": False}}
        return Tokenizer.from_str(json.dumps(merging)).model

    @cached_property
    def _ranks(self) -> dict[bytes, int]:
        ranks: dict[bytes, int] = {}
        for rank, merge in enumerate(self.document["model"].get("merges") or []):
            parts = split_merge(merge)
            assert parts is not None, "validate() has looked at every merge"
            ranks.setdefault(self._bytes(parts[0] + parts[1]), rank)
        return ranks


def align(expected: Sequence[int], got: Sequence[int], reference: Reference) -> list[Place]:
    """All places where two id sequences of one text differ, in order."""
    if reference.raw(expected) != reference.raw(got):
        matcher = SequenceMatcher(None, expected, got, autojunk=False)
        return [
            Place((a, b), (c, d)) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"
        ]
    ends = _ends(expected, reference)
    got_ends = _ends(got, reference)
    positions = {end: i + 1 for i, end in enumerate(got_ends)}
    places: list[Place] = []
    start = got_start = 0
    for i, end in enumerate(ends):
        position = positions.get(end)
        if position is None:
            continue
        if expected[start : i + 1] != got[got_start:position]:
            places.append(Place((start, i + 1), (got_start, position)))
        start, got_start = i + 1, position
    return places


def _ends(ids: Sequence[int], reference: Reference) -> list[int]:
    return list(accumulate(len(reference.bytes_of.get(token_id, b"")) for token_id in ids))


def tokens_wrong(places: Sequence[Place]) -> int:
    """The tokens of the original in the places, and one for each place where it has none."""
    return sum(max(1, place.expected[1] - place.expected[0]) for place in places)


@dataclass(frozen=True)
class Comparison:
    """The ids of one text, the original's with its pre-tokens."""

    reference: Reference
    text: str
    encoding: Encoding
    got: Sequence[int]

    @cached_property
    def expected(self) -> Sequence[int]:
        """The original's ids."""
        return self.encoding.ids

    @cached_property
    def words(self) -> list[int | None]:
        """The number of the pre-token that each id of the original is in."""
        return self.encoding.word_ids

    @cached_property
    def places(self) -> list[Place]:
        """Where the ids differ."""
        return align(self.expected, self.got, self.reference)

    def mismatch(self, place: Place) -> Mismatch:
        """A place with the tokens around it and its explanation."""
        rule, why = self.explain(place)
        expected, expected_marked = self._shown(self.expected, place.expected)
        got, got_marked = self._shown(self.got, place.got)
        name = self.reference.name
        return Mismatch(
            text=shown(self.reference.raw(expected)),
            expected=tuple(map(name, expected)),
            got=tuple(map(name, got)),
            expected_marked=expected_marked,
            got_marked=got_marked,
            rule=rule,
            why=why,
        )

    def _shown(
        self, ids: Sequence[int], place: tuple[int, int]
    ) -> tuple[Sequence[int], tuple[int, int]]:
        """The ids of a place with their neighbours, and where it is in them."""
        start, end = place[0], min(place[1], place[0] + MOST_TOKENS)
        begin = max(0, start - CONTEXT_TOKENS)
        return ids[begin : end + CONTEXT_TOKENS], (start - begin, end - begin)

    def explain(self, place: Place) -> tuple[Rule, str]:
        """The rule that explains a place, and in words how."""
        for rule, values in self._candidates(place):
            return rule, EXPLANATIONS[rule].format(**values)
        raise AssertionError("the last rule always applies")

    def _candidates(self, place: Place) -> Iterator[tuple[Rule, dict[str, str]]]:
        """The rules that apply, in order."""
        expected = self.expected[slice(*place.expected)]
        got = self.got[slice(*place.got)]
        name = self.reference.name
        for who, other, ids in (("original", "rebuilt", expected), ("rebuilt", "original", got)):
            for token_id in ids:
                if token_id in self.reference.added:
                    yield Rule.ADDED, {"who": who, "other": other, "token": f"'{name(token_id)}'"}
        unknown = any(token_id not in self.reference.bytes_of for token_id in got)
        if unknown or self.reference.raw(expected) != self.reference.raw(got):
            yield self._other_bytes(expected, got, unknown)
        if len(expected) == len(got) == 1:
            ids = {"expected": str(expected[0]), "got": str(got[0])}
            yield Rule.SAME_BYTES, {"token": f"'{name(expected[0])}'", **ids}
        for i in range(place.expected[0] + 1, place.expected[1]):
            if self.words[i] != self.words[i - 1]:
                dropped = self._dropped(i)
                if dropped:
                    yield Rule.DROPPED, {"text": dropped, "got": self._tokens(got)}
                yield Rule.ACROSS, {"where": self._character(i), "got": self._tokens(got)}
        yield from self._inside(place)

    def _inside(self, place: Place) -> Iterator[tuple[Rule, dict[str, str]]]:
        """The rules for a place inside of one pre-token."""
        expected = self.expected[slice(*place.expected)]
        got = self.got[slice(*place.got)]
        first, last = self._word(place.expected[0])
        begin, end = self.ends[first], self.ends[last]
        whole = self.reference.raw(self.expected[first:last])
        values = {"token": _quoted(whole), "got": self._tokens(got)}
        # the pre-token may have lost its beginning or its end to a token across its border
        for border, i in ((begin, first), (end, last)):
            if border not in self.got_ends:
                yield Rule.ACROSS, {**values, "where": self._character(i)}
        if len(expected) == 1:
            if last - first == 1 and self.reference.model_ids(whole) != list(expected):
                yield Rule.LOOKED_UP, values
            raw = self.reference.raw(expected)
            # of several tokens the rebuilt model would make others, rather than more of them
            for length in accumulate(len(self.reference.raw([token_id])) for token_id in got[:-1]):
                left, right = map(self.reference.model_ids, (raw[:length], raw[length:]))
                if left is not None and right is not None and left + right == list(got):
                    yield Rule.CUT, {**values, "where": _shown_character(raw[length:])}
        rule = Rule.PIECES if self.reference.is_unigram else Rule.ORDER
        yield rule, {**values, "expected": self._tokens(expected)}

    def _word(self, i: int) -> tuple[int, int]:
        """The range of the original's tokens that are in one pre-token with token i."""
        first, last = i, i + 1
        while first > 0 and self.words[first - 1] == self.words[i]:
            first -= 1
        while last < len(self.words) and self.words[last] == self.words[i]:
            last += 1
        return first, last

    @cached_property
    def ends(self) -> list[int]:
        """Where each token of the original begins, and where the last one ends, in bytes."""
        return [0, *_ends(self.expected, self.reference)]

    @cached_property
    def got_ends(self) -> frozenset[int]:
        """Where the tokens of the rebuilt model begin and end, in bytes."""
        return frozenset((0, *_ends(self.got, self.reference)))

    def _other_bytes(
        self, expected: Sequence[int], got: Sequence[int], unknown: bool
    ) -> tuple[Rule, dict[str, str]]:
        """The rule for sides that stand for other bytes, or with an id that stands for none."""
        sides = [_quoted(self.reference.raw(ids)) for ids in (expected, got)]
        values = {"expected": sides[0], "got": sides[1], "text": _quoted(self.text.encode())}
        if unknown:
            return Rule.NO_TOKEN, {**values, "who": "rebuilt model"}
        without = [self.reference.raw(ids).replace(b" ", b"") for ids in (expected, got)]
        if self.reference.is_metaspace and without[0] == without[1]:
            return Rule.SPACES, values
        normalizer = self.reference.tokenizer.normalizer
        normalized = self.text if normalizer is None else normalizer.normalize_str(self.text)
        if normalized != self.text:
            name = str(self.reference.document["normalizer"].get("type"))
            return Rule.NORMALIZER, {**values, "name": name}
        is_lossy = self.reference.raw(self.expected) != self.text.encode()
        if is_lossy and not self.reference.is_metaspace:
            return Rule.NO_TOKEN, {**values, "who": "original"}
        return Rule.OTHER_BYTES, values

    def _dropped(self, i: int) -> str:
        """What has no token of the text between the original's tokens i - 1 and i, quoted."""
        between = self.text[self.encoding.offsets[i - 1][1] : self.encoding.offsets[i][0]]
        known = self.reference.single_bytes
        gone = [c for c in between if not known.issuperset(c.encode())]
        return _quoted("".join(gone).encode()) if gone else ""

    def _tokens(self, ids: Sequence[int]) -> str:
        """Tokens with the ranks of their merges."""
        parts: list[str] = []
        for token_id in ids[:MOST_TOKENS]:
            rank = self.reference.rank(token_id)
            merge = "" if rank is None else f" (merge {rank})"
            parts.append(f"'{self.reference.name(token_id)}'{merge}")
        return " + ".join(parts) or "nothing"

    def _character(self, i: int) -> str:
        """The first character of the original's token i."""
        return _shown_character(self.reference.raw(self.expected[i : i + 8]))


def shown(raw: bytes) -> str:
    """Bytes as text; those that are no UTF-8, and characters that cannot be seen, as escapes."""
    parts: list[str] = []
    for character in raw.decode("utf-8", "surrogateescape"):
        if character.isprintable() and character != "\\":
            parts.append(character)
        elif "\udc80" <= character <= "\udcff":
            parts.append(f"\\x{ord(character) - 0xDC00:02x}")
        else:
            parts.append(ascii(character)[1:-1])
    return "".join(parts)


def _quoted(raw: bytes) -> str:
    text = shown(raw)
    return f"'{text}'" if len(text) <= MOST_QUOTED else f"'{text[:MOST_QUOTED]}...'"


def _shown_character(raw: bytes) -> str:
    """The first character of some bytes, or the first byte where they begin inside of one."""
    text = raw[:4].decode("utf-8", "ignore")
    if not text or not raw.startswith(text[0].encode()):
        return f"the byte {raw[0]:02X}" if raw else "the end"
    return f"U+{ord(text[0]):04X} {_quoted(text[0].encode())}"
