"""Marks of several tokens, as most emoji are: made one symbol, to which glue can hold another.

In "\U0001f389(foo" the "(" belongs to the mark in front of it and must not begin the word. Glue can
hold it to a symbol that is there before words are merged; but the bytes of "\U0001f389" are merged
among words, and those of other marks of its block are cut in other places. What a character is cut
into seldom depends on what stands beside it. Where it does not, its tokens of several bytes are
private letters, which the normalizer writes for the character.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import pairwise, product

from .cuts import Cuts, characters, ends_of
from .expression import members
from .plan import Piece, Role, Stage
from .pre_tokenizer import NEW_EMOJI, Kind
from .source import Parts, Source, each, merged, merged_without, pattern_of
from .spelling import CONTINUATION, REPLACEMENT, rewritten, width_of
from .tails import VARIATION_SELECTOR, with_tails
from .tokenizer_json import MAX_ID

# pieces of it, beyond which only emoji and punctuation have some, and punctuation for fewer marks
GLUE = 70_000
# those with which words begin most often: behind most marks, rare punctuation, and " \U0001f389"
MARKS_HELD, BEHIND_RARE, BEHIND_SPACE = 32, 24, 16
TAKERS = 4  # runs of marks, likewise
FIRST_RANKS = 1000  # merges of which the first is taken to be no more frequent than the last
# with what stands for a byte that is no text
EMOJI = rf"[\p{{Emoji}}\p{{Emoji_Component}}{NEW_EMOJI}\x{{FFFD}}]"


def parts(source: Source) -> Parts:
    """Finds the characters that are written by their tokens, and marks that can be one symbol."""
    begin_words = any(mark < "\x80" for mark in source.words_by_mark)
    if not source.rules.marks_begin_words or not begin_words:
        return Parts()
    cuts = Cuts(source)
    ranks, letters = source.vocabulary.ranks, cuts.parts
    pattern = pattern_of(letters)
    holding = [c for c in cuts.alone if pattern.search(c.encode())]
    cuts.look_at(holding)
    wrong: set[bytes] = set()
    for c in holding:
        if unicodedata.category(c) != "Cn":
            symbols = _symbols(cuts.alone[c], letters, ranks)
            wrong.update(_cut_elsewhere(c, symbols, letters, cuts.seen[c]))
    while True:
        letters = letters - wrong
        of = {c: _symbols(cuts.alone[c], letters, ranks) for c in holding}
        of = {c: symbols for c, symbols in of.items() if not letters.isdisjoint(symbols)}
        merges = {raw: rank for raw, rank in ranks.items() if raw not in letters}
        found = Parts(frozenset(letters), of)
        found.behind_space.update(_behind_space(found, merges, cuts))
        wrong = set(_not_merged(found, merges, cuts))
        if not wrong:
            break
    found.joined.extend(_can_be_joined(found, cuts, source))
    firsts = {found.of[c][0] for c in found.joined if c in found.of}
    found.takers.update({first: cuts.takers[first] for first in firsts if cuts.takers[first]})
    return found


def _behind_space(
    found: Parts, merges: Mapping[bytes, int], cuts: Cuts
) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """The characters of which a space in front makes other tokens, and what the two are written as.

    Of "\u5075" the tokens may be "[e5 81][b5]", and behind a space "[20 e5][81 b5]".
    """
    for c in (*cuts.seen, *sorted(cuts.source.spaced)):
        if tokens := cuts.behind_space.get(c):
            alone = (b" ", *found.symbols(c.encode(), ()))
            spelled = found.spelled(tokens)
            is_the_same = alone == spelled and tuple(merged(alone, merges)) == tokens
            if not is_the_same and not found.letters.isdisjoint(alone + spelled):
                yield c, spelled


def _symbols(
    tokens: Iterable[bytes], letters: Set[bytes], ranks: Mapping[bytes, int]
) -> tuple[bytes, ...]:
    """What some tokens are made of: letters, and bytes."""
    found: list[bytes] = []
    for token in tokens:
        if len(token) == 1 or token in letters:
            found.append(token)
        elif len(two := merged_without({token}, token, ranks)) == 2:
            found += _symbols(two, letters, ranks)
        else:
            found += each(token)
    return tuple(found)


def _cut_elsewhere(
    c: str, symbols: tuple[bytes, ...], letters: Set[bytes], seen: set[frozenset[int]]
) -> Iterator[bytes]:
    """The letters that are cut, or become tokens, where something stands beside the character."""
    raw = c.encode()
    alone = set(pairwise(sorted(ends_of(symbols))))
    for start in range(len(raw)):
        for end in range(start + 2, len(raw) + 1):
            if raw[start:end] in letters:
                is_cut = [any(start < cut < end for cut in ends) for ends in seen]
                is_token = [
                    not cut and {start, end} <= ends for cut, ends in zip(is_cut, seen, strict=True)
                ]
                if any(is_cut) if (start, end) in alone else any(is_token):
                    yield raw[start:end]


def _not_merged(found: Parts, merges: Mapping[bytes, int], cuts: Cuts) -> Iterator[bytes]:
    """The letters because of which a token or character would be merged in another way.

    merges: the ranks without those of the letters.
    """
    source, letters = cuts.source, found.letters
    for c in cuts.seen:
        symbols = found.symbols(c.encode(), ())
        spelled = found.spelled(cuts.alone[c])
        if spelled != symbols or tuple(merged(symbols, merges)) != cuts.alone[c]:
            yield from letters.intersection(symbols + spelled)
    for c, symbols in found.behind_space.items():
        if tuple(merged(symbols, merges)) != cuts.behind_space[c]:
            yield from letters.intersection((*symbols, *found.symbols(c.encode(), ())))
    ranks = source.vocabulary.ranks
    for raw in merges:
        if not found.pattern.search(raw) or merged(each(raw), ranks) != [raw]:
            continue
        head = (source.wide.head(raw) if raw[:1] == b" " else None) or b""
        symbols = found.symbols(raw[len(head) :], source.kept)
        if merged((head, *symbols) if head else symbols, merges) != [raw]:
            yield from letters.intersection(symbols)


def _can_be_joined(found: Parts, cuts: Cuts, source: Source) -> list[str]:
    """The marks that glue can make one symbol before words are merged, the most frequent first.

    Their symbols are glued from the left, so that no other character may begin with the same and be
    cut in another way.
    """
    ranks = source.vocabulary.ranks
    forms = {c: _forms(c, found, source) for c in cuts.characters}
    joined = [c for c, of_c in forms.items() if len(of_c) > 1]
    given = cuts.tokens_of(joined, " {0}")

    def begins_with(c: str, symbols: tuple[bytes, ...]) -> bool:
        tokens = given[c] if symbols[0][:1] == b" " and c in given else cuts.alone.get(c, ())
        length = len(b"".join(symbols).removeprefix(b" "))
        return tokens[: len(symbols)] == symbols and cuts.is_apart(c, length)

    cuts.look_at(cuts.marks)
    able = [c for c in cuts.marks if all(begins_with(c, form) for form in forms[c])]
    wanted = {form[:end] for c in able for form in forms[c] for end in range(2, len(form))}
    sharing = {
        c: [form[:end] for form in of_c for end in range(2, len(form)) if form[:end] in wanted]
        for c, of_c in forms.items()
    }
    cuts.look_at(c for c, beginnings in sharing.items() if beginnings)
    taken = {
        beginning
        for c, beginnings in sharing.items()
        for beginning in beginnings
        if not begins_with(c, beginning)
    }

    def rarity(c: str) -> tuple[bool, bool, int]:
        return not is_emoji(c), not _is_punctuation(c), ranks.get(forms[c][0][0], MAX_ID)

    return [c for c in sorted(able, key=rarity) if taken.isdisjoint(sharing[c])]


def is_emoji(c: str) -> bool:
    return bool(members(EMOJI)[ord(c)])


def _is_punctuation(c: str) -> bool:
    return unicodedata.category(c)[0] == "P"


def _forms(c: str, found: Parts, source: Source) -> list[tuple[bytes, ...]]:
    """The symbols of a character; and with a space in front, where that is joined to it."""
    raw = c.encode()
    forms = [found.symbols(raw, ())]
    if head := source.wide.head(b" " + raw):
        forms.append((head, *found.symbols(raw[len(head) - 1 :], ())))
    return forms


# --------------------------------------------------------------------------------- what follows


def keys(source: Source, letters: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Keys for these characters; letters: those of bytes."""
    found = {raw: source.spell(raw).encode() for raw in source.parts.letters if raw[0] >= 0xC0}
    for c, symbols in source.parts.of.items():
        raw = c.encode()
        while len(symbols[-1]) == 1:  # what is written byte by byte is no part of the key
            raw, symbols = raw[:-1], symbols[:-1]
        found.setdefault(raw, source.spell(raw).encode())
    written = {**letters, **found}
    starts = {raw[:2] for raw in found}
    for c in characters(source):
        raw = c.encode()
        if raw[:2] in starts and c not in source.kept:
            spelled = source.spell(raw).encode()
            if rewritten(raw, written, 4) != spelled:
                found[raw] = spelled
    of_heads = (
        c
        for c in source.parts.of
        for form in _forms(c, source.parts, source)[1:]
        if not source.parts.letters.isdisjoint(form)
    )
    for c in (*source.parts.behind_space, *of_heads):
        found[b" " + c.encode()] = source.spell(b" " + c.encode()).encode()
    return found


def letters_to_text(source: Source) -> dict[bytes, bytes]:
    """Denormalizer keys: whole characters, and U+FFFD for parts of them.

    Those that Unicode does not assign are written by the keys of their block, and come back too.
    """
    keys: dict[bytes, bytes] = {}
    for letter in source.parts.letters:
        count = 1 if letter[0] >= 0xC0 else len(letter)
        keys[source.spell(letter).encode()] = count * REPLACEMENT
    for symbols in _written(source):
        letters = [source.spell(symbol) for symbol in symbols]
        for end in range(2, len(letters)):
            keys.setdefault("".join(letters[:end]).encode(), REPLACEMENT)
        keys["".join(letters).encode()] = b"".join(symbols)
    return keys


def _written(source: Source) -> Iterator[tuple[bytes, ...]]:
    """All that characters are written as, with any bytes behind what a key may take."""
    parts = source.parts
    yield from parts.of.values()
    for symbols in parts.behind_space.values():
        yield symbols[1:]  # the space is a character of its own
    beginnings: set[tuple[bytes, ...]] = {(raw,) for raw in parts.letters if raw[0] >= 0xC0}
    for symbols in parts.of.values():
        last = max(i for i, symbol in enumerate(symbols) if len(symbol) > 1)
        beginnings.add(symbols[: last + 1])
    for symbols in sorted(beginnings):
        missing = width_of(symbols[0][0]) - len(b"".join(symbols))
        for behind in product(CONTINUATION, repeat=missing):
            yield (*symbols, *(bytes([byte]) for byte in behind))


def glue(source: Source) -> Iterator[Piece]:
    """Glue for these marks, for each with the marks that may not begin a word, and with a tab."""
    most = [source.spell(mark.encode()) for mark in _begin_words_most(source)]
    # where an expression has the selector among letters, the two are a word
    is_mark = source.rules.kind(VARIATION_SELECTOR) is Kind.MARK
    selected = with_tails(source) if is_mark else ()
    tails = {text[0]: source.vocabulary.tokens[token_id] for text, token_id in selected}
    spent = 0
    for c in source.parts.joined:
        is_spent = spent > GLUE and not is_emoji(c)
        if is_spent and not _is_punctuation(c):
            return
        held = most[:BEHIND_RARE] if is_spent else most
        pieces = list(_glue_of(c, tails.get(c, b""), held, source))
        yield from pieces
        spent += len(pieces)


def _glue_of(c: str, tail: bytes, most: list[str], source: Source) -> Iterator[Piece]:
    """Likewise for one mark; tail: what is given for its last byte and a selector behind it."""
    forms = _forms(c, source.parts, source)
    takes_space = len(forms) > 1
    if is_emoji(c):
        selected = [(*form[:-1], tail) for form in forms if tail.startswith(form[-1])]
        alone = [forms[0], *selected[:1]]
        forms = [*forms, *_behind_takers(forms[0], source), *selected]
    else:
        alone = forms = forms[:1]
    held: list[Piece] = []
    for form in forms:
        yield from _joined(form, source)
        whole = "".join([_spelled(symbol, source) for symbol in form])
        marks = most if form in alone else most[:BEHIND_SPACE]
        held += [Piece(whole + mark, Role.GLUE, Stage.HOLD, 1) for mark in marks]
    yield from held
    # a space that is not joined is cut off those in front of it, as a tab is
    bare = [form for form in forms if form[0][:1] != b" "]
    pieces = [piece for form in bare for piece in _joined(form, source)]
    for piece in pieces:
        yield Piece("\t" + piece.text, Role.GLUE, Stage.CUT)
    for piece in () if takes_space else (*pieces, *held[:BEHIND_SPACE]):
        yield Piece(" " + piece.text, Role.GLUE, Stage.CUT)


def _behind_takers(form: tuple[bytes, ...], source: Source) -> list[tuple[bytes, ...]]:
    """The symbols of a character behind runs of marks that make a token with its first one."""
    takers = source.parts.takers.get(form[0], ())
    often = sorted(takers, key=lambda raw: source.vocabulary.ranks[raw])
    return [(raw, *form[1:]) for raw in often[:TAKERS]]


def _begin_words_most(source: Source) -> list[str]:
    """Emoji with which words begin, and the marks with which they do most often.

    By the ranks of those words, since the n-th word of a text is about n times as rare as the
    first (Zipf). Marks that combine with a letter, and those that nobody sees, stand behind no
    other mark.
    """
    often: Counter[str] = Counter()
    for mark, words in source.words_by_mark.items():
        if unicodedata.category(mark)[0] in "PS":
            ranks = (source.vocabulary.ranks.get(raw, MAX_ID) for raw in words)
            often[mark] = sum(2**40 // (FIRST_RANKS + rank) for rank in ranks)
    # "\u2764" does with a variation selector behind it
    emoji = [c for c in source.words_by_mark if c >= "\x80" and is_emoji(c)]
    marks = (mark for mark, _ in often.most_common(MARKS_HELD))
    return list(dict.fromkeys((*emoji, *marks)))


def _spelled(symbol: bytes, source: Source) -> str:
    is_tail = symbol in source.ids and source.ids[symbol] in source.tails
    return source.private[source.ids[symbol]] if is_tail else source.spell(symbol)


def _joined(form: tuple[bytes, ...], source: Source) -> Iterator[Piece]:
    letters = [_spelled(symbol, source) for symbol in form]
    for end in range(2, len(letters) + 1):
        yield Piece("".join(letters[:end]), Role.GLUE, Stage.JOIN)
