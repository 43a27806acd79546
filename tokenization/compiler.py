"""Compiles a byte-level BPE vocabulary and its PreTokenizer to SentencePiece's means.

`sentencepiece_model` explains the idea; `glue` and `keys` hold the two means that need most words.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from tokenizers import Tokenizer

from . import (
    closed,
    comments,
    edges,
    endings,
    glue,
    inner,
    keys,
    lines,
    looked_up,
    marks,
    plain,
    runs,
    tails,
    wide,
)
from .plan import Piece, Plan, Role, Stage
from .pre_tokenizer import Kind, PreTokenizer
from .source import Source, decoded, is_lone, is_spaces, merged, words_beginning
from .spelling import PRIVATE, byte_letter, letters_to_text, text_to_letters
from .tokenizer_json import Vocabulary

# bytes that can stand for UNKNOWN: SentencePiece finds no piece for null, the others never occur
UNKNOWN_BYTES = (0x00, 0xFF, 0xFE, 0xFD, 0xFC, 0xFB, 0xFA, 0xF9, 0xF8, 0xC0, 0xC1)
SPACE_SIGN = "\u2581"  # SentencePiece decodes it to a space
JOINED_ONLY_IN_RUNS = (Kind.SPACE, Kind.NUMBER)
# what a character is put next to, to see whether it is ever split
NEIGHBOURS = ("{0}{0}", "a{0}", "{0}a", "({0}", "{0}.", " {0}{0}", "{0}\n", "1{0}1", "\n{0} ")


def compile_plan(
    vocabulary: Vocabulary, rules: PreTokenizer, original: Tokenizer, *, readable: bool = False
) -> Plan:
    """Compiles; `original` is asked how it encodes where that is simpler than to deduce it.

    readable: in the plain form (see `plain`).
    """
    ids = {raw: token_id for token_id, raw in vocabulary.tokens.items()}
    source = Source(vocabulary, rules, original, ids, readable=readable)
    _keep_characters(source)
    if readable:
        plain.keep_characters(source)
    numbers = {} if readable else keys.number_groups(source)
    source.wide.heads.update(wide.spaced(source).heads)
    source.tails.update(tails.tails(source))
    source = replace(source, parts=marks.parts(source))
    letters = map(chr, PRIVATE)
    for token_id in _spelled_by_text(source) if readable else _spelled_by_letters(source, numbers):
        if token_id not in source.private:
            source.private[token_id] = next(letters)
    source.runs.update(runs.written_runs(source))
    source.promoted.update(wide.promoted(source))
    source.late.tokens.update(edges.late(source))
    source.late.beginnings.update(closed.beginnings(source))
    source.late.closed.update(closed.letters(source))
    for token_id, raw in vocabulary.tokens.items():
        source.texts[token_id] = source.private.get(token_id) or source.spell(raw)
    source.texts.update(inner.spellings(source))
    pieces = [_piece(i, source) for i in range(vocabulary.size)]
    _place_unknown(pieces, ids)
    known = {piece.text for piece in pieces}
    steps = plain.steps(source) if readable else ()
    for piece in (*steps, *glue.all_glue(source)):
        if piece.text not in known:
            known.add(piece.text)
            pieces.append(piece)
    normalizer = text_to_letters(raw[0] for raw in ids if len(raw) == 1)
    normalizer |= keys.all_keys(source, normalizer, numbers)
    normalizer |= tails.tail_keys(source)
    normalizer |= edges.keys(source)
    normalizer |= plain.crossing_keys(source) if readable else {}
    denormalizer = letters_to_text(ids)
    denormalizer |= {
        letter.encode(): vocabulary.tokens[token_id]
        for token_id, letter in source.private.items()
        if b"\0" not in vocabulary.tokens[token_id]
    }
    denormalizer |= wide.letters_to_text(source)
    denormalizer |= marks.letters_to_text(source)
    denormalizer |= tails.letters_to_text(source)
    contents = [token.content for token in vocabulary.added.values()]
    denormalizer |= {
        content.replace(SPACE_SIGN, " ").encode(): content.encode()
        for content in contents
        if SPACE_SIGN in content
    }
    plan = Plan(pieces, normalizer, denormalizer)
    return plain.shown(plan) if readable else plan


def _spelled_by_letters(source: Source, numbers: Mapping[str, list[int]]) -> Iterator[int]:
    """The tokens that no merge may make, in the full form: each becomes a private letter."""
    yield from _written_whole(source, numbers)
    yield from _never_given(source)
    source.endings.update(endings.tokens(source))
    yield from source.endings.values()
    yield from endings.words(source)
    yield from keys.tokens_of(numbers, source)
    yield from (source.ids[run.encode()] for run in runs.keyed_runs(source))
    source.looked_up.update(looked_up.tokens(source))
    yield from sorted(source.looked_up)
    yield from _heads(source)
    source.unreached.update(_unreached(source))
    yield from sorted(source.unreached)
    source.empty_lines.update(lines.tokens(source))
    yield from sorted(source.empty_lines)
    yield from source.tails
    source.comments.extend(text.encode() for text in comments.comments(source))
    yield from (source.ids[raw] for raw in source.comments)


def _spelled_by_text(source: Source) -> Iterator[int]:
    """Those that are a private letter in the plain form too: they have no text to be read by.

    The others that no merge may make keep their text, and are never found in one.
    """
    added = {token.content.encode() for token in source.vocabulary.added.values()}
    never = {*_never_given(source), *_unreached(source)}
    nameless = {i for i in never if source.vocabulary.tokens[i] in added}
    source.never.update(never - nameless)
    yield from sorted(nameless)
    yield from _heads(source)


def _heads(source: Source) -> list[int]:
    return sorted(source.ids[raw] for raw in source.wide.tokens | source.parts.letters)


def _keep_characters(source: Source) -> None:
    """Finds the marks and spaces beyond ASCII that are one letter.

    Runs of marks are merged before words where a mark may begin one, and runs of spaces after
    them: that needs whole characters. A letter then takes no first byte of a mark either, as that
    of the Arabic comma. One is kept when the original never splits it between its bytes, and merges
    runs of it as if it were a byte; behind a space, if it is split there only, it is bytes.
    """
    contents = "".join(token.content for token in source.vocabulary.added.values())
    excluded = set(contents) | {SPACE_SIGN} if SPACE_SIGN in contents else {SPACE_SIGN}
    candidates = [
        text
        for raw in source.ids
        if 1 < len(raw) <= 4 and (text := decoded(raw)) is not None and len(text) == 1
        if (source.rules.is_mark(text) or source.rules.kind(text) is Kind.SPACE)
        and text not in excluded
    ]
    partial: dict[bytes, set[str]] = defaultdict(set)
    for raw in source.ids:
        text = raw.decode(errors="ignore")
        if text and raw.startswith(text.encode()):
            partial[raw[len(text.encode()) :]].add(text[-1])
    begin_words = {text[0] for raw in source.ids if (text := words_beginning(raw, source))}
    if not source.rules.marks_begin_words:
        begin_words.clear()
    forms = [form.format(text) for text in candidates for form in (" {0}", *NEIGHBOURS)]
    each = iter(zip(forms, source.encode(forms), strict=True))
    for text in candidates:
        behind_space, *splits = [_is_split(text, *next(each), source) for _ in (0, *NEIGHBOURS)]
        is_crossed = text not in begin_words and _is_crossed(text, partial, source)
        if not is_crossed and not any(split - {1} for split in splits):
            source.kept.add(text)
            if behind_space or any(splits):
                source.spaced.add(text)
    runs = [
        (text, start + text * n) for text in candidates for n in (2, 3, 4) for start in ("", " ")
    ]
    for (text, run), ids in zip(runs, source.encode([run for _, run in runs]), strict=True):
        # behind a space the first is written by bytes, and not merged with the next
        shown = run if run[0] != " " or text not in source.spaced else run[2:]
        whole = _ids_of_whole(shown, source)
        if text in source.kept and whole != ids[len(ids) - len(whole) :]:
            source.kept.discard(text)


def _is_crossed(character: str, partial: Mapping[bytes, set[str]], source: Source) -> bool:
    """Whether a token ends inside of the character, when another beyond ASCII stands before it.

    partial: the first bytes of characters with which tokens end -> the characters before those.
    """
    raw = character.encode()
    # C1's control characters are in broken texts only, and tokens of these cross to any "\xc2.."
    before = (c for end in range(1, len(raw)) for c in partial.get(raw[:end], ()) if c >= "\xa0")
    return any(len(source.rules.cut(c + character)) == 1 for c in before)


def _ids_of_whole(text: str, source: Source) -> list[int]:
    """The ids that merging whole characters by rank gives for a short text."""
    parts = merged([character.encode() for character in text], source.rank_behind_space)
    return [source.ids.get(part, -1) for part in parts]


def _is_split(character: str, text: str, ids: list[int], source: Source) -> set[int]:
    """Where tokens end inside of the character: 1 behind a space, 0 elsewhere."""
    ends, position = set[int](), 0
    for token_id in ids:
        position += len(source.vocabulary.tokens.get(token_id, b""))
        ends.add(position)
    width = len(character.encode())
    position = 0
    found = set[int]()
    for before, c in pairwise("\0" + text):
        if c == character and any(position + inside in ends for inside in range(1, width)):
            found.add(int(before == " "))
        position += len(c.encode())
    return found


def _written_whole(source: Source, numbers: Mapping[str, list[int]]) -> list[int]:
    """Tokens that the normalizer writes as one letter wherever the text has them.

    Contractions, which no merge may make where the original does not take them; and numbers and
    spaces beyond ASCII, whose bytes a space in front must not merge with. Those that longer tokens
    are made of only where keys write these too. numbers: the groups that keys write.
    """
    longer = [t for raw in source.ids if (t := decoded(raw)) is not None and len(t) > 1]
    in_runs = {c for text in longer for c in text if source.rules.kind(c) in JOINED_ONLY_IN_RUNS}
    in_runs -= set("".join(numbers))
    found: list[tuple[int, str]] = []
    for token_id, raw in source.vocabulary.tokens.items():
        text = decoded(raw)
        if text is None or len(raw) == 1:
            continue
        lone = len(text) == 1 and is_lone(text, source.rules) and text not in in_runs
        if lone or text in source.rules.contractions:
            found.append((token_id, text))
    results = source.encode([text for _, text in found])
    return [i for (i, _), ids in zip(found, results, strict=True) if ids == [i]]


def _unreached(source: Source) -> list[int]:
    """Tokens that no merge makes: a private letter, so that they are decoded and never given."""
    vocabulary = source.vocabulary
    return [
        i for i, raw in vocabulary.tokens.items() if len(raw) > 1 and raw not in vocabulary.ranks
    ]


def _never_given(source: Source) -> list[int]:
    """Tokens that the original never gives: its expression or an added token always cuts them."""
    added = {token.content for token in source.vocabulary.added.values()}
    texts = ((token_id, decoded(raw)) for token_id, raw in source.vocabulary.tokens.items())
    return [
        token_id
        for token_id, text in texts
        if text is not None
        and (text in added or (len(text) > 1 and _is_always_cut(text, source.rules)))
    ]


def _is_always_cut(text: str, rules: PreTokenizer) -> bool:
    """Whether no pre-token holds a text: a part of one may be cut where it stands alone.

    As "of " is, where an expression takes "of the" as a whole.
    """
    letters = sorted({text[1:] for text in rules.suffixes})
    return len(rules.cut(text)) > 1 and not any(
        text in part
        for before in ("", "a")
        for after in ("a", " a", "1", "!", "\n", *letters)
        for part in rules.cut(before + text + after)
    )


def is_mark_run(text: str, source: Source) -> bool:
    """Whether all merges of a token belong to the stage of marks: " (", "),", ")\\n", "\\n\\n"."""
    rules = source.rules
    if not source.marks_come_first:
        return False
    body = text.rstrip("".join(rules.mark_endings)) if rules.mark_endings else text
    if not body:
        return True
    if body[0] == " ":
        body = body[1:]
    return bool(body) and all(
        (c < "\x80" or c in source.kept) and (rules.kind(c) is Kind.MARK or c in rules.mark_endings)
        for c in body
    )


def _piece(token_id: int, source: Source) -> Piece:
    vocabulary = source.vocabulary
    if token_id in vocabulary.added:
        return Piece(vocabulary.added[token_id].content, Role.ADDED)
    raw = vocabulary.tokens.get(token_id)
    if raw is None:
        return Piece(f"<|hole_{token_id}|>", Role.NEVER)
    text = source.texts[token_id]
    rank = vocabulary.ranks.get(raw)
    if token_id in source.never:
        return Piece(text, Role.NEVER)
    if rank is None:
        return Piece(text, Role.TOKEN if len(text) == 1 else Role.NEVER)
    stage = Stage.FIRST if raw in source.promoted else Stage.WORD
    spelled = decoded(raw)
    if source.readable and spelled is not None:
        if plain.is_group(spelled, source):
            return Piece(text, Role.ADDED)
        stage, rank = plain.order(spelled, rank, source) or (stage, rank)
    if spelled is not None and len(spelled) > 1:
        if is_mark_run(spelled, source):
            stage = Stage.MARK
        elif source.rules.shortened and is_spaces(spelled, source.rules):
            stage = Stage.SPACE
        if stage in (Stage.MARK, Stage.SPACE) and not source.readable:
            rank = source.rank_behind_space[raw]
    if source.parts.takers and source.parts.is_taken(raw):
        stage = Stage.MARK
    if raw in source.late.tokens:
        stage, rank = Stage.REJOIN, edges.LATE + rank
    return Piece(text, Role.TOKEN, stage, rank)


def _place_unknown(pieces: list[Piece], ids: dict[bytes, int]) -> None:
    """Gives SentencePiece the one unknown piece that it demands, where it does no harm."""
    for byte in UNKNOWN_BYTES:
        token_id = ids.get(bytes([byte]))
        if token_id is not None:
            pieces[token_id] = Piece(byte_letter(byte), Role.UNKNOWN)
            return
    pieces.append(Piece("<|unknown|>", Role.UNKNOWN))
