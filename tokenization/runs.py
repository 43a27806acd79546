"""Runs of one space beyond ASCII: keys take them as a whole.

What stands behind a run decides whether its last space belongs to it, which merges do not know.
"""

from collections.abc import Mapping

from .pre_tokenizer import Kind
from .source import Source
from .spelling import spell

RUN_KEYED = 24  # spaces of one kind that one key takes; SentencePiece follows 32 prefixes
SPACES_IN_FRONT, RUN_BEHIND_SPACES = 8, 4  # that one key takes together
RUN_BEFORE_RARE = 3  # likewise, with a group of numbers or a whole mark behind them


def keyed_runs(source: Source) -> list[str]:
    """The tokens that are a run of one space beyond ASCII, such as two ideographic spaces.

    None where tokens are to be readable.
    """
    if source.readable:
        return []
    runs = source.runs_of_spaces
    return [
        run
        for run in runs
        if run[0] in source.kept and run == run[0] * len(run) and len(run) <= RUN_KEYED
    ]


def written_runs(source: Source) -> dict[str, str]:
    """Runs of such a space, as far as a key takes them -> the letters of the original's tokens."""
    runs = [
        space * count
        for space in sorted({run[0] for run in keyed_runs(source)})
        for count in range(1, RUN_KEYED + 1)
    ]
    return {
        run: "".join([source.private.get(i) or run[0] for i in ids])
        for run, ids in zip(runs, source.encode(runs), strict=True)
        if source.knows(ids)
    }


def last_spaces(source: Source) -> list[str]:
    """The spaces that end a longer token which no key takes, and are cut off it by what follows."""
    keyed = set(keyed_runs(source))
    ends = {run[-1] for run in source.runs_of_spaces if run not in keyed}
    return sorted(last for last in ends & source.rules.shortened if last.encode() in source.ids)


def run_keys(source: Source, numbers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Keys for such runs: whole, and without the last one where something else follows.

    numbers: the keys of groups of numbers, which must be taken from their beginning.
    """
    keys: dict[bytes, bytes] = {}
    rare = _beginnings_of_others(source)
    frequent = {raw: written for raw, written in rare.items() if len(raw) == 1}
    rare |= {raw: written for raw, written in numbers.items() if raw.isascii()}
    for run, written in source.runs.items():
        shorter = source.runs.get(run[1:])
        if shorter is None:
            continue
        keys[run.encode()] = written.encode()
        if run[0] in source.rules.shortened:
            cut = (shorter + run[0]).encode()
            following = rare if len(run) <= RUN_BEFORE_RARE else frequent
            for raw, spelled in following.items():
                keys[run.encode() + raw] = cut + spelled
    return keys | _keys_behind_spaces(source, frequent)


def _keys_behind_spaces(source: Source, following: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Keys for short runs behind spaces, where the original joins a space to the first of two."""
    keys: dict[bytes, bytes] = {}
    twice = [2 * run for run in source.runs if len(run) == 1 and 2 * run in source.runs]
    behind_space = source.encode([" " + run for run in twice])
    joined = [
        run[0]
        for run, ids in zip(twice, behind_space, strict=True)
        if "".join([source.texts[i] for i in ids]) != " " + source.runs[run]
    ]
    runs = [
        " " * before + space * count
        for space in joined
        for before in range(1, SPACES_IN_FRONT + 1)
        for count in range(1, RUN_BEHIND_SPACES + 1)
    ]
    written = {
        run: "".join([source.texts[i] for i in ids]).encode()
        for run, ids in zip(runs, source.encode(runs), strict=True)
    }
    for run in (run for run in runs if run[:-1] in written):
        keys[run.encode()] = written[run]
        if run[-1] in source.rules.shortened:
            for raw, spelled in following.items():
                keys[run.encode() + raw] = written[run[:-1]] + run[-1].encode() + spelled
    return keys


def _beginnings_of_others(source: Source) -> dict[bytes, bytes]:
    """With what bytes all but spaces begin -> how these are written.

    Two bytes, or whole characters, where others that begin so are spaces or of one letter.
    """
    rules = source.rules
    spaces = {text.encode() for text in rules.characters(Kind.SPACE, 0)}
    taken = {raw[:end] for raw in spaces for end in range(1, len(raw) + 1)}
    texts = [
        chr(point)
        for point in (*range(0x21, 0x7F), *range(0xA1, 0x800))
        if rules.kind(chr(point)) is not Kind.SPACE
    ]
    found: dict[bytes, bytes] = {}
    for raw in map(str.encode, texts):
        start = raw[:1] if raw[:1] not in taken else raw
        found[start] = source.spell(start).encode()
    for start in (bytes([lead]) for lead in range(0xE0, 0xF5)):
        blocks = [start + bytes([second]) for second in range(0x80, 0xC0)]
        for block in [start] if start not in taken else [b for b in blocks if b not in taken]:
            found[block] = spell(block).encode()
    kept = (text.encode() for text in source.kept)
    found |= {raw: source.spell(raw).encode() for raw in kept if raw not in spaces}
    whole = {source.vocabulary.tokens[i]: letter for i, letter in source.private.items()}
    beyond_ascii = [c for kind in Kind for c in rules.characters(kind) if kind is not Kind.SPACE]
    raws = (text.encode() for text in beyond_ascii)
    return found | {raw: whole[raw].encode() for raw in raws if raw in whole}
