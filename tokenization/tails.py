"""Tokens of the last byte of a mark and of marks behind it: those that end "\u27d4\"," and such.

A letter of several tokens may end with the same bytes, as "\u9ad4" does, and is cut from the marks
behind it: nothing may be merged over that cut. So no merge makes such a token. It is a private
letter, which keys write behind the marks that the original merges so.

This is done where marks are cut from other marks, as in Falcon, and for a variation selector where
marks begin words, since emoji are made one symbol there: o200k has a token of the last byte of
"\u2764" and of the selector behind it. Elsewhere `edges` needs no keys.
"""

from collections.abc import Iterator

from .pre_tokenizer import Kind
from .source import Source
from .spelling import CONTINUATION, REPLACEMENT, spell

VARIATION_SELECTOR = "\ufe0f"  # "as an emoji"


def tails(source: Source) -> dict[int, tuple[bytes, str]]:
    """Such tokens -> the bytes of a character that they begin with, and the marks behind it.

    None where other tokens are made of one.
    """
    is_tail = _is_selector if source.rules.marks_begin_words else _is_plain_mark
    if source.readable or not (source.rules.marks_begin_words or source.cuts_marks):
        return {}
    found: dict[int, tuple[bytes, str]] = {}
    for raw, token_id in source.ids.items():
        behind = raw.lstrip(bytes(CONTINUATION))
        marks = behind.decode(errors="replace")
        if len(behind) < len(raw) and marks and all(is_tail(c, source) for c in marks):
            found[token_id] = raw[: -len(behind)], marks
    if not found:
        return {}
    others = "\0".join([spell(raw, source.kept) for raw, i in source.ids.items() if i not in found])
    tokens = source.vocabulary.tokens
    return {i: tail for i, tail in found.items() if spell(tokens[i], source.kept) not in others}


def _is_plain_mark(character: str, source: Source) -> bool:
    return character < "\x80" and source.rules.kind(character) is Kind.MARK


def _is_selector(character: str, _: Source) -> bool:
    return character == VARIATION_SELECTOR


def tail_keys(source: Source) -> dict[bytes, bytes]:
    """Keys for the marks behind which the original gives such a token.

    And longer ones where a mark more, or a space in front, makes other tokens of it.
    """
    marks = [c for c in map(chr, range(0x21, 0x7F)) if _is_plain_mark(c, source)]
    token_of = dict(with_tails(source))
    ids_of = dict(_given(list(token_of), source))
    keys = {text.encode(): _written(ids, source) for text, ids in ids_of.items()}
    for text, ids in _given([text + mark for text in token_of for mark in marks], source):
        if ids[:-1] != ids_of[text[:-1]]:
            keys.setdefault(text.encode(), _written(ids, source))
    for text, ids in _given([" " + text for text in token_of], source):
        has_key = text[1] in source.parts.behind_space or source.wide.head(text.encode())
        if token_of[text[1:]] not in ids or has_key:
            keys[text.encode()] = _written(ids, source)
    return keys


def _given(texts: list[str], source: Source) -> Iterator[tuple[str, list[int]]]:
    """The texts with their ids, but for those in which an added token is found before any key."""
    results = zip(texts, source.encode(texts), strict=True)
    return ((text, ids) for text, ids in results if source.knows(ids))


def _written(ids: list[int], source: Source) -> bytes:
    return "".join([source.texts[token_id] for token_id in ids]).encode()


def with_tails(source: Source) -> Iterator[tuple[str, int]]:
    """Marks with those behind them that give such a token, and the token."""
    if not source.tails:
        return
    characters = [
        text
        for kind in (Kind.MARK, Kind.APART)
        for text in source.rules.characters(kind)
        if source.rules.is_mark(text) and text not in source.kept
    ]
    tried = [
        (text + marks, token_id)
        for token_id, (end, marks) in source.tails.items()
        for text in characters
        if text.encode().endswith(end)
    ]
    ids_of = dict(_given([text for text, _ in tried], source))
    yield from ((text, token_id) for text, token_id in tried if token_id in ids_of.get(text, ()))


def letters_to_text(source: Source) -> dict[bytes, bytes]:
    """Denormalizer keys: the token alone, and behind the first bytes of a mark."""
    keys: dict[bytes, bytes] = {}
    for token_id, (end, marks) in source.tails.items():
        keys[source.private[token_id].encode()] = REPLACEMENT * len(end) + marks.encode()
    texts = [front + text for text, _ in with_tails(source) for front in ("", " ")]
    for text, ids in _given(texts, source):
        if text[0] != " " or ids[0] in source.private:  # else the space is a character of its own
            keys[_written(ids, source)] = text.encode()
    return keys
