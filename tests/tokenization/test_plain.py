"""The plain form: pieces that are read one by one."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from taskpress.tokenization import FORMS, TokenizerError, sentencepiece_model, tokenizer_json
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LONG_NUMBERS = re.compile(r"\d{4}|  \d{3}")  # exact only where all groups of digits are tokens
NULL = "\0"  # no piece may hold it
BUILD = """
import hashlib, json, sys
from taskpress.tokenization import FORMS, sentencepiece_model
document = json.load(sys.stdin)
for form in FORMS:
    print(hashlib.sha256(sentencepiece_model.build(document, form=form)).hexdigest())
"""


@pytest.fixture(scope="module")
def cl100k(train: Callable[..., Any]) -> Any:
    """Numbers in groups of three, marks that begin words."""
    steps = [Split(Regex(CL100K), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    return train(Sequence(steps), 3000)


@pytest.fixture(scope="module", params=["smollm2", "gpt2_like", "cl100k"])
def rebuilt(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def plain(rebuilt: Any) -> SentencePieceProcessor:
    model = sentencepiece_model.build(rebuilt.document, form="plain")
    return SentencePieceProcessor(model_proto=model)


def texts_of_tokens(document: dict[str, Any]) -> dict[int, str]:
    """The tokens that are whole characters; bytes of GPT-2's alphabet are read here, not by us."""
    decoder = {letter: byte for byte, letter in enumerate(_byte_alphabet())}
    added = {token["content"] for token in document["added_tokens"]}
    found = {}
    for token, token_id in document["model"]["vocab"].items():
        if token not in added:
            raw = bytes(decoder[letter] for letter in token)
            try:
                found[token_id] = raw.decode()
            except UnicodeDecodeError:
                continue
    return found


def _byte_alphabet() -> list[str]:
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (chr(0x100 + i) for i in range(256))
    return [chr(byte) if byte in shown else next(others) for byte in range(256)]


def read(plain: SentencePieceProcessor, ids: list[int]) -> str:
    """What a runtime makes of ids that reads them one by one."""
    return "".join(plain.id_to_piece(token_id).replace("▁", " ") for token_id in ids)


def test_each_token_reads_as_its_text(rebuilt: Any, plain: SentencePieceProcessor) -> None:
    texts = texts_of_tokens(rebuilt.document)
    assert len(texts) > 1000
    wrong = {i: text for i, text in texts.items() if read(plain, [i]) != text}
    assert set(wrong.values()) == {NULL}


def test_added_tokens_read_as_themselves(rebuilt: Any, plain: SentencePieceProcessor) -> None:
    for token in rebuilt.document["added_tokens"]:
        assert plain.id_to_piece(token["id"]) == token["content"]
        assert plain.encode(f"a {token['content']}b") == rebuilt.expected(f"a {token['content']}b")


def test_source_code(rebuilt: Any, plain: SentencePieceProcessor) -> None:
    lines = (STANDARD_LIBRARY / "tarfile.py").read_text(encoding="utf-8").splitlines(keepends=True)
    expected = [rebuilt.expected(line) for line in lines]
    got = [plain.encode(line) for line in lines]
    wrong = [line for line, a, b in zip(lines, expected, got, strict=True) if a != b]
    assert [line for line in wrong if not LONG_NUMBERS.search(line)] == []
    assert [read(plain, ids) for ids in got] == lines


@pytest.mark.parametrize(
    "text",
    ["  \tfoo", "12345", "it's ('self') don't", "a  12", "Grüße, naïve — “x”…", "привет мир αβγ"],
)
def test_the_same_ids(text: str, rebuilt: Any, plain: SentencePieceProcessor) -> None:
    assert plain.encode(text) == rebuilt.expected(text)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text())
@example(text="a▁b ▁")
@example(text="Āā ƀǿ ủ ư \U0010f180 \U00100180 \U000f0000")
def test_any_text_comes_back(text: str, rebuilt: Any, plain: SentencePieceProcessor) -> None:
    kept = rebuilt.original.decode(rebuilt.expected(text), skip_special_tokens=False)
    if "\0\0" not in text and kept == text:
        assert plain.decode(plain.encode(text)) == text


def merging(merges: list[tuple[str, str]]) -> dict[str, Any]:
    """A tokenizer of bytes and of what these merges make, in the letters of GPT-2's alphabet."""
    tokens = [*_byte_alphabet(), *map("".join, merges)]
    step = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    }
    return {
        "added_tokens": [],
        "pre_tokenizer": step,
        "decoder": step,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [list(merge) for merge in merges],
        },
    }


def spelled(text: str) -> list[str]:
    letters = _byte_alphabet()
    return [letters[byte] for byte in text.encode()]


def test_a_token_of_characters_that_are_none(rebuild_document: Callable[..., Any]) -> None:
    # "ủủ" is joined over a token that ends inside of the second, and "ủ" is no token
    e1, bb, a7 = spelled("ủ")
    merges = [(e1, bb), (a7, e1 + bb), (e1 + bb, a7 + e1 + bb), (e1 + bb + a7 + e1 + bb, a7)]
    rebuilt = rebuild_document(merging(merges))
    model = sentencepiece_model.build(rebuilt.document, form="plain")
    plain = SentencePieceProcessor(model_proto=model)
    whole = rebuilt.original.token_to_id("".join(2 * spelled("ủ")))
    assert plain.id_to_piece(whole) == "ủủ"
    assert plain.encode("aủủ") == rebuilt.expected("aủủ") == [ord("a"), whole]
    assert plain.encode("ủ") == rebuilt.expected("ủ")
    assert plain.decode(plain.encode("ủ ủủ")) == "ủ ủủ"


def test_a_token_that_the_expression_cuts_takes_no_text(
    rebuild_document: Callable[..., Any],
) -> None:
    # a letter and a mark; the latter is no token, so that nothing else could be made of the text
    letter, mark = "\u0e15", "\u0e4a"
    (e0, b8, first), (_, b9, second) = spelled(letter), spelled(mark)
    beginning = e0 + b8 + first
    merges = [(e0, b8), (e0 + b8, first), (e0, b9), (beginning, e0 + b9)]
    rebuilt = rebuild_document(merging([*merges, (beginning + e0 + b9, second)]))
    model = sentencepiece_model.build(rebuilt.document, form="plain")
    plain = SentencePieceProcessor(model_proto=model)
    whole = rebuilt.original.token_to_id("".join(spelled(letter + mark)))
    assert plain.id_to_piece(whole) == letter + mark
    for text in (letter + mark, f"a{letter}{mark}a", f" {letter}{mark}{mark}"):
        assert whole not in rebuilt.expected(text)
        assert plain.decode(plain.encode(text)) == text


@pytest.mark.parametrize(
    ("form", "content"), [("plain", "▁"), ("plain", "\U0010f180"), ("full", "\U000f0000")]
)
def test_an_added_token_that_is_a_letter_of_the_model(cl100k: Any, form: str, content: str) -> None:
    last = max(cl100k.document["model"]["vocab"].values())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    token = {"id": last + 1, "content": content, **flags}
    document = cl100k.document | {"added_tokens": [*cl100k.document["added_tokens"], token]}
    with pytest.raises(TokenizerError, match=r"^here: the added token .* writes another token"):
        sentencepiece_model.build(document, form=form, where="here")


def test_metaspace_is_plain_as_it_is() -> None:
    vocab = {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3}
    document = {
        "added_tokens": [],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": [["▁", "a"]],
            "unk_token": "<unk>",
            "fuse_unk": True,
        },
    }
    tokenizer_json.validate(document, "test")
    full, plain = (sentencepiece_model.build(document, form=f) for f in FORMS)
    assert full == plain
    pieces = sentencepiece_model_pb2.ModelProto.FromString(plain).pieces
    assert [piece.piece for piece in pieces] == list(vocab)


def test_the_same_bytes_in_each_process(cl100k: Any) -> None:
    def built(seed: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", BUILD],
            input=json.dumps(cl100k.document),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout

    assert built("1") == built("2")
