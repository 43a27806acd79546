"""Contractions that an expression takes as the end of a word: "'d" in o200k's "b'd|ebug".

They are cut from the letters behind them, and belong to the letters in front. Where a word begins
with the same letters, as "'debug" behind a tab, nothing is cut, and its merges may or may not make
the same token. So the token is a private letter: keys write it behind a letter, and at the
beginning of a word as the original has it there. A token that merges make of it, as "'type", is
one as well.
"""

import string
from collections.abc import Iterable, Iterator
from itertools import product

from . import inner
from .pre_tokenizer import Kind
from .source import Source, decoded
from .spelling import rewritten, spell

LETTERS_KEYED = 0x180  # code points up to which a letter has keys of its own: Latin


def tokens(source: Source) -> dict[str, int]:
    """The contractions that are one token each at the end of a word -> its id."""
    texts = list(source.rules.suffixes)
    results = source.encode([f"a{text}" for text in texts])
    known = {text: source.ids.get(text.encode()) for text in texts}
    return {
        text: ids[-1]
        for text, ids in zip(texts, results, strict=True)
        if len(ids) == 2 and ids[-1] == known[text]
    }


def words(source: Source) -> Iterator[int]:
    """The tokens that merges make of one of these and of letters."""
    starts = {text.encode() for text in source.endings}
    for raw, token_id in source.ids.items():
        first = raw if raw.startswith(tuple(starts)) else b""
        while len(first) > 1 and first not in starts:
            first = inner.halves(first, source)[0]
        if first and first != raw and first in starts:
            yield token_id


def keys(source: Source) -> dict[bytes, bytes]:
    """Keys for them: behind letters, at the beginning of words, and in front of anything else."""
    found: dict[bytes, bytes] = {}
    if not source.endings:
        return found
    private = {text: source.private[i].encode() for text, i in source.endings.items()}
    letters = [c for c in map(chr, range(LETTERS_KEYED)) if source.rules.kind(c) is Kind.LETTER]
    for text, written in private.items():
        found[text.encode()] = written
        for letter in letters:
            found[(letter + text).encode()] = spell(letter.encode()).encode() + written
    letters = ["", *string.ascii_letters]
    begun = [*map("".join, product(private, string.ascii_letters, letters))]
    begun += _begun_by_three(source)
    _add_whole([*begun, *_words(source)], source, found)
    # where an apostrophe joins the word in front before the contraction: " I'" in " I'M"
    joined = [text for text in map(decoded, source.ids) if text and text[-1] == "'"]
    _add_whole([a + b[1:] for a in joined for b in private if a[:-1].strip()], source, found)
    return found


def _begun_by_three(source: Source) -> Iterator[str]:
    """Contractions with three letters behind them, of one case, as they stand in tokens.

    Any three in a row of the four, since "'trary" is of no word that begins so.
    """
    texts = [text for text in map(decoded, source.ids) if text and text.isascii()]
    known = {text[i : i + 3] for text in texts for i in range(len(text) - 2)}
    for case in (string.ascii_lowercase, string.ascii_uppercase):
        behind = [letters for letters in map("".join, product(case, repeat=3)) if letters in known]
        for text in (text for text in source.endings if text[1] in case):
            yield from (text + more for more in behind if text[-1] + more[:2] in known)


def _words(source: Source) -> list[str]:
    """Words behind an apostrophe that begin with a contraction: the tokens that are letters."""
    starts = tuple(text[1:] for text in source.endings)
    words = {text.removeprefix(" ") for text in map(decoded, source.ids) if text and text.isascii()}
    return [f"'{word}" for word in words if word.startswith(starts) and word.isalpha()]


def _add_whole(texts: Iterable[str], source: Source, found: dict[bytes, bytes]) -> None:
    """Adds the keys of texts that shorter keys would not write as the original's tokens."""
    ordered = sorted(texts, key=lambda text: (len(text), text))
    for text, ids in zip(ordered, source.encode(ordered), strict=True):
        raw = text.encode()
        first = source.vocabulary.tokens[ids[0]]
        if text[0] == "'":
            wanted = (source.texts[ids[0]] + spell(raw[len(first) :])).encode()
        else:
            wanted = "".join([source.texts[i] for i in ids]).encode()
        if wanted != rewritten(raw, found, len(raw)):
            found[raw] = wanted
