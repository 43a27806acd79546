"""Contractions that an expression takes as the end of a word: "'d" in o200k's "b'd|ebug".

They are cut from the letters behind them, and belong to the letters in front. Where a word begins
with the same letters, as "'debug" behind a tab, nothing is cut, and its merges may or may not make
the same token. So the token is a private letter: keys write it behind a letter, and at the
beginning of a word as the original has it there.
"""

import string
from collections.abc import Iterable
from itertools import product

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
    begun = map("".join, product(private, string.ascii_letters, letters))
    _add_whole([*begun, *_words(source)], source, found)
    # where an apostrophe joins the word in front before the contraction: " I'" in " I'M"
    joined = [text for text in map(decoded, source.ids) if text and text[-1] == "'"]
    _add_whole([a + b[1:] for a in joined for b in private if a[:-1].strip()], source, found)
    return found


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
        ending = source.private.get(ids[0])
        first = source.vocabulary.tokens[ids[0]]
        if text[0] == "'":
            rest = raw[len(first) :] if ending else raw
            wanted = (ending or "").encode() + spell(rest).encode()
        else:
            wanted = "".join([source.texts[i] for i in ids]).encode()
        if wanted != rewritten(raw, found, len(raw)):
            found[raw] = wanted
