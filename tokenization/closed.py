"""Letters of several tokens that become one symbol, so that no late token takes bytes of them.

`edges` says what is late. The first token of a letter is then no symbol that a space could be cut
off from: that is done before, but for tokens that a mark may begin with as well.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from .edges import LATE
from .plan import Piece, Role, Stage
from .pre_tokenizer import Kind
from .source import Source, is_lone, merged_without
from .spelling import begun, ended, spell

CUT, CLOSED = 1, 2  # ranks in REJOIN, behind what is rejoined there and before what is late
REJOINED = 2**20 - 1  # likewise of what is rejoined behind all that
SHARED = 8  # letters to each mark that begins like them
NEXT_PLANE = "\U00010000"


def beginnings(source: Source) -> set[bytes]:
    """The symbols with which late merges begin, or those of characters that are rejoined late."""
    late, ranks = source.late.tokens, source.vocabulary.ranks
    if not late:
        return set()
    found = {merged_without(late, raw, ranks)[0] for raw in late}
    rules = source.rules
    lone = [c for k in (Kind.NUMBER, Kind.SPACE) for c in rules.characters(k) if is_lone(c, rules)]
    for ids in source.encode(lone):
        if len(ids) > 2 and source.knows(ids):
            found.add(source.vocabulary.tokens[ids[0]])
    return found


def letters(source: Source) -> dict[bytes, tuple[bytes, ...]]:
    """The symbols that become one before late tokens are merged -> the tokens that make them.

    Letters and numbers of several tokens that a late token may take bytes of, and their first
    tokens one by one. Not where many marks begin with the same tokens; nor, of what may follow a
    space late, those beyond plane 0, as there are too many.
    """
    late, ranks = source.late.tokens, source.vocabulary.ranks
    if not late:
        return {}
    merged = [merged_without(late, raw, ranks) for raw in late]
    ends, starts = {parts[0] for parts in merged}, {parts[-1] for parts in merged}
    letters = [
        parts
        for character, parts in _letters(source)
        if parts[-1] in ends or parts[0] in starts
        if parts[0] not in source.late.beginnings or character < NEXT_PLANE
    ]
    shared: Counter[tuple[bytes, ...]] = Counter()
    for parts in letters:
        shared.update(_beginnings(parts))
    for mark in _marks(source):
        parts = tuple(merged_without(late, mark.encode(), ranks))
        if parts[0] in starts:
            shared.subtract(dict.fromkeys((*_beginnings(parts), parts), SHARED))
    return {
        b"".join(beginning): beginning
        for parts in letters
        if all(shared[beginning] > 0 for beginning in _beginnings(parts))
        for beginning in (*_beginnings(parts), parts)
    }


def _beginnings(parts: tuple[bytes, ...]) -> list[tuple[bytes, ...]]:
    """The first two of some tokens, the first three, and so on, but not all."""
    return [parts[:end] for end in range(2, len(parts))]


def _letters(source: Source) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Letters and numbers of several tokens -> these, alone and behind what the first is joined to.

    Of "\u306e\u56f3" these are "\u306e\\xe5\\x9b" and "\\xb3", if there is such a token.
    """
    rules, tokens = source.rules, source.vocabulary.tokens
    kinds = (Kind.LETTER, Kind.NUMBER)
    letters = [c for k in kinds for c in rules.characters(k) if not is_lone(c, rules)]
    by_beginning: dict[bytes, list[str]] = defaultdict(list)
    for letter in letters:
        for end in range(1, len(letter.encode())):
            by_beginning[letter.encode()[:end]].append(letter)
    texts = list(letters)
    for raw in source.ids:
        if (beginning := begun(raw)) and beginning != raw and not ended(raw):
            before = raw.removesuffix(beginning).decode()
            texts += [before + letter for letter in by_beginning[beginning]]
    for text, ids in zip(texts, source.encode(texts), strict=True):
        if not source.knows(ids):
            continue
        size = len(text[-1].encode())
        parts: tuple[bytes, ...] = ()
        for token_id in reversed(ids):
            parts = (tokens[token_id], *parts)
            if sum(map(len, parts)) >= size:
                break
        if len(parts) > 1:
            yield text[-1], parts


def _marks(source: Source) -> list[str]:
    """The marks of several letters."""
    rules = source.rules
    marks = (c for kind in (Kind.MARK, Kind.APART) for c in rules.characters(kind))
    return [c for c in marks if rules.is_mark(c) and c not in source.kept]


def glue(source: Source) -> Iterator[Piece]:
    """The glue that makes one symbol of each.

    And of a space with the first bytes of a mark: as a token this is a private letter (`wide`), but
    " \u2014" is made of it before its last byte is merged with a quote.
    """
    for head in sorted(source.wide.tokens) if source.late.tokens else ():
        yield Piece(spell(head), Role.GLUE, Stage.REJOIN, LATE + source.vocabulary.ranks[head])
    for parts in source.late.closed.values():
        text = "".join([source.texts[source.ids[part]] for part in parts])
        yield Piece(text, Role.GLUE, Stage.REJOIN, CLOSED)


def followers(source: Source) -> dict[bytes, str]:
    """Those that a space is cut off from: the token that they begin with may begin marks too."""
    return {
        raw: "".join([source.texts[source.ids[part]] for part in parts])
        for raw, parts in source.late.closed.items()
        if parts[0] in source.late.beginnings and raw[:1] != b" "
    }


def when_cut(raw: bytes, source: Source) -> tuple[Stage, int]:
    """When a space is cut off from what follows: where that is words, before they are closed."""
    character = raw.decode(errors="surrogateescape")[0]
    is_mark = not "\udc80" <= character <= "\udcff" and source.rules.is_mark(character)
    is_late = is_mark or raw in source.late.beginnings or raw in source.late.closed
    return (Stage.REJOIN, CUT) if source.late.tokens and not is_late else (Stage.CUT, 0)
