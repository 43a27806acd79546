"""SentencePiece models byte by byte, for what no trainer makes."""

import struct

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def model(
    *pieces: tuple[str, int],
    dummy_prefix: bool = False,
    squeeze: bool = False,
    escape: bool = True,
) -> bytes:
    """A ModelProto: BPE, no normalization; scores fall with the ids."""
    message = b""
    for at, (text, kind) in enumerate(pieces):
        score = b"\x15" + struct.pack("<f", -at)
        message += field(1, field(1, text.encode()) + score + bytes([0x18, kind]))
    flags = bytes([0x18, dummy_prefix, 0x20, squeeze, 0x28, escape])
    byte_fallback = b"\x98\x02" + bytes([any(kind == BYTE for _, kind in pieces)])
    normalizer = field(1, b"identity") + flags
    return message + field(2, b"\x18\x02" + byte_fallback) + field(3, normalizer)
