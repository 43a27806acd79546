"""How bytes are written inside the SentencePiece model, and the way back when it decodes."""

from collections.abc import Collection, Iterable, Mapping

LETTERS_OF_BYTES = range(0x180, 0x200)  # for the bytes 0x80 to 0xFF; two bytes each in UTF-8
NULL_LETTER = "\u0100"
PRIVATE = range(0xF0000, 0xFFFFE)  # plane 15: for tokens that must never come from merges
STAND_INS = 0x100000  # plane 16: for characters that are letters of bytes as well
REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
CONTINUATION = range(0x80, 0xC0)


def width_of(lead: int) -> int:
    """How many bytes a character has that begins with this one."""
    return 1 + (lead >= 0xC2) + (lead >= 0xE0) + (lead >= 0xF0)


def ended(raw: bytes) -> int:
    """How many bytes a token begins with that are the last ones of a character."""
    return len(raw) - len(raw.lstrip(bytes(CONTINUATION)))


def begun(raw: bytes) -> bytes:
    """The first bytes of a character that a token ends with."""
    whole = raw[ended(raw) :].decode(errors="ignore")
    return raw[ended(raw) + len(whole.encode()) :]


def byte_letter(byte: int) -> str:
    """The character for one byte: itself in ASCII, but for null, which no piece may hold."""
    if byte == 0:
        return NULL_LETTER
    return chr(byte) if byte < 0x80 else chr(LETTERS_OF_BYTES[byte - 0x80])


_LETTERS = [byte_letter(byte) for byte in range(256)]
_ENCODED = [letter.encode() for letter in _LETTERS]


def spell(raw: bytes, kept: Collection[str] = ()) -> str:
    """The characters for some bytes; those in `kept` stand for themselves where they are whole.

    A character that is the letter of a byte too has a stand-in in plane 16.
    """
    if not kept:
        return "".join([_LETTERS[byte] for byte in raw])
    text = raw.decode(errors="surrogateescape")
    return "".join([_kept_letter(c) if c in kept else _letters_of(c) for c in text])


def _kept_letter(character: str) -> str:
    point = ord(character)
    is_taken = point in LETTERS_OF_BYTES or character == NULL_LETTER
    return chr(STAND_INS + point) if is_taken else character


def _letters_of(character: str) -> str:
    return "".join([_LETTERS[byte] for byte in character.encode(errors="surrogateescape")])


def rewritten(raw: bytes, keys: Mapping[bytes, bytes], longest: int) -> bytes:
    """What the normalizer makes of some bytes; longest: of the keys, in bytes."""
    written, position = b"", 0
    while position < len(raw):
        ends = range(min(len(raw), position + longest), position, -1)
        end = next((end for end in ends if raw[position:end] in keys), position + 1)
        written += keys.get(raw[position:end], raw[position:end])
        position = end
    return written


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


def letters_to_text(tokens: Iterable[bytes]) -> dict[bytes, bytes]:
    """Denormalizer keys that write letters as the bytes they stand for, and keep UTF-8 whole.

    Engines decode id by id, and wait for more ids while the text ends in U+FFFD; so a character
    becomes its bytes only when all of its letters are there, and each part of one becomes U+FFFD,
    as in the original. Of the million four-byte characters, those of planes that hold little but
    private use are written two bytes at a time: right for a whole text, but what is decoded between
    the two is not UTF-8. Two last bytes alone are therefore written too, but for those that begin a
    token: such a pair is written behind its first two bytes only.
    """
    keys: dict[bytes, bytes] = {}

    def write(raw: bytes, value: bytes) -> None:
        keys[b"".join([_ENCODED[byte] for byte in raw])] = value

    for byte in range(0x80, 0x100):
        write(bytes([byte]), REPLACEMENT)
    for lead in range(0xC2, 0xE0):
        for second in CONTINUATION:
            write(raw := bytes([lead, second]), raw)
    for beginning in map(bytes, _long_beginnings()):
        write(beginning, REPLACEMENT)
        for third in CONTINUATION:
            raw = beginning + bytes([third])
            if raw[0] < 0xF0:
                write(raw, raw)
                continue
            write(raw, REPLACEMENT)
            for last in CONTINUATION:
                write(raw + bytes([last]), raw + bytes([last]))
    of_tokens = sorted({token[:2] for token in tokens if _are_continuations(token[:2])})
    for pair in (bytes([third, last]) for third in CONTINUATION for last in CONTINUATION):
        write(pair, pair)
    for pair in of_tokens:
        write(pair, 2 * REPLACEMENT)
    for beginning in map(bytes, _beginnings_in_pairs()):
        write(beginning, beginning)
        for pair in of_tokens:
            write(beginning + pair, beginning + pair)
    return keys


def _are_continuations(pair: bytes) -> bool:
    return len(pair) == 2 and all(byte in CONTINUATION for byte in pair)


def _second_bytes(lead: int) -> range:
    """The bytes that may follow a lead byte. Source: Unicode 16, table 3-7."""
    first = {0xE0: 0xA0, 0xF0: 0x90}.get(lead, 0x80)
    last = {0xED: 0x9F, 0xF4: 0x8F}.get(lead, 0xBF)
    return range(first, last + 1)


def _is_kept_whole(lead: int, second: int) -> bool:
    """Whether four-byte characters that begin so are written when complete."""
    in_planes_1_to_3 = lead == 0xF0 and second <= 0xB2  # up to U+32FFF, the last ideographs
    return in_planes_1_to_3 or (lead, second) == (0xF3, 0xA0)  # U+E0000, tags and variants


def _long_beginnings() -> list[tuple[int, int]]:
    """The first two bytes of characters of three bytes, and of four that are kept whole."""
    return [
        (lead, second)
        for lead in range(0xE0, 0xF5)
        for second in _second_bytes(lead)
        if lead < 0xF0 or _is_kept_whole(lead, second)
    ]


def _beginnings_in_pairs() -> list[tuple[int, int]]:
    """The first two bytes of all other characters of four bytes."""
    return [
        (lead, second)
        for lead in range(0xF0, 0xF5)
        for second in _second_bytes(lead)
        if not _is_kept_whole(lead, second)
    ]
