"""Characters of several bytes behind a space, where cuts fall inside tokens.

A vocabulary has tokens that end inside a character, such as a space with the first bytes of a
symbol, " \\xe2\\x9e". In front of a number that begins with these bytes an expression cuts behind
the space, but the bytes would merge all the same. So the normalizer decides it: each character
behind a space is asked from the original, and where the space is joined, the token is written as a
private letter, which no merge makes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import product

from .pre_tokenizer import Kind
from .source import Source, Spaced, decoded, merged_without
from .spelling import CONTINUATION, REPLACEMENT, spell, width_of
from .tokenizer_json import MAX_ID

FEW_WORDS = 10  # tokens
MOST_MISSING = 2  # bytes of a character, all of which come back whatever it is
SPACES_KEYED = 16  # spaces in front of one beyond ASCII that one key takes


def spaced(source: Source) -> Spaced:
    """Finds the characters for which the normalizer decides whether a space is joined."""
    tokens = source.vocabulary.tokens
    whole = source.kept - source.spaced
    characters = [text for text in wide_characters(source) if text not in whole]
    asked = source.encode([" " + text for text in characters])
    first = {
        text.encode(): tokens.get(ids[0], b" ") if ids else b" "
        for text, ids in zip(characters, asked, strict=True)
    }
    partial = {raw for raw in tokens.values() if _ends_in_first_character(raw)}
    leads = {_lead(raw) for raw, head in first.items() if _is_decided(raw, head, source)}
    leads -= _leads_of_words(source)
    contested = {raw for raw in partial if _lead(raw[1:]) in leads}
    if source.readable:
        first = {raw: head for raw, head in first.items() if decoded(head) is None}
    heads = {raw: head for raw, head in first.items() if head in contested}
    for raw, head in first.items():
        is_free = len(head) > 1 and _lead(raw) in leads and raw not in heads
        if is_free and merged_without(contested, b" " + raw, source.vocabulary.ranks)[0] != head:
            heads[raw] = head
    return Spaced(_shortened(heads, first, whole))


def wide_characters(source: Source) -> list[str]:
    """The characters of three bytes and more, without those that the original rewrites (NFC)."""
    texts = [t for kind in Kind for t in source.rules.characters(kind) if len(t.encode()) > 2]
    return [text for text in texts if source.is_normal(text)]


def _ends_in_first_character(raw: bytes) -> bool:
    """Whether a token is a space and the first bytes of a character."""
    return 1 < len(raw) < 5 and raw[:1] == b" " and raw[1] >= 0xC2 and decoded(raw) is None


def _is_decided(raw: bytes, head: bytes, source: Source) -> bool:
    """Whether a character of several tokens takes no space, or one that may have to be cut off."""
    kind = source.rules.kind(raw.decode())
    if raw in source.ids:
        return False
    if head == b" ":
        return kind in (Kind.NUMBER, Kind.SPACE)
    return kind is Kind.SPACE or (kind is Kind.MARK and source.rules.marks_begin_words)


def _lead(raw: bytes) -> bytes:
    """The first byte of a character of three bytes, the first two of one of four."""
    return raw[: 1 + (raw[0] >= 0xF0)]


def _leads_of_words(source: Source) -> set[bytes]:
    """The first bytes with which tokens of several letters begin, as those of Devanagari do.

    What is merged there depends on the whole word: no letter can be written in advance.
    """
    count: Counter[bytes] = Counter()
    for raw in source.ids:
        text = decoded(raw.removeprefix(b" "))
        if text is not None and len(text) > 1 and source.rules.kind(text[0]) is Kind.LETTER:
            count[_lead(text.encode())] += 1
    return {lead for lead, words in count.items() if words > FEW_WORDS}


def _shortened(
    heads: Mapping[bytes, bytes], first: Mapping[bytes, bytes], kept: Iterable[str]
) -> dict[bytes, bytes]:
    """Takes all characters of a block together where a space is joined to each in the same way."""
    blocks: dict[bytes, set[bytes | None]] = defaultdict(set)
    for text in kept:
        blocks[text.encode()[:-1]].add(None)
    for raw in first:
        blocks[raw[:-1]].add(heads.get(raw))
    found: dict[bytes, bytes] = {}
    for raw, head in heads.items():
        block = raw[:-1]
        found[block if blocks[block] == {head} and head[1:] != block else raw] = head
    return found


def spaced_keys(source: Source) -> dict[bytes, bytes]:
    """The keys that write a space with what follows it."""
    keys: dict[bytes, bytes] = {}
    for raw in source.wide.heads:
        keys[b" " + raw] = source.spell(b" " + raw).encode()
    return keys | _keys_of_spaces(source)


def _keys_of_spaces(source: Source) -> dict[bytes, bytes]:
    """Keys for runs of spaces that end with one beyond ASCII: it is cut off where more follows."""
    rules, normalizer = source.rules, source.original.normalizer
    in_runs = {character for run in source.runs_of_spaces for character in run}
    others = [text for text in rules.characters(Kind.SPACE) if text not in in_runs]
    spaces_begin = {text.encode()[:1] for text in others}
    controls = (b for b in (*range(1, 0x20), 0x7F) if rules.kind(chr(b)) is not Kind.SPACE)
    leads = (bytes([b]) for b in (*controls, *range(0x21, 0x7F), *range(0xC3, 0xF4)))
    following = {lead: spell(lead) for lead in leads if lead not in spaces_begin}
    kept = (c.encode() for c in source.kept if rules.kind(c) is not Kind.SPACE)
    blocks = {text.encode()[:2] for text in others}
    following |= {raw: source.spell(raw) for raw in kept if raw[:2] in blocks}
    keys: dict[bytes, bytes] = {}
    runs = [(" " * count, text) for text in others for count in range(1, SPACES_KEYED + 1)]
    results = source.encode([run + text for run, text in runs])
    alone = dict(zip(others, source.encode(others), strict=True))
    for (run, text), ids in zip(runs, results, strict=True):
        if not source.knows(alone[text]):
            continue
        raw = text.encode()
        apart = (run + "".join([source.texts[i] for i in alone[text]])).encode()
        if ids[-len(alone[text]) :] == alone[text]:
            keys[run.encode() + raw] = apart
        elif run == " ":
            whole = b" " + (normalizer.normalize_str(text) if normalizer else text).encode()
            is_head = source.wide.head(whole) is not None
            keys[b" " + raw] = (source.spell if is_head else spell)(whole).encode()
            if text in rules.shortened and not source.readable:
                keys |= {b" " + raw + more: apart + s.encode() for more, s in following.items()}
    return keys


def letters_to_text(source: Source) -> dict[bytes, bytes]:
    """Denormalizer keys for such letters: whole characters, and U+FFFD for the parts of one.

    Those that Unicode does not assign are written by the keys of their block, and come back too.
    """
    keys: dict[bytes, bytes] = {}
    for text in wide_characters(source):
        raw = b" " + text.encode()
        head = source.wide.head(raw)
        if head is not None and f" {text}" not in source.composed:
            letters = source.spell(raw)
            for end in range(1, len(letters)):
                keys[letters[:end].encode()] = b" " + REPLACEMENT
            keys[letters.encode()] = raw
    for head in source.wide.tokens:
        missing = width_of(head[1]) - len(head[1:])
        for behind in product(CONTINUATION, repeat=missing) if 0 < missing <= MOST_MISSING else ():
            letters = source.private[source.ids[head]] + spell(bytes(behind))
            keys.setdefault(letters.encode(), head + bytes(behind))
            keys.setdefault(letters[:-1].encode(), b" " + REPLACEMENT)
    return keys


# ------------------------------------------------------------------------------------- marks


def promoted(source: Source) -> set[bytes]:
    """The tokens that begin or end marks of several tokens and can be merged before all others.

    Only where they are merged first in the original too: where no token of a lower rank ends in
    their beginning, or begins in their end, but for what the normalizer writes as a letter. Where
    marks begin words, they are letters themselves (`marks`).
    """
    if source.rules.marks_begin_words:
        return set()
    ranks = source.vocabulary.ranks
    endings: dict[bytes, list[bytes]] = defaultdict(list)
    beginnings: dict[bytes, int] = {}
    longer: dict[bytes, int] = {}  # the first merge with what follows
    for raw, rank in ranks.items():
        for length in range(2, min(len(raw), 4)):
            longer[raw[:length]] = min(rank, longer.get(raw[:length], rank))
        for length in range(1, min(len(raw), 3)):
            beginnings[raw[:length]] = min(rank, beginnings.get(raw[:length], rank))
            if raw not in source.wide.tokens:
                endings[raw[-length:]].append(raw)

    def is_first(raw: bytes) -> bool:
        # a rival that is merged with the rest before that is with more comes to the same
        rivals = ((r, raw[cut:]) for cut in range(1, len(raw)) for r in endings[raw[:cut]])
        most = longer.get(raw, MAX_ID)
        return all(
            ranks[r] >= ranks[raw] or ranks.get(r + rest, MAX_ID + 1) <= most for r, rest in rivals
        )

    blocks = _first_tokens(source)
    found: set[bytes] = set()
    marks = _marks(source)
    heads = {raw[:end] for raw in marks for end in range(2, len(raw))} & ranks.keys()
    for raw in sorted(heads):
        rank = ranks[raw]
        cuts = range(1, len(raw))
        always = all(beginnings.get(raw[cut:], rank) >= rank for cut in cuts)
        always = always or all(first.startswith(raw) for first in blocks[raw])
        if is_first(raw) and always and (len(raw) == 2 or raw[:2] in found):
            found.add(raw)
    for raw in {raw[1:] for raw in marks if len(raw) == 3} & ranks.keys():
        if is_first(raw) and beginnings.get(raw[1:], ranks[raw]) >= ranks[raw]:
            found.add(raw)
    return found


def _first_tokens(source: Source) -> dict[bytes, set[bytes]]:
    """For the first two and three bytes of characters: the tokens that characters begin with."""
    texts = wide_characters(source)
    found: dict[bytes, set[bytes]] = defaultdict(set)
    for text, ids in zip(texts, source.encode(texts), strict=True):
        raw = text.encode()
        # bytes without a token are lost, and a character may be an added token
        first = source.vocabulary.tokens.get(ids[0], b"") if ids else b""
        for end in range(2, len(raw)):
            found[raw[:end]].add(first)
    return found


def _marks(source: Source) -> list[bytes]:
    return [
        raw
        for text in source.rules.characters(Kind.MARK)
        if text not in source.kept and len(raw := text.encode()) > 2
    ]
