import io

import pytest
import sentencepiece
from handmade_sentencepiece import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    model,
)
from taskpress.bundler import BundleError
from taskpress.bundler.tokenizer import Tokenizer, load_tokenizer
from taskpress.tokenization.tokenizer_json import BYTE_LETTERS

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


LETTERS = [
    ("<unk>", UNKNOWN),
    ("<s>", CONTROL),
    ("<▁>", CONTROL),  # which no text gives, so that it may be spelled as anyone likes
    ("<end>", USER_DEFINED),
    ("Ġa", NORMAL),
    *((letter, NORMAL) for letter in BYTE_LETTERS.values()),
]


def lettered(*pieces: tuple[str, int], **how: bool) -> Tokenizer:
    return load_tokenizer(model(*pieces, **how), "t.model", bytes_to_unicode=True)


def test_pieces_in_gpt2s_letters() -> None:
    found = lettered(*LETTERS, escape=False)
    found.check_letters()
    found.check_stops(["<end>"])
    text = "a aé 😀\n<end>▁"
    ids = found.encode(text)
    assert [found.processor.IdToPiece(token) for token in ids] == [
        *("a", "Ġa", "Ã", "©", "Ġ", "ð", "Ł", "ĺ", "Ģ"),
        *("Ċ", "<end>", "â", "ĸ", "ģ"),
    ]
    assert found.decode(ids) == text
    assert found.decode([2, *ids[:2], 0, ids[2]]) == "a a \u2047 \ufffd"


@pytest.mark.parametrize(
    ("pieces", "how", "reason"),
    [
        (PIECES, {}, r"has the piece 8, '▁'"),
        ([*LETTERS, *PIECES[-256:]], {}, "has the byte piece '<0x00>', so that it reads bytes"),
        (LETTERS[:-1], {}, r"makes \['Ń'\] of 'Ń', the letter of byte 173"),
        (LETTERS, {"dummy_prefix": True}, r"makes \[.*\] of '!', the letter of byte 33"),
        ([*LETTERS, ("<ÿ▁>", USER_DEFINED)], {}, "has the piece 261, '<ÿ▁>'"),
    ],
)
def test_pieces_that_are_not_in_gpt2s_letters(
    pieces: list[tuple[str, int]], how: dict[str, bool], reason: str
) -> None:
    with pytest.raises(BundleError, match=rf"^t\.model: {reason}.*; BYTES_TO_UNICODE needs pieces"):
        lettered(*pieces, **how).check_letters()


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


def test_a_piece_that_is_no_text_is_named() -> None:
    data = model(("<unk>", UNKNOWN), ("<s>", CONTROL)).replace(b"<s>", b"<\xff>")
    tokenizer = load_tokenizer(data, "x")
    assert tokenizer.spelling(0) == "<unk>"
    with pytest.raises(
        BundleError, match=r"^x: the piece 1 is no UTF-8: .*; the model is damaged$"
    ):
        tokenizer.spelling(1)
