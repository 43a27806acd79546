"""Compiles a byte-level BPE vocabulary and its PreTokenizer to SentencePiece's means.

What comes out, a `Plan`, holds no bytes of any format; `sentencepiece_model` explains the idea.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum

from tokenizers import Tokenizer

from .pre_tokenizer import CharacterClass, PreTokenizer, character_classes, class_of
from .spelling import PRIVATE, byte_letter, letters_to_text, spell, text_to_letters
from .tokenizer_json import Vocabulary

QUOTES_KEPT = 8  # apostrophes in a row that one key takes
QUOTES_AFTER_RARE_MARK = 3  # likewise after a mark beyond ASCII: there are 12,000 of them
# bytes that can stand for UNKNOWN: SentencePiece finds no piece for null, the others never occur
UNKNOWN_BYTES = (0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0xC0, 0xC1)


class Stage(IntEnum):
    """When a merge happens: all of one stage come before any of the next, over the whole text."""

    LONE = 0  # the bytes of a number that is a pre-token by itself
    WORD = 1  # all that is not mentioned here
    REJOIN = 2  # glue: numbers and spaces that are several tokens become one symbol
    CUT = 3  # glue: the last of a run of spaces and the token that follows
    SPACE = 4  # runs of spaces


class Role(Enum):
    """What SentencePiece does with a piece."""

    TOKEN = "merged from its parts"
    GLUE = "merged from its parts, and taken apart again at the end"
    ADDED = "found in the text before anything else"
    NEVER = "never found in a text"
    UNKNOWN = "given to what has no piece"


@dataclass(frozen=True)
class Piece:
    """A piece of the model; of TOKEN and GLUE the lowest (stage, rank) is merged first."""

    text: str
    role: Role
    stage: Stage = Stage.WORD
    rank: int = 0


@dataclass(frozen=True)
class Plan:
    """The content of a SentencePiece model.

    pieces: the original's ids in order, then glue; normalizer, denormalizer: what is rewritten
    before encoding and after decoding, the longest key at each position.
    """

    pieces: list[Piece]
    normalizer: dict[bytes, bytes]
    denormalizer: dict[bytes, bytes]


def compile_plan(vocabulary: Vocabulary, rules: PreTokenizer, original: Tokenizer) -> Plan:
    """Compiles; `original` is asked how it encodes where that is simpler than to deduce it."""
    ids = {raw: token_id for token_id, raw in vocabulary.tokens.items()}
    written_whole = _tokens_written_whole(vocabulary, rules, original)
    letters = map(chr, PRIVATE)
    private = {i: next(letters) for i in (*written_whole, *_never_given(vocabulary, original))}
    texts = {i: private.get(i) or spell(raw) for i, raw in vocabulary.tokens.items()}
    pieces = [_piece(i, vocabulary, rules, texts) for i in range(vocabulary.size)]
    _place_unknown(pieces, ids)
    glue = (
        *_rejoining_glue(vocabulary, rules, original),
        *_cutting_glue(vocabulary, rules, texts, ids),
    )
    known = {piece.text for piece in pieces}
    for piece in glue:
        if piece.text not in known:
            known.add(piece.text)
            pieces.append(piece)
    normalizer = text_to_letters(raw[0] for raw in ids if len(raw) == 1)
    normalizer |= {vocabulary.tokens[i]: private[i].encode() for i in written_whole}
    normalizer |= _contractions_kept_apart(rules, normalizer)
    denormalizer = letters_to_text(ids)
    denormalizer |= {
        letter.encode(): vocabulary.tokens[token_id]
        for token_id, letter in private.items()
        if b"\0" not in vocabulary.tokens[token_id]
    }
    return Plan(pieces, normalizer, denormalizer)


def _decoded(raw: bytes) -> str | None:
    """The text of a token; None when it begins or ends inside a character."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _never_joined(rules: PreTokenizer) -> set[CharacterClass]:
    """The classes of characters that take no space in front and do not cut a run of spaces."""
    numbers = {CharacterClass.NUMBER} if rules.lone_numbers else set[CharacterClass]()
    return {CharacterClass.SPACE} | numbers


def _tokens_written_whole(
    vocabulary: Vocabulary, rules: PreTokenizer, original: Tokenizer
) -> list[int]:
    """Tokens that the normalizer writes as one letter wherever the text has them.

    Contractions, which no merge may make where the original does not take them; and numbers and
    spaces beyond ASCII, whose bytes a space in front must not merge with.
    """
    in_runs = set("".join(_runs_of_spaces(vocabulary)))
    classes = _never_joined(rules)
    found: list[int] = []
    for token_id, raw in vocabulary.tokens.items():
        text = _decoded(raw)
        if text is None or len(raw) == 1:
            continue
        lone = len(text) == 1 and class_of(text) in classes and text not in in_runs
        if (lone or text in rules.contractions) and _encode(original, text) == [token_id]:
            found.append(token_id)
    return found


def _never_given(vocabulary: Vocabulary, original: Tokenizer) -> list[int]:
    """Tokens that the original never gives: its expression or an added token always cuts them."""
    cut = original.pre_tokenizer.pre_tokenize_str
    added = {token.content for token in vocabulary.added.values()}
    texts = ((token_id, _decoded(raw)) for token_id, raw in vocabulary.tokens.items())
    return [
        token_id
        for token_id, text in texts
        if text is not None and (text in added or (len(text) > 1 and len(cut(text)) > 1))
    ]


def _encode(original: Tokenizer, text: str) -> list[int]:
    return original.encode(text, add_special_tokens=False).ids


def _runs_of_spaces(vocabulary: Vocabulary) -> list[str]:
    """The tokens that are several spaces."""
    texts = map(_decoded, vocabulary.tokens.values())
    return [text for text in texts if text is not None and len(text) > 1 and _is_spaces(text)]


def _piece(
    token_id: int, vocabulary: Vocabulary, rules: PreTokenizer, texts: dict[int, str]
) -> Piece:
    if token_id in vocabulary.added:
        return Piece(vocabulary.added[token_id].content, Role.ADDED)
    raw = vocabulary.tokens.get(token_id)
    if raw is None:
        return Piece(f"<|hole_{token_id}|>", Role.NEVER)
    text = texts[token_id]
    rank = vocabulary.ranks.get(raw)
    if rank is None:
        return Piece(text, Role.TOKEN if len(raw) == 1 else Role.NEVER)
    decoded = _decoded(raw)
    is_run = decoded is not None and len(decoded) > 1 and _is_spaces(decoded)
    return Piece(text, Role.TOKEN, Stage.SPACE if is_run else Stage.WORD, rank)


def _is_spaces(text: str) -> bool:
    return all(class_of(character) is CharacterClass.SPACE for character in text)


def _place_unknown(pieces: list[Piece], ids: dict[bytes, int]) -> None:
    """Gives SentencePiece the one unknown piece that it demands, where it does no harm."""
    for byte in UNKNOWN_BYTES:
        token_id = ids.get(bytes([byte]))
        if token_id is not None:
            pieces[token_id] = Piece(byte_letter(byte), Role.UNKNOWN)
            return
    pieces.append(Piece("<|unknown|>", Role.UNKNOWN))


def _rejoining_glue(
    vocabulary: Vocabulary, rules: PreTokenizer, original: Tokenizer
) -> Iterator[Piece]:
    """Glue that makes one symbol of a space or lone number of several tokens.

    Its first token alone could as well begin a letter, and would be taken for one by the glue of
    the next stage. Joined from the right: the last tokens of a character are no beginning.
    Numbers are joined before a space in front can merge with their first byte, unless that would
    keep the space from more characters that take it.
    """
    classes = _never_joined(rules)
    early = _number_beginnings(rules)
    texts = [
        chr(point)
        for point, character_class in enumerate(character_classes())
        if point >= 0x80 and character_class in classes
    ]
    for text, encoding in zip(
        texts, original.encode_batch(texts, add_special_tokens=False), strict=True
    ):
        parts = [vocabulary.tokens[token_id] for token_id in encoding.ids]
        if text.encode()[:2] in early and all(len(part) == 1 for part in parts):
            for end in range(2, len(parts) + 1):
                yield Piece(spell(b"".join(parts[:end])), Role.GLUE, Stage.LONE)
        else:
            for start in range(len(parts) - 2, -1, -1):
                yield Piece(spell(b"".join(parts[start:])), Role.GLUE, Stage.REJOIN)


def _number_beginnings(rules: PreTokenizer) -> set[bytes]:
    """The first two bytes that begin more lone numbers than other characters."""
    if not rules.lone_numbers:
        return set()
    numbers: Counter[bytes] = Counter()
    for point, character_class in enumerate(character_classes()):
        if point >= 0x80 and character_class != CharacterClass.OTHER:
            weight = 1 if character_class == CharacterClass.NUMBER else -1
            numbers[chr(point).encode()[:2]] += weight
    return {beginning for beginning, surplus in numbers.items() if surplus > 0}


def _cutting_glue(
    vocabulary: Vocabulary, rules: PreTokenizer, texts: dict[int, str], ids: dict[bytes, int]
) -> Iterator[Piece]:
    """Glue that keeps the last of a run of spaces from merging with those before it.

    Needed for each space that ends a longer token, with each token that can begin a pre-token of
    another class; words are complete at this stage.
    """
    classes = _never_joined(rules)
    lasts = sorted({run[-1] for run in _runs_of_spaces(vocabulary) if run[-1].encode() in ids})
    followers = {
        raw: texts[token_id]
        for token_id, raw in vocabulary.tokens.items()
        if _cuts_spaces(raw, classes)
    }
    beginnings = sorted(raw for raw in _number_beginnings(rules) if _decoded(raw) is None)
    followers |= {raw: spell(raw) for raw in beginnings if raw not in ids}
    for last in lasts:
        for raw, text in followers.items():
            if last.encode() + raw not in ids:
                yield Piece(spell(last.encode()) + text, Role.GLUE, Stage.CUT)


def _cuts_spaces(raw: bytes, classes: set[CharacterClass]) -> bool:
    """Whether a pre-token can begin with this token and cuts off the space in front of it."""
    lead = raw[0]
    if 0x80 <= lead < 0xC2 or lead >= 0xF5:
        return False  # no character begins with it
    length = 1 + (lead >= 0xC2) + (lead >= 0xE0) + (lead >= 0xF0)
    character = _decoded(raw[:length])
    # a token that is the beginning of a space or number is hidden in the symbol rejoined from it
    return character is None or class_of(character) not in classes


def _contractions_kept_apart(
    rules: PreTokenizer, normalizer: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """Normalizer keys for apostrophes that a run of marks takes, so that no contraction begins.

    The key is the mark or space in front of the apostrophe and as many apostrophes as follow. More
    than QUOTES_KEPT of them are taken in several steps: the last step may not leave one alone.
    """
    endings = sorted(text[1:] for text in rules.contractions)
    if not endings:
        return {}
    keys: dict[bytes, bytes] = {}

    def keep(text: str) -> None:
        letters = (bytes([byte]) for byte in text.encode())
        keys[text.encode()] = b"".join(normalizer.get(letter, letter) for letter in letters)

    for start in ("", " ", *_marks(range(1, 0x80))):
        for count in range(1 if start else 2, QUOTES_KEPT + 1):
            keep(start + "'" * count)
        for ending in endings:
            keep(start + "'" * (QUOTES_KEPT + 1) + ending)
    for mark in _marks(range(0x80, 0x40000)):
        for count in range(1, QUOTES_AFTER_RARE_MARK + 1):
            keep(mark + "'" * count)
    return keys


def _marks(points: Iterable[int]) -> Iterator[str]:
    classes = character_classes()
    for point in points:
        if classes[point] == CharacterClass.MARK and chr(point) != "'":
            yield chr(point)
