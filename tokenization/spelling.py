"""How bytes are written inside the SentencePiece model, and the way back when it decodes."""

from collections.abc import Iterable

BYTE_LETTERS_START = 0x100  # a byte from 0x80 on is written as U+0180 to U+01FF
PRIVATE = range(0xF0000, 0xFFFFE)  # plane 15: for tokens that must never come from merges
REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
CONTINUATION = range(0x80, 0xC0)
EMOJI_LEAD = b"\xf0\x9f"  # U+1F000 to U+1FFFF


def byte_letter(byte: int) -> str:
    """The character for one byte: itself in ASCII, but for null, which no piece may hold."""
    return chr(byte) if 0 < byte < 0x80 else chr(BYTE_LETTERS_START + byte)


_LETTERS = [byte_letter(byte) for byte in range(256)]


def spell(raw: bytes) -> str:
    """The characters for some bytes."""
    return "".join([_LETTERS[byte] for byte in raw])


def text_to_letters(known_bytes: Iterable[int]) -> dict[bytes, bytes]:
    """Normalizer keys that write each byte of a text as its letter.

    The original drops a byte that its vocabulary does not have, and so does this map.
    """
    known = set(known_bytes)
    keys: dict[bytes, bytes] = {}
    for byte in range(1, 256):  # a key cannot hold null
        letter = byte_letter(byte).encode() if byte in known else b""
        if letter != bytes([byte]):
            keys[bytes([byte])] = letter
    return keys


def letters_to_text() -> dict[bytes, bytes]:
    """Denormalizer keys that write letters as the bytes they stand for, and keep UTF-8 whole.

    Engines decode id by id, and wait for more ids while the text ends in U+FFFD; so a character
    becomes its bytes only when all of its letters are there, and the beginning of one U+FFFD.
    Four-byte characters outside the emoji block are rare, and there are a million of them: those
    are written byte by byte, right for the whole text, but not waited for.
    """
    keys = {spell(bytes([byte])).encode(): bytes([byte]) for byte in (0, *range(0x80, 0x100))}
    del keys[spell(b"\0").encode()]  # a value cannot hold null
    for raw in _character_beginnings():
        keys[spell(raw).encode()] = REPLACEMENT
    for raw in _characters():
        keys[spell(raw).encode()] = raw
    return keys


def _second_bytes(lead: int) -> range:
    """The bytes that may follow a lead byte. Source: Unicode 16, table 3-7."""
    first = {0xE0: 0xA0, 0xF0: 0x90}.get(lead, 0x80)
    last = {0xED: 0x9F, 0xF4: 0x8F}.get(lead, 0xBF)
    return range(first, last + 1)


def _character_beginnings() -> Iterable[bytes]:
    for lead in range(0xC2, 0xF5):
        yield bytes([lead])
        if 0xE0 <= lead < 0xF0:
            yield from (bytes([lead, second]) for second in _second_bytes(lead))
    yield EMOJI_LEAD
    yield from (EMOJI_LEAD + bytes([third]) for third in CONTINUATION)


def _characters() -> Iterable[bytes]:
    for lead in range(0xC2, 0xE0):
        yield from (bytes([lead, second]) for second in CONTINUATION)
    for lead in range(0xE0, 0xF0):
        for second in _second_bytes(lead):
            yield from (bytes([lead, second, third]) for third in CONTINUATION)
    for third in CONTINUATION:
        yield from (EMOJI_LEAD + bytes([third, fourth]) for fourth in CONTINUATION)
    for lead in range(0xF0, 0xF5):
        yield from (
            bytes([lead, second])
            for second in _second_bytes(lead)
            if bytes([lead, second]) != EMOJI_LEAD
        )
