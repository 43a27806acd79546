"""Tokens that merges make of another token, where this one is a private letter.

The original makes "//\\n//" of "//" and "\\n//", and gives this one behind marks only. What is made
of such a letter is spelled with it.
"""

from collections.abc import Iterator

from .source import Source, each, merged, merged_without


def spellings(source: Source) -> dict[int, str]:
    """How these tokens are spelled: as the two tokens that the original makes them of.

    A comment (`comments`) stays one letter where that makes the same token, since the line in front
    may take its slash; but "://${" is never made of "//$".
    """
    lines = list(_lines(source))
    found: dict[int, str] = {}
    for raw, token_id in source.ids.items():
        if token_id in source.private:
            continue
        comment = next((comment for comment in source.comments if comment in raw), None)
        is_other = comment is not None and not _is_made_of(comment, raw, source)
        if is_other or any(line in raw for line in lines):
            found[token_id] = _spelled(raw, source)
    return found


def _lines(source: Source) -> Iterator[bytes]:
    """The tokens of newlines and slashes that are given behind marks only."""
    slashes = "".join(source.rules.after_endings).encode()
    for raw in (source.vocabulary.tokens[token_id] for token_id in source.private):
        if raw.strip(b"\r\n") and not raw.strip(b"\r\n" + slashes):
            yield raw


def _is_made_of(part: bytes, raw: bytes, source: Source) -> bool:
    """Whether merging makes a token when a part of it is one symbol from the beginning."""
    before, after = raw.split(part, 1)
    symbols = [*each(before), part, *each(after)]
    return merged(symbols, source.vocabulary.ranks) == [raw]


def _spelled(raw: bytes, source: Source) -> str:
    """The letters of a token; those of its two halves, and of theirs in turn."""
    letter = source.private.get(source.ids[raw])
    parts = halves(raw, source)
    if letter or len(parts) != 2:
        return letter or source.spell(raw)
    return "".join([_spelled(part, source) for part in parts])


def halves(raw: bytes, source: Source) -> list[bytes]:
    """The two tokens that the last merge makes a token of; others where no merge makes it."""
    return merged_without({raw}, raw, source.vocabulary.ranks)
