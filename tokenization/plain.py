"""The plain form: pieces that can be read one by one, for runtimes that do not call Decode.

They take IdToPiece of each token and write a space for "▁". In the full form such a piece may be
letters of bytes or a private letter. Here each token that is whole UTF-8 is its own text:

- each character that is a token is one letter, so that merges join characters; a token that was
  joined from parts of characters needs glue to be joined from whole ones;
- contractions and runs of spaces are left to merges, and a word that only a look-up gives
  (`ignore_merges`) is never found in a text;
- numbers in groups are user-defined pieces, which take the longest from the left as well.

Tokens that are parts of characters have no text of their own and stay letters, from planes that no
text uses. The normalizer and denormalizer are there too: Encode and Decode work as in the full
form, but the ids are the original's a little less often (docs/tokenizers.md has rates).
"""

from collections.abc import Iterator
from dataclasses import replace

from . import glue
from .plan import Piece, Plan, Role, Stage
from .source import Source, decoded
from .spelling import LETTERS_OF_BYTES, NULL_LETTER, STAND_INS, spell

SPACE_SIGN = "\u2581"
BYTE_LETTERS = 0x10F000  # plane 16: where the letters of bytes go, which here are characters' own
BEFORE_WORDS = -1  # a rank in WORD
_MOVED = {ord(NULL_LETTER), *LETTERS_OF_BYTES}
_LETTERS = {point: chr(BYTE_LETTERS + point) for point in _MOVED}
NULL_SHOWN = _LETTERS[ord(NULL_LETTER)]
_SHOWN = _LETTERS | {STAND_INS + point: chr(point) for point in _MOVED}


def keep_characters(source: Source) -> None:
    """Finds what is a letter: characters beyond ASCII that are tokens, and tokens that hold others.

    Such a token is made first of all, since nothing else may be made of its characters. A character
    of which no word begins is written by bytes behind a space where the original splits it there.
    """
    texts = {text for text in map(decoded, source.ids) if text is not None}
    texts = {text for text in texts if not text.isascii() and SPACE_SIGN not in text}
    source.kept.update(text for text in texts if len(text) == 1)
    source.composed.update(
        text for text in texts if any(c >= "\x80" and c not in source.kept for c in text)
    )
    begin_words = {text[1] for text in texts if text[0] == " "}
    characters = sorted(source.kept - begin_words)
    for text, ids in zip(characters, source.encode([f" {c}" for c in characters]), strict=True):
        if ids[-1:] != [source.ids.get(text.encode())]:
            source.spaced.add(text)


def crossing_keys(source: Source) -> dict[bytes, bytes]:
    """Keys for characters that a token ends in, behind others: "\u093e\\xe0\\xa4" and "\\xb0".

    The second of the two is written by bytes, if no token is whole there. Vocabularies with few
    words of a script have many of these.
    """
    beginning: dict[bytes, list[str]] = {}
    for character in sorted(source.kept):
        raw = character.encode()
        for end in range(1, len(raw)):
            beginning.setdefault(raw[:end], []).append(character)
    inside = {
        text[i : i + 2]
        for text in map(decoded, source.ids)
        if text is not None
        for i in range(len(text) - 1)
    }
    found: list[tuple[bytes, str, str]] = []
    for token in source.ids:
        before = token.decode(errors="ignore")
        if before > "\x80" and token.startswith(before.encode()):
            following = beginning.get(token[len(before.encode()) :], ())
            found += [(token, before, c) for c in following if before[-1] + c not in inside]
    keys: dict[bytes, bytes] = {}
    asked = source.encode([before + c for _, before, c in found])
    for (token, before, c), ids in zip(found, asked, strict=True):
        if ids[0] == source.ids[token]:
            raw = before.encode() + c.encode()
            keys[raw] = (source.spell(token) + spell(raw[len(token) :])).encode()
    return keys


def is_group(text: str, source: Source) -> bool:
    """Whether a token is a whole group of digits."""
    group = source.rules.group
    return group > 1 and len(text) == group and text.isascii() and text.isdigit()


def order(text: str, rank: int, source: Source) -> tuple[Stage, int] | None:
    """When a token is merged, where that is another time than in the full form.

    A contraction: behind the runs of marks that may take its apostrophe, before the word that may
    take its letter; one of two letters as soon as these are merged.
    """
    if text in source.composed:
        return Stage.FIRST, rank
    if text in source.rules.contractions:
        return (Stage.HOLD, glue.BEHIND_MARKS) if len(text) == 2 else (Stage.WORD, BEFORE_WORDS)
    return None


def steps(source: Source) -> Iterator[Piece]:
    """Glue that tokens of several characters are joined over, where no two of them are a token.

    The original joins these from parts of characters, which are no letters here.
    """
    for raw, rank in source.vocabulary.ranks.items():
        text = decoded(raw)
        if text is None or len(text) < 3 or text.isascii():
            continue
        cuts = (len(text[:end].encode()) for end in range(1, len(text)))
        if any(_is_letter(p, source) and _is_letter(q, source) for p, q in _halves(raw, cuts)):
            continue
        when, rank = order(text, rank, source) or (Stage.WORD, rank)
        for end in range(2, len(text)):
            yield Piece(source.spell(raw)[:end], Role.GLUE, when, rank)


def _halves(raw: bytes, cuts: Iterator[int]) -> Iterator[tuple[bytes, bytes]]:
    return ((raw[:cut], raw[cut:]) for cut in cuts)


def _is_letter(raw: bytes, source: Source) -> bool:
    """Whether the text of some bytes is one symbol at some time."""
    return raw in source.ids and (raw in source.vocabulary.ranks or len(raw) == 1)


def shown(plan: Plan) -> Plan:
    """The plan with "▁" for a space, and with all characters as themselves."""
    pieces = [p if p.role is Role.ADDED else replace(p, text=_shown(p.text)) for p in plan.pieces]
    normalizer = {b" ": SPACE_SIGN.encode()} | {
        key: _shown(value.decode()).encode() for key, value in plan.normalizer.items()
    }
    denormalizer = {
        key.decode().translate(_SHOWN).encode(): value for key, value in plan.denormalizer.items()
    }
    return Plan(pieces, normalizer, denormalizer)


def _shown(text: str) -> str:
    return text.translate(_SHOWN).replace(" ", SPACE_SIGN)
