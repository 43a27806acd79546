import io
import struct

import pytest
import sentencepiece
from taskpress.bundler import BundleError
from taskpress.bundler.tokenizer import Tokenizer, load_tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def model(*pieces: tuple[str, int], dummy_prefix: bool = False, squeeze: bool = False) -> bytes:
    """A ModelProto by hand: BPE, no normalization."""
    message = b""
    for at, (text, kind) in enumerate(pieces):
        score = b"\x15" + struct.pack("<f", -at)
        message += field(1, field(1, text.encode()) + score + bytes([0x18, kind]))
    normalizer = field(1, b"identity") + bytes([0x18, dummy_prefix, 0x20, squeeze, 0x28, 1])
    byte_fallback = b"\x98\x02" + bytes([any(kind == BYTE for _, kind in pieces)])
    return message + field(2, b"\x18\x02" + byte_fallback) + field(3, normalizer)


PIECES = [
    ("<unk>", UNKNOWN),
    ("<s>", CONTROL),
    ("</s>", CONTROL),
    ("<end>", USER_DEFINED),
    ("<end>!", USER_DEFINED),
    ("a", NORMAL),
    ("b", NORMAL),
    ("ab", NORMAL),
    ("\u2581", NORMAL),
    ("\n", USER_DEFINED),
    ("ba", UNUSED),
    *((f"<0x{byte:02X}>", BYTE) for byte in range(256)),
]


def tokenizer(*, dummy_prefix: bool = False) -> Tokenizer:
    return load_tokenizer(model(*PIECES, dummy_prefix=dummy_prefix), "t.model")


def test_kinds_are_counted() -> None:
    found = tokenizer()
    assert found.model_type == "bpe"
    assert found.processor.EncodeAsIds("ab<end>") == [7, 3]
    assert found.count_kinds() == {
        "unknown": 1, "control": 2, "user defined": 3, "normal": 4, "byte": 256, "unused": 1,
    }  # fmt: skip


@pytest.mark.parametrize("dummy_prefix", [False, True])
def test_control_and_user_defined_pieces_can_start_and_stop(dummy_prefix: bool) -> None:
    found = tokenizer(dummy_prefix=dummy_prefix)
    for token in ("<s>", "<end>", "a"):
        found.check_start(token)
    found.check_stops(["</s>", "<end>", "<end>!"])


@pytest.mark.parametrize("token", ["<bos>", "<unk>", "", "aa"])
def test_start_tokens_that_would_be_the_unknown_one(token: str) -> None:
    with pytest.raises(BundleError, match=f"^t.model: start token '{token}' is .* ids .*one token"):
        tokenizer().check_start(token)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("ba", r"is the unused piece 10; any answer may contain it"),
        ("aba", r"is 2 ids \[7, 5\]; it must be one token of this tokenizer"),
        ("<eot>", r"is 5 ids \[71, .*\]; it must be one token of this tokenizer"),
        ("<unk>", r"is 5 ids"),
        ("ab", "is the normal piece 7; any answer may contain it"),
        ("<0x0A>", "is the byte piece 21; any answer may contain it"),
        ("\n", "is white space; an answer would stop at the first one"),
        (" ", "is white space"),
        ("\u2581", "is white space"),
        ("", "is white space"),
    ],
)
def test_stop_tokens_that_would_not_stop_or_always(token: str, reason: str) -> None:
    with pytest.raises(BundleError, match=rf"^t\.model: stop token '.*' {reason}"):
        tokenizer().check_stops(["</s>", token])


def test_a_stop_token_whose_own_text_gives_others() -> None:
    # the normalizer takes one of two spaces away, so the piece is never met
    message = model(*PIECES, ("<a  b>", USER_DEFINED), squeeze=True)
    with pytest.raises(BundleError, match=r"is the piece 267, but its text gives the ids \[.*only"):
        load_tokenizer(message, "t.model").check_stops(["<a  b>"])


def test_a_trained_model_loads() -> None:
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(["a few words to train on"]),
        model_writer=out,
        vocab_size=17,
        user_defined_symbols=["<turn>"],
        minloglevel=2,
    )
    found = load_tokenizer(out.getvalue(), "t.model")
    assert found.model_type == "unigram"
    assert len(found.kinds) == 17
    found.check_start("<s>")
    found.check_stops(["</s>", "<turn>"])


@pytest.mark.parametrize("data", [b"", b"abc", model(("a", NORMAL)), model(*PIECES)[:-3]])
def test_bytes_that_are_no_model(data: bytes) -> None:
    with pytest.raises(BundleError, match=r"^t\.model: \d+ bytes are no SentencePiece model \("):
        load_tokenizer(data, "t.model")
