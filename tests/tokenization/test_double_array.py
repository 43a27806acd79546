"""The character map: exact bytes, and read back by SentencePiece's own normalizer."""

import random
import struct

import pytest
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from taskpress.tokenization.double_array import BLOCK, build, charsmap

UNUSED = 1 << 31


def processor(characters: bytes) -> SentencePieceProcessor:
    model = sentencepiece_model_pb2.ModelProto()
    model.pieces.add(piece="<unk>", type=sentencepiece_model_pb2.ModelProto.SentencePiece.UNKNOWN)
    model.trainer_spec.model_type = sentencepiece_model_pb2.TrainerSpec.BPE
    model.normalizer_spec.precompiled_charsmap = characters
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = False
    return SentencePieceProcessor(model_proto=model.SerializeToString())


def longest_match(keys: dict[bytes, bytes], text: bytes) -> bytes:
    """What the map should do, said in the simplest way."""
    written = b""
    while text:
        length = next((n for n in range(len(text), 0, -1) if text[:n] in keys), 0)
        written += keys[text[:length]] if length else text[:1]
        text = text[max(1, length) :]
    return written


def test_bytes_of_the_smallest_map() -> None:
    units = [UNUSED] * BLOCK
    units[0] = 0x60 << 10  # root: its base 0x60 puts the child for "a", 0x61, at unit 1
    units[1] = 0x61 | 1 << 8 | 3 << 10  # "a", a key ends here, base 1 ^ 3
    units[2] = UNUSED | 0  # its value: the text at offset 0
    assert charsmap({b"a": b"b"}) == struct.pack("<I256I", 4 * BLOCK, *units) + b"b\0"


def test_no_keys_is_a_trie_of_a_root() -> None:
    assert build({}).tolist() == [0] + [UNUSED] * (BLOCK - 1)


def test_equal_values_are_stored_once() -> None:
    assert charsmap({b"a": b"xy", b"b": b"xy"}).endswith(struct.pack("<I", UNUSED) + b"xy\0")


def test_a_value_that_another_ends_with_begins_inside_of_it() -> None:
    keys = {b"a": b"wxy", b"b": b"xy", b"c": b"y", b"d": b"x", b"e": b""}
    characters = charsmap(keys)
    assert characters.endswith(struct.pack("<I", UNUSED) + b"wxy\0x\0")
    assert processor(characters).normalize("abcdef") == "wxyxyyxf"


def test_all_single_bytes_are_rewritten() -> None:
    keys = {bytes([byte]): chr(0x100 + byte).encode() for byte in range(1, 256)}
    text = "".join(map(chr, [*range(1, 0x80), 0x20AC, 0x1F600]))
    assert processor(charsmap(keys)).normalize(text).encode() == longest_match(keys, text.encode())


@pytest.mark.parametrize("seed", range(8))
def test_sentencepiece_reads_random_maps(seed: int) -> None:
    draw = random.Random(seed)
    alphabet = "abcdé日😀"[: draw.randint(3, 7)]
    words = [
        "".join(draw.choices(alphabet, k=draw.randint(1, 9))) for _ in range(draw.choice([5, 3000]))
    ]
    keys = {word.encode(): f"<{position}>".encode() for position, word in enumerate(words)}
    reader = processor(charsmap(keys))
    for _ in range(200):
        text = "".join(draw.choices(alphabet + "z", k=draw.randint(1, 30)))
        whole = {**keys, **{c.encode(): c.encode() for c in alphabet if c.encode() not in keys}}
        assert reader.normalize(text).encode() == longest_match(whole, text.encode())


def test_null_in_a_text_matches_nothing() -> None:
    assert processor(charsmap({b"ab": b"X"})).normalize("a\0b\0ab") == "a\0b\0X"


def test_the_same_keys_in_any_order_give_the_same_trie() -> None:
    keys = {b"b": 1, b"abc": 2, b"a": 3}
    assert build(keys).tobytes() == build(dict(reversed(keys.items()))).tobytes()
