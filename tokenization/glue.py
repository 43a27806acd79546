"""Glue: symbols that are merged, keep their parts from other merges, and dissolve at the end.

Each function gives the glue for one thing that an expression cuts and merges would join.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from . import closed, marks, short_marks
from .plan import Piece, Role, Stage
from .pre_tokenizer import Kind, PreTokenizer
from .runs import last_spaces
from .source import Source, decoded, is_lone
from .spelling import spell, width_of
from .tokenizer_json import MAX_ID

LEAD_BYTES = range(0xC2, 0xF5)
FOLLOWERS_OF_SPACE = 200_000
FIRST_WIDE = b"\xe2\xba\x80"  # U+2E80, from where on characters are those of East Asia
FREQUENT_MARKS = 100  # with which three marks in a row may begin
# ranks in HOLD: what newlines follow begins no word; then two single marks; and behind these
LINES = 0
LONGER_RUNS, TRIPLES = 10_000, 10_001
BEHIND_MARKS = 10_002  # behind all that keeps an apostrophe in a run of marks
SINGLE_MARKS_HELD = 50_000  # pairs of marks of which the second is beyond ASCII
LETTERS_HELD = 45_000
EMOJI_WORDS = 20  # with which an emoji counts: it begins few, but stands behind marks often


def all_glue(source: Source) -> Iterator[Piece]:
    """All glue, the same text more than once where two rules ask for it."""
    held = list(_held_marks(source))
    yield from held
    yield from marks.glue(source)
    yield from () if source.readable else short_marks.glue(source)
    yield from _letters_held(source)
    lines = list(_held_newlines(source))
    yield from lines
    yield from _marks_of_the_line_before(source)
    for text in source.contractions_of_parts:  # behind the runs of marks, before the words
        yield Piece(text, Role.GLUE, Stage.HOLD, BEHIND_MARKS)
    yield from _joined_where_cut(source)
    yield from _rejoined(source)
    yield from closed.glue(source)
    yield from _cut_spaces(source)
    # by weight where all else is the same
    held.sort(key=lambda piece: (not piece.text.isascii(), max(piece.rank, LONGER_RUNS - 1)))
    yield from _cut_held(held[: source.room // 4] + lines, source)


def _held_marks(source: Source) -> Iterator[Piece]:
    """Keeps a mark behind a space or another mark from beginning a word: the "(" of "((foo".

    The two marks, or the space and the mark, are one token or become one symbol before words are
    merged. Pairs of two single marks come first, those whose second mark begins most words before
    others: of three marks only the last one needs to be held. Where it stays over, it joins the
    pair in front of it. Only what the original itself gives as these two tokens is glued: else a
    symbol that makes the same text of other tokens would take the run away from the mark behind it.
    """
    ids = source.ids
    if not source.marks_come_first:
        return
    words = {mark: len(tokens) for mark, tokens in source.words_by_mark.items()}
    runs = [" ", *(text for text in map(decoded, ids) if text and _is_mark_run(text, source))]
    pairs = [(run, mark) for run in runs for mark in words if (run + mark).encode() not in ids]
    pairs = _affordable(pairs, words, source)
    parted = set(_given_as_parts(pairs, source))
    order = {mark: i for i, mark in enumerate(sorted(words, key=words.__getitem__)[::-1], 1)}
    singles: dict[str, list[str]] = {}
    pairs.sort(key=lambda parts: _weight(parts, words, source), reverse=True)
    for run, mark in pairs:
        if (run, mark) in parted:
            rank = order[mark] if len(run) == 1 else LONGER_RUNS
            yield Piece(source.joined(run, mark), Role.GLUE, Stage.HOLD, rank)
            if run != " " and len(run) == 1:
                singles.setdefault(run, []).append(mark)
    rank_of = source.vocabulary.ranks
    by_rank = sorted(singles, key=lambda mark: (mark >= "\x80", rank_of.get(mark.encode(), 0)))
    frequent = by_rank[:FREQUENT_MARKS]
    triples = [
        (a, b, c)
        for a in frequent
        for b in singles[a]
        for c in singles.get(b, ())
        if order[b] < order[c]  # else c joins b before that joins a
    ]
    triples = _affordable(triples, words, source)
    triples += [(" ", a, b) for a, marks in singles.items() if (" ", a) in parted for b in marks]
    for parts in _given_as_parts(triples, source):
        yield Piece(source.joined(*parts), Role.GLUE, Stage.HOLD, TRIPLES)


def _letters_held(source: Source) -> Iterator[Piece]:
    """Keeps a letter that belongs to the marks in front of it from the letters behind it.

    A combining mark is such a letter where an expression has it among both, but only behind two
    marks, or a space and one. It is made of bytes among words, and held as soon as it is there:
    those with which most words begin, since the glue for all would be 10 MB.
    """
    rules, ranks = source.rules, source.vocabulary.ranks
    texts = [text for raw in ranks if len(raw) > 1 and (text := decoded(raw)) is not None]
    runs = [text for text in texts if len(text) > 1 and _is_mark_run(text, source)]
    letters = [
        text for text in texts if len(text) < 3 and all(rules.in_marks[ord(c)] for c in text)
    ]
    begun = Counter(text[:length] for text in texts for length in (1, 2) if length < len(text))
    # merges with letters that do not belong to the marks, as they are cut off
    cut = dict.fromkeys(letters, MAX_ID)
    for text in texts:
        if text[0] in cut and len(text) > 1 and not rules.in_marks[ord(text[1])]:
            cut[text[0]] = min(cut[text[0]], ranks[text.encode()])
    held = {letter: ranks[letter.encode()] for letter in letters}
    for pair in (text for text in letters if len(text) == 2 and text[0] in held):
        if held[pair] < cut[pair[0]]:  # two of them may be one token before others take the second
            held[pair[0]] = max(held[pair[0]], held[pair] + 1)

    def weight(pair: tuple[str, str]) -> float:
        run, letter = pair
        return begun[letter] / (marks.FIRST_RANKS + ranks[run.encode()]) ** 0.25

    pairs = [(run, letter) for run in runs for letter in letters if begun[letter]]
    pairs.sort(key=weight, reverse=True)
    for run, letter in _given_as_parts(pairs[:LETTERS_HELD], source):
        yield Piece(source.joined(run, letter), Role.GLUE, Stage.WORD, held[letter])


def _affordable(
    texts: list[tuple[str, ...]], words: Mapping[str, int], source: Source
) -> list[tuple[str, ...]]:
    """Those that end in ASCII or are a space and a mark, and the most frequent of the others.

    How often a mark begins a word is read from how many tokens do, how often a run is from its
    rank; there are some 300,000 pairs, and the glue for all would be 6 MB.
    """
    plain: list[tuple[str, ...]] = []
    single: list[tuple[str, ...]] = []
    others: list[tuple[str, ...]] = []
    for parts in texts:
        together = "".join(parts[:-1]).removeprefix(" ")
        if len(parts) == 2 and (parts[-1] < "\x80" or not together):
            plain.append(parts)
        elif len(parts) == 2 and len(together) == 1:
            single.append(parts)
        else:
            (plain if max(*together, parts[-1]) < "\x80" else others).append(parts)
    for rare in (single, others):
        rare.sort(key=lambda parts: _weight(parts, words, source), reverse=True)
    return plain + single[:SINGLE_MARKS_HELD] + others[: source.room // 8]


def _weight(parts: tuple[str, ...], words: Mapping[str, int], source: Source) -> float:
    *before, last = parts
    rank = sum(source.vocabulary.ranks.get(part.encode(), 0) for part in before)
    often = max(words[last], EMOJI_WORDS) if marks.is_emoji(last) else words[last]
    return often / (marks.FIRST_RANKS + rank)


def _given_as_parts(texts: Sequence[tuple[str, ...]], source: Source) -> Iterator[tuple[str, ...]]:
    """Those of the texts that the original encodes as just these tokens."""
    results = source.encode(["".join(parts) for parts in texts])
    for parts, ids in zip(texts, results, strict=True):
        if ids == [source.ids.get(part.encode()) for part in parts]:
            yield parts


def _is_mark_run(text: str, source: Source) -> bool:
    """Whether a token is marks alone, or behind one space."""
    if source.ids[text.encode()] in source.private and text.encode() not in source.comments:
        return False
    return all(source.is_letter_mark(c) for c in text.removeprefix(" "))


def _held_newlines(source: Source) -> Iterator[Piece]:
    """Keeps newlines that end a run of marks from the spaces behind them: ")\n" in ")\n \n".

    Likewise behind a token that ends with newlines: those of ")\n\n" "\n\n" "  \n".
    """
    runs = [text for text in map(decoded, source.ids) if text and _is_mark_run(text, source)]
    runs = [*(run for run in runs if run != " "), *_lines_of_marks(source)]
    newlines = _newlines(source)
    pairs = [(run, newline) for run in runs for newline in newlines]
    pairs = [(run, line) for run, line in pairs if (run + line).encode() not in source.ids]
    apart = _apart_from_space(runs, source)
    for run, newline in _given_as_parts(pairs, source):
        text = source.joined(run, newline)
        yield Piece(text, Role.GLUE, Stage.HOLD, LINES)
        if run in apart:  # a long line of "#" that is no token with the space in front of it
            yield Piece(" " + text, Role.GLUE, Stage.CUT)


def _apart_from_space(runs: Iterable[str], source: Source) -> set[str]:
    """The runs of marks that take no space in front, nor are a token with one."""
    spaced = [(" ", run) for run in runs if run[0] != " " and f" {run}".encode() not in source.ids]
    return {run for _, run in _given_as_parts(spaced, source)}


def _newlines(source: Source) -> list[str]:
    """The tokens of one or two newlines, where a run of marks takes those behind it."""
    texts = [raw.decode() for raw in source.ids if raw and not raw.strip(b"\r\n")]
    return [text for text in texts if set(text) <= source.rules.mark_endings and len(text) <= 2]


def _lines_of_marks(source: Source) -> Iterator[str]:
    """The tokens of marks that end with newlines."""
    endings = "".join(source.rules.mark_endings)
    for text in map(decoded, source.ids):
        if text is not None and text[-1:] in source.rules.mark_endings:
            body = text.rstrip(endings).removeprefix(" ")
            if body and all(source.is_letter_mark(c) for c in body):
                yield text


def _marks_of_the_line_before(source: Source) -> Iterator[Piece]:
    """Keeps the "/" of ")\n/*" with the run of marks in front of the newline."""
    rules = source.rules
    pairs = [
        (run, mark * count)
        for run in (_lines_of_marks(source) if rules.after_endings else ())
        for mark in sorted(rules.after_endings)
        for count in (1, 2)
        if (run + mark * count).encode() not in source.ids
    ]
    for run, mark in _given_as_parts(pairs, source):
        yield Piece(source.joined(run, mark), Role.GLUE, Stage.LINE, 2 - len(mark))


def _rejoined(source: Source) -> Iterator[Piece]:
    """Makes one symbol of a space, a lone number or a hidden mark of several tokens.

    Its first token alone could as well begin a letter, and would be taken for one by the glue of
    the next stage. Joined from the right: the last tokens of a character are no beginning.
    Numbers are joined before a space in front can merge with their first byte, unless that would
    keep the space from more characters that take it; so are spaces of two bytes, which are cut off
    a space in front wherever something follows, or more of them stand in front.
    """
    rules = source.rules
    early = _number_beginnings(rules)
    texts = [
        text
        for kind in (Kind.NUMBER, Kind.SPACE, Kind.MARK, Kind.APART)
        for text in rules.characters(kind)
        if is_lone(text, rules) or (rules.is_mark(text) and rules.is_hidden(text))
    ]
    for text, ids in zip(texts, source.encode(texts), strict=True):
        if not source.knows(ids):
            continue
        parts = [source.vocabulary.tokens[token_id] for token_id in ids]
        raw = text.encode()
        if rules.kind(text) is Kind.SPACE and len(raw) == 2:
            yield Piece(spell(raw), Role.GLUE, Stage.FIRST)  # no other character has both bytes
            continue
        is_kept_apart = any(raw.startswith(head[1:]) for head in source.wide.tokens)
        if raw[:2] in early and not is_kept_apart and all(len(part) == 1 for part in parts):
            for end in range(2, len(parts) + 1):
                yield Piece(spell(b"".join(parts[:end])), Role.GLUE, Stage.FIRST)
        else:
            rank = closed.REJOINED if source.late.tokens and len(parts) > 2 else 0
            for start in range(len(parts) - 2, -1, -1):
                text = "".join([source.texts[i] for i in ids[start:]])
                yield Piece(text, Role.GLUE, Stage.REJOIN, rank)


def _joined_where_cut(source: Source) -> Iterator[Piece]:
    """Makes one symbol of a mark that steps behind ByteLevel cut inside, before all merges.

    The letter in front of it could else take its first bytes, which are those of letters too. One
    of three tokens is left over, as its last two are the end of other characters; so is one whose
    beginning the original merges with another mark. Where no letter takes the first bytes, a space
    in front may.
    """
    rules = source.rules
    marks = [
        text
        for kind in (Kind.MARK, Kind.APART)
        for text in rules.characters(kind)
        if rules.is_mark(text) and len(rules.cut(text)) > 1
    ]
    behind_marks = {
        raw[len(text.encode()) :]
        for raw in (source.ids if marks else ())
        if (text := raw.decode(errors="ignore")) and rules.is_mark(text[-1])
    }
    ends = ((raw[:-count], raw[-count:]) for raw in source.ids for count in (1, 2, 3))
    taken = {end for before, end in ends if before.strip(b" ")}
    for text, ids in zip(marks, source.encode(marks), strict=True):
        parts = [source.vocabulary.tokens.get(token_id, b"") for token_id in ids]
        if len(parts) == 2 and parts[0] not in behind_marks and parts[0] in taken:
            yield Piece(spell(text.encode()), Role.GLUE, Stage.FIRST)


def _number_beginnings(rules: PreTokenizer) -> set[bytes]:
    """The first two bytes that begin more lone numbers than other characters."""
    if not is_lone("1", rules):
        return set()
    numbers: Counter[bytes] = Counter()
    for kind in (Kind.MARK, Kind.LETTER, Kind.NUMBER, Kind.SPACE):
        for text in rules.characters(kind):
            numbers[text.encode()[:2]] += 1 if kind is Kind.NUMBER else -1
    return {beginning for beginning, surplus in numbers.items() if surplus > 0}


def _cut_held(held: list[Piece], source: Source) -> Iterator[Piece]:
    """Likewise for a tab, newline or space and the symbols that other glue made.

    A space is in the symbol already, but for marks in ASCII that are no token with one: "}" where a
    vocabulary is small, and rows of one mark, as 24 of "=" where a 25th is held to them.
    """
    texts = {piece.text for piece in held}
    fronts = {text[:-1] for text in texts if text.isascii()}
    rows = sorted(row for row in fronts if len(row) > 1 and len(set(row)) == 1)
    apart = _apart_from_space(rows, source)
    lasts = ["\t", *(line for line in "\n\r" if line in source.rules.shortened)]
    for piece in held:
        first = piece.text[0]
        if first == " ":
            continue
        for last in lasts:
            yield Piece(last + piece.text, Role.GLUE, Stage.CUT)
        behind_space = " " + first
        is_alone = behind_space not in texts and behind_space.encode() not in source.ids
        if piece.text[:-1] in apart or (first < "\x80" and is_alone):
            yield Piece(" " + piece.text, Role.GLUE, Stage.CUT)


def _cut_spaces(source: Source) -> Iterator[Piece]:
    """Keeps the last of a run of spaces from merging with those before it.

    Needed for each space that ends a longer token, with each token that can begin a pre-token of
    another kind; words are complete at this stage.
    """
    rules, ids = source.rules, source.ids
    leads_without_cut = _leads_without_cut(rules)
    followers = {
        raw: source.texts[token_id]
        for token_id, raw in source.vocabulary.tokens.items()
        if _cuts_spaces(raw, rules, leads_without_cut)
    }
    beginnings = sorted(raw for raw in _number_beginnings(rules) if decoded(raw) is None)
    numbers = [c.encode() for c in rules.characters(Kind.NUMBER) if not rules.is_hidden(c)]
    followers |= {raw: source.spell(raw) for raw in (*beginnings, *numbers) if raw not in ids}
    by_rank = sorted(followers, key=lambda raw: source.vocabulary.ranks.get(raw, -1))
    letters = closed.followers(source)
    by_rank += [raw for raw in letters if raw not in followers]
    followers |= letters
    east_asian_first = sorted(by_rank, key=lambda raw: raw < FIRST_WIDE)
    followed = {" ": FOLLOWERS_OF_SPACE, "\t": source.room * 3 // 4, "\n": MAX_ID, "\r": MAX_ID}
    for last in last_spaces(source):
        before = source.texts[ids[last.encode()]]
        # a space as wide as an ideograph stands among these
        likely = east_asian_first if last.encode() > FIRST_WIDE else by_rank
        for raw in likely[: followed.get(last, source.room // 10)]:
            # where the two are a token, they are one symbol by now, unless no merge makes it
            whole = ids.get(last.encode() + raw)
            if whole is None or whole in source.private:
                yield Piece(before + followers[raw], Role.GLUE, *closed.when_cut(raw, source))


def _leads_without_cut(rules: PreTokenizer) -> set[int]:
    """The first bytes of more characters that cut no space off a run than of others."""
    count: Counter[int] = Counter()
    for kind in Kind:
        for text in rules.characters(kind):
            count[text.encode()[0]] += -1 if _cuts(text, rules) else 1
    return {lead for lead, surplus in count.items() if surplus > 0}


def _cuts_spaces(raw: bytes, rules: PreTokenizer, leads_without_cut: set[int]) -> bool:
    """Whether a pre-token can begin with this token and cuts off the space in front of it."""
    lead = raw[0]
    if lead >= 0x80 and lead not in LEAD_BYTES:
        return False  # no character begins with it
    character = decoded(raw[: width_of(lead)])
    # a token that is the beginning of a space or number is hidden in the symbol rejoined from it
    return lead not in leads_without_cut if character is None else _cuts(character, rules)


def _cuts(character: str, rules: PreTokenizer) -> bool:
    """Whether a character cuts off the space in front of it."""
    return not rules.is_among_spaces(character) and not rules.is_hidden(character)
