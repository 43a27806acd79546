"""Words that are taken whole as pre-tokens although no merges make them (`ignore_merges`).

Such a word is a private letter, which a key writes where the text has the word. Longer keys keep
the word as it is: where it goes on behind, and where it does not begin a pre-token. A word with a
space in front needs no look at what stands before that. For the others there are keys for what
stands in front of their first letter in any token: of "lardan" the last letters of "kad\u0131n".
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from itertools import accumulate, count, pairwise

from tokenizers import Tokenizer

from .pre_tokenizer import Kind, PreTokenizer
from .source import Source, decoded
from .spelling import CONTINUATION, spell

# of pieces of glue for each byte of the words without a space in front, and those that come before
ROOM_A_BYTE, ROOM_OF_GLUE = 220, 40_000
LETTERS_TAKEN = 5  # of a word that goes on from the left: behind more, none of the others begins
LETTERS_TAKEN_OF_FEW = 2  # likewise of syllables and ideographs, or where no token has the two
AFTER_LATIN = b"\xca"
FIRST_OF_THREE_BYTES = "\u0800"  # from here on scripts have too many letters for tokens to show


def tokens(source: Source) -> list[int]:
    """The ids of such words, with a space in front and without."""
    vocabulary, rules = source.vocabulary, source.rules
    if not vocabulary.looked_up:
        return []
    texts = {
        i: text
        for i, raw in vocabulary.tokens.items()
        if len(raw) > 2 and (text := decoded(raw)) is not None and len(text) > 1
        if all(rules.kind(c) is Kind.LETTER for c in text.removeprefix(" "))
    }
    results = _without_look_up(source).encode_batch(list(texts.values()), add_special_tokens=False)
    found = [
        (i, text)
        for (i, text), merged in zip(texts.items(), results, strict=True)
        if merged.ids != [i] and len(rules.cut(text)) == 1
    ]
    spaced = [i for i, text in found if text[0] == " "]
    unspaced = [i for i, text in found if text[0] != " "]
    unspaced.sort(key=lambda i: len(vocabulary.tokens[i]))
    spent = accumulate(len(vocabulary.tokens[i]) for i in unspaced)
    most = (source.room - ROOM_OF_GLUE) // ROOM_A_BYTE  # keys take about 1 KB a byte
    return spaced + [i for i, size in zip(unspaced, spent, strict=True) if size <= most]


def _without_look_up(source: Source) -> Tokenizer:
    document = json.loads(source.original.to_str())
    document["model"]["ignore_merges"] = False
    return Tokenizer.from_str(json.dumps(document))


def keys(source: Source, token_ids: Collection[int]) -> dict[bytes, bytes]:
    """Keys for those words, and longer ones for where they are no pre-token.

    A mark of one letter begins like letters do, as "\u3002" like kana, but does not go on a word.
    """
    words = {source.vocabulary.tokens[i]: source.private[i].encode() for i in token_ids}
    found: dict[bytes, bytes] = {}
    leads = _leads_behind(map(bytes.decode, words), source)
    whole = sorted(source.kept.union(_whole_spaces(source)))
    for raw, letter in words.items():
        going_on = leads[raw.decode()[-1]]
        spelled = source.spell(raw).encode()
        for lead in going_on:
            found[raw + lead] = spelled + spell(lead).encode()
        for mark in (mark for mark in whole if mark.encode().startswith(going_on)):
            found[raw + mark.encode()] = letter + _written(mark, source).encode()
    unspaced = [raw.decode() for raw in words if raw[:1] != b" "]
    for start, beginning in _starts(unspaced, source):
        is_text = isinstance(start, str)
        front = _written(start, source) if is_text else spell(start)
        raw = (start.encode() if is_text else start) + beginning.encode()
        found[raw] = (front + source.spell(beginning.encode())).encode()
    return found | words


def _leads_behind(words: Iterable[str], source: Source) -> dict[str, tuple[bytes, ...]]:
    """The last letters of words -> the first bytes of the letters with which a word may go on.

    Of Latin's and those that are in a token; where two bytes are needed, behind the last letter.
    """
    behind: dict[str, set[bytes]] = {word[-1]: set() for word in words}
    known = {bytes([byte]) for raw in source.ids if len(raw) > 1 for byte in raw}
    for first, second in _pairs(source):
        if first in behind:
            behind[first].add(second.encode()[:2])
    leads = _leads_of_letters(source.rules)
    single = [lead for lead in leads if lead in known or lead < AFTER_LATIN]
    pairs = [lead for lead in leads if len(lead) == 2]
    return {
        last: (*single, *(lead for lead in pairs if lead in seen)) for last, seen in behind.items()
    }


def _starts(words: list[str], source: Source) -> Iterator[tuple[str | bytes, str]]:
    """What may stand in front of each of the words, and the letters of it that one key takes.

    A whole character, or a last byte. Few letters are enough where the two stand together in no
    token, and one behind a mark there: of more, another word might begin behind them.
    """
    rules = source.rules
    before: dict[str, set[str]] = {word[0]: set() for word in words}
    marks: set[str] = set()  # with which any word begins
    for first, second in _pairs(source):
        if second in before:
            before[second].add(first)
        if first in source.kept and rules.kind(second) is Kind.LETTER:
            marks.add(first)
    spaces = {" ", "\t", *_whole_spaces(source)}
    whole = {*map(chr, range(0x80)), *source.kept, *spaces}
    lasts = {bytes([last]) for last in CONTINUATION}
    ascii_characters = set(map(chr, range(0x21, 0x7F)))
    for word in words:
        near = {c for c in before[word[0]] | spaces if len(rules.cut(c + word)) == 1}
        is_wide = word[0] >= FIRST_OF_THREE_BYTES
        few = _before_others(word, LETTERS_TAKEN_OF_FEW, words)
        taken = {
            c if c in whole else c.encode()[-1:]: few if is_wide else LETTERS_TAKEN for c in near
        }
        for characters, most in (
            (marks, 1),
            (ascii_characters, 1 if is_wide else LETTERS_TAKEN_OF_FEW),
        ):
            for c in characters.difference(near):
                if len(rules.cut(c + word)) == 1:
                    taken[c] = _before_others(word, most, words)
        taken = dict.fromkeys(lasts, few) | taken
        yield from ((start, word[:end]) for start, end in taken.items())


def _before_others(word: str, least: int, words: list[str]) -> int:
    """How many letters of a word, at least, are not followed by one of the words in it."""
    return next(end for end in count(least) if not word[end:].startswith(tuple(words)))


def _whole_spaces(source: Source) -> list[str]:
    """The spaces beyond ASCII that are one letter each."""
    spaces = source.rules.characters(Kind.SPACE)
    private = {source.vocabulary.tokens[i] for i in source.private}
    return [c for c in spaces if c in source.kept or c.encode() in private]


def _written(character: str, source: Source) -> str:
    """How a character of one letter is written."""
    raw = character.encode()
    return source.private.get(source.ids.get(raw, -1)) or source.spell(raw)


def _pairs(source: Source) -> set[tuple[str, str]]:
    """The characters that stand beside each other in any token."""
    texts = (raw.decode(errors="surrogateescape") for raw in source.ids)
    found = {pair for text in texts for pair in pairwise(text)}
    return {pair for pair in found if not any("\udc80" <= c <= "\udcff" for c in pair)}


def _leads_of_letters(rules: PreTokenizer) -> tuple[bytes, ...]:
    """The first bytes of letters: one where at least a quarter of what it begins are letters.

    Else the first two: 0xE2 begins quotes and dashes, but for a few blocks.
    """
    letters, all_kinds = Counter[bytes](), Counter[bytes]()
    for kind in Kind:
        for raw in (text.encode() for text in rules.characters(kind, 0)):
            starts = raw[:1], raw[:2]
            all_kinds.update(starts)
            letters.update(starts if kind is Kind.LETTER else ())
    shares = {start: letters[start] / count for start, count in sorted(all_kinds.items())}
    single = [start for start, share in shares.items() if len(start) == 1 and share >= 0.25]
    pairs = [s for s, share in shares.items() if share > 0.5 and s[:1] not in single]
    return (*single, *pairs)
