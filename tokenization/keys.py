"""Keys of the normalizer: what one position of a text decides by its neighbours."""

import unicodedata
from collections.abc import Iterator, Mapping

from tokenizers import Tokenizer
from tokenizers.normalizers import NFC

from . import comments, endings, lines, looked_up, marks, runs, wide
from .comments import QUOTES_KEPT
from .pre_tokenizer import Kind
from .source import Source, decoded, each
from .spelling import rewritten, spell

QUOTES_AFTER_RARE_MARK = 3  # likewise after a mark beyond ASCII: there are 12,000 of them
DIGITS_OF_A_SCRIPT = 10
FIRST_AFTER_LATIN_1 = "\u0100"
GREEK_EXTENDED = 0x1F00
FIRST_BEHIND_DIACRITICS = "\u0346"
NEAR_MARKS = 64  # in the list of all marks


def all_keys(
    source: Source, letters: Mapping[bytes, bytes], numbers: Mapping[str, list[int]]
) -> dict[bytes, bytes]:
    """All keys but those of single bytes, which are `letters`."""
    tokens = source.vocabulary.tokens
    keys = {raw: source.spell(raw).encode() for raw in (text.encode() for text in source.kept)}
    for text in source.spaced:
        raw = b" " + text.encode()
        is_written = source.wide.head(raw) or text in source.parts.behind_space
        keys[raw] = (source.spell if is_written else spell)(raw).encode()
    keys |= marks.keys(source, letters)
    keys |= wide.spaced_keys(source)
    # none for a text that the original always cuts: no letters would be there for its parts
    given = (raw for raw in map(str.encode, source.composed) if source.ids[raw] not in source.never)
    keys |= {raw: source.spell(raw).encode() for raw in given}
    keys |= comments.comment_keys(source)
    run_ids = {source.ids[run.encode()] for run in runs.keyed_runs(source)}
    group_ids = run_ids.union(tokens_of(numbers, source))
    comment_ids = {source.ids[raw] for raw in source.comments}
    whole_words = {i for i in source.private if i in source.looked_up}
    added = {token.content.encode() for token in source.vocabulary.added.values()}
    for token_id, letter in source.private.items():
        raw = tokens[token_id]
        text = decoded(raw)
        if (
            text is None
            or raw in added
            or token_id in group_ids | whole_words | source.unreached | comment_ids
        ):
            continue
        if len(source.rules.cut(text)) == 1:
            keys[raw] = letter.encode()
    groups = {
        text.encode(): "".join([source.texts[i] for i in ids]).encode()
        for text, ids in numbers.items()
    }
    keys |= groups
    keys |= _contractions_kept_apart(source, letters)
    keys |= looked_up.keys(source, whole_words)
    keys |= endings.keys(source)
    keys |= runs.run_keys(source, groups)
    keys |= lines.keys(source, source.empty_lines)
    if composes(source.original):
        keys |= _composed(keys, letters)
    return keys


# ------------------------------------------------------------------------------------- numbers


def number_groups(source: Source) -> dict[str, list[int]]:
    """Digits that are a pre-token of a limited length -> the ids of the original.

    A key takes a whole group from the left, as the expression does, and writes the tokens in it as
    private letters, so that nothing merges beyond the group. For the digits of each script where
    two of them ever merge; groups of digits of two scripts are not covered.
    """
    group = source.rules.group
    if group < 2:
        return {}
    found: dict[str, list[int]] = {}
    for digits in _digits_of_scripts(source):
        pairs = [a + b for a in digits for b in digits]
        single = dict(zip(digits, source.encode(digits), strict=True))
        merged = source.encode(pairs)
        if all(ids == single[p[0]] + single[p[1]] for p, ids in zip(pairs, merged, strict=True)):
            continue
        texts = pairs
        for _ in range(group - 2):
            texts = [digit + text for digit in digits for text in texts]
            pairs = pairs + texts
        groups = zip(pairs, source.encode(pairs), strict=True)
        found |= {text: ids for text, ids in groups if source.knows(ids)}
    return found


def _digits_of_scripts(source: Source) -> Iterator[list[str]]:
    """The ten digits of each script, in order; those of Latin with all numbers of Latin-1."""
    numbers = list(source.rules.characters(Kind.NUMBER, 0))
    yield [text for text in numbers if text < FIRST_AFTER_LATIN_1]  # with fractions and powers
    digits = [text for text in numbers if unicodedata.decimal(text, None) is not None]
    digits = digits[DIGITS_OF_A_SCRIPT:]
    for start in range(0, len(digits) - DIGITS_OF_A_SCRIPT + 1, DIGITS_OF_A_SCRIPT):
        yield digits[start : start + DIGITS_OF_A_SCRIPT]


def tokens_of(numbers: Mapping[str, list[int]], source: Source) -> list[int]:
    """The tokens of more than one digit in the groups."""
    ids = dict.fromkeys(i for group in numbers.values() for i in group)
    texts = {token_id: decoded(source.vocabulary.tokens[token_id]) for token_id in ids}
    return [i for i, text in texts.items() if text is not None and len(text) > 1]


# ------------------------------------------------------------------------------------------ NFC


def composes(original: Tokenizer) -> bool:
    """Whether the original composes characters (NFC) before it cuts."""
    normalizer = original.normalizer
    return normalizer is not None and normalizer.normalize_str("e\u0301") == "\u00e9"


def _composed(keys: Mapping[bytes, bytes], letters: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Keys for the decomposed forms of each character, written as the character itself is."""
    nfc, longest = NFC(), max(map(len, keys))
    all_written = {**letters, **keys}
    # keys of a space and the first bytes of a block would take those of a form
    behind_space = {raw[1:3] for raw in keys if raw[:1] == b" "}
    added: dict[bytes, bytes] = {}

    def write(raw: bytes) -> bytes:
        return rewritten(raw, all_written, longest)

    for point in (*range(0xC0, 0xD800), *range(0xF900, 0x30000)):
        character = chr(point)
        whole = nfc.normalize_str(character)
        forms = {character, unicodedata.normalize("NFD", character)}
        step = unicodedata.decomposition(character)
        if step and not step.startswith("<"):
            forms.add("".join(chr(int(part, 16)) for part in step.split()))
        elif 0xAC00 <= point < 0xD7A4 and (point - 0xAC00) % 28:
            forms.add(chr(point - (point - 0xAC00) % 28) + _last_jamo(character))
        for form in forms - {whole}:
            if nfc.normalize_str(form) == whole:
                added[form.encode()] = write(whole.encode())
                if len(form) == 1 and form.encode()[:2] in behind_space:
                    added[f" {form}".encode()] = write(f" {whole}".encode())
    for form in _forms_out_of_order(nfc):
        added[form.encode()] = write(nfc.normalize_str(form).encode())
    return added


def _last_jamo(syllable: str) -> str:
    """The last jamo of a Hangul syllable."""
    return unicodedata.normalize("NFD", syllable)[-1]


def _forms_out_of_order(nfc: NFC) -> Iterator[str]:
    """Two marks that NFC writes in the other order, and letters with two that it composes apart.

    Marks of one script or block only, and letters with the marks of Latin, Greek and Cyrillic.
    """
    marks = [chr(p) for p in range(0x300, 0x20000) if unicodedata.combining(chr(p))]
    for position, first in enumerate(marks):
        for second in marks[max(0, position - NEAR_MARKS) : position + NEAR_MARKS]:
            if unicodedata.combining(first) > unicodedata.combining(second):
                yield first + second
    letters = [chr(p) for p in range(0x41, GREEK_EXTENDED) if chr(p).isalpha()]
    pairs = [(a, m) for a in letters for m in marks if m < FIRST_BEHIND_DIACRITICS]
    taken = [(a, m) for a, m in pairs if len(nfc.normalize_str(a + m)) == 1]
    composing = sorted({mark for _, mark in taken})
    for letter, second in taken:
        for first in composing:
            whole = nfc.normalize_str(letter + first + second)
            if whole != nfc.normalize_str(letter + first) + second:
                yield letter + first + second


# -------------------------------------------------------------------------------- contractions


def _contractions_kept_apart(source: Source, letters: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Keys for apostrophes that a run of marks takes, so that no contraction begins.

    The key is the mark or space in front of the apostrophe and as many apostrophes as follow. More
    than QUOTES_KEPT of them are taken in several steps: the last step may not leave one alone.
    """
    taken = source.rules.contractions or tuple(source.endings)
    letters_behind = sorted(text[1:] for text in taken)
    if not letters_behind or source.readable:
        return {}
    keys: dict[bytes, bytes] = {}

    def keep(text: str) -> None:
        spelled = source.spell(text.encode()).encode()
        if not any(c in source.kept or c in source.parts.of for c in text):
            # bytes that the vocabulary does not have are left out
            spelled = b"".join([letters.get(b, b) for b in each(text.encode())])
        keys[text.encode()] = spelled

    marks = list(source.rules.characters(Kind.MARK, 1))
    for start in ("", " ", *(c for c in marks if c < "\x80" and c != "'")):
        for count in range(1 if start else 2, QUOTES_KEPT + 1):
            keep(start + "'" * count)
        for ending in letters_behind:
            keep(start + "'" * (QUOTES_KEPT + 1) + ending)
    for mark in (c for c in marks if c >= "\x80"):
        behind_space = b" " + mark.encode()
        for count in range(1, QUOTES_AFTER_RARE_MARK + 1):
            keep(mark + "'" * count)
            if mark in source.spaced or source.wide.head(behind_space) is not None:
                raw = behind_space + b"'" * count  # the key of the space would take the mark alone
                keys[raw] = (source.spell if source.wide.head(raw) else spell)(raw).encode()
    return keys
