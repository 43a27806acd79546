"""Reading tokenizer.json: what is believed, and one line for each thing that is not."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from taskpress.tokenization import TokenizerError, tokenizer_json
from tokenizers import pre_tokenizers

GOOD: dict[str, Any] = {
    "added_tokens": [{"id": 3, "content": "<|end|>", "special": True}],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one thing replaced, or with it left out for ...."""
    document = copy.deepcopy(GOOD)
    *folders, name = path.split("/")
    place: Any = document
    for folder in folders:
        place = place[int(folder) if isinstance(place, list) else folder]
    if value is ...:
        del place[name]
    else:
        place[int(name) if isinstance(place, list) else name] = value
    return document


def test_a_good_document_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    assert tokenizer_json.read(path) == GOOD


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model", ..., "model is missing; a JSON object"),
        ("model", [], r"model is \[\]; a JSON object"),
        ("model/type", "WordPiece", "model.type is 'WordPiece'; it takes the longest"),
        ("model/vocab", ..., "model.vocab is missing"),
        ("model/vocab", {}, "model.vocab is empty"),
        ("model/vocab/a", "0", r"model.vocab\['a'\] is '0'; .* id from 0"),
        ("model/vocab/a", -1, r"model.vocab\['a'\] is -1; .* id from 0"),
        ("model/vocab/a", True, r"model.vocab\['a'\] is True; .* id from 0"),
        ("model/vocab/a", 2**40, r"model.vocab\['a'\] is 1099511627776; .* id from 0"),
        ("model/vocab/a", 1, "'a' and 'b' in model.vocab are both 1"),
        ("model/merges", ..., "model.merges is missing; a list"),
        ("model/merges", "a b", "model.merges is 'a b'; a list"),
        ("model/merges/0", "a b c", r"model.merges\[0\] is 'a b c'; two texts"),
        ("model/merges/0", [1, 2], r"model.merges\[0\] is \[1, 2\]; two texts"),
        ("model/merges/0", "a z", r"model.merges\[0\] needs 'z', which is not in model.vocab"),
        ("model/merges/0", "b a", r"model.merges\[0\] needs 'ba', which is not in model.vocab"),
        ("added_tokens", {}, r"added_tokens is {}; a list"),
        ("added_tokens/0", "x", r"added_tokens\[0\] is 'x'; a JSON object"),
        ("added_tokens/0/id", None, r"added_tokens\[0\] has id missing"),
        ("added_tokens/0/content", "", r"added_tokens\[0\] has id 3 and content ''"),
        ("added_tokens/0/content", 7, r"added_tokens\[0\] has id 3 and content 7"),
        ("added_tokens/0/id", 1, r"added_tokens\[0\], '<|end|>' with id 1, .* contradicts"),
        ("added_tokens/0/content", "b", r"added_tokens\[0\], 'b', has id 3 and in model.vocab 1"),
        ("added_tokens/0/special", "yes", r"added_tokens\[0\].special is 'yes'; true or false"),
        ("normalizer", "NFC", "normalizer is 'NFC'; a JSON object"),
    ],
)
def test_a_document_that_is_wrong_is_refused(path: str, value: Any, message: str) -> None:
    with pytest.raises(TokenizerError, match=f"^here: .*{message}") as caught:
        tokenizer_json.validate(changed(path, value), "here")
    assert "\n" not in str(caught.value)


def test_an_added_token_twice_is_refused() -> None:
    document = changed("added_tokens", GOOD["added_tokens"] * 2)
    with pytest.raises(TokenizerError, match=r"added_tokens\[1\], .* is there twice"):
        tokenizer_json.validate(document, "here")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "a JSON document is needed"),
        (b"\xff\xfe", "a JSON document is needed"),
        (b"[]", r"document is \[\]; a JSON object"),
        (b"[" * 200_000, "nested too deeply|a JSON document is needed"),
        (b'{"a":' * 200_000, "nested too deeply|a JSON document is needed"),
    ],
)
def test_a_file_that_is_no_document_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match=message) as caught:
        tokenizer_json.read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="No such file"):
        tokenizer_json.read(tmp_path / "tokenizer.json")


def test_vocabulary_is_in_bytes() -> None:
    document = copy.deepcopy(GOOD)
    document["model"]["vocab"] = {"Ġ": 0, "a": 1, "Ġa": 2, "Ã": 7}
    document["model"]["merges"] = [["Ġ", "a"]]
    vocabulary = tokenizer_json.vocabulary(document)
    assert vocabulary.tokens == {0: b" ", 1: b"a", 2: b" a", 7: b"\xc3"}
    assert vocabulary.ranks == {b" a": 0}
    assert vocabulary.added[3].content == "<|end|>"
    assert vocabulary.size == 8


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model/byte_fallback", True, "model.byte_fallback is True"),
        ("model/fuse_unk", True, "model.fuse_unk is True and 25. bytes have no token"),
        ("model/dropout", 0.1, "model.dropout is 0.1"),
        ("model/end_of_word_suffix", "</w>", "model.end_of_word_suffix is '</w>'"),
        ("added_tokens/0/lstrip", True, "added token '<|end|>' has lstrip"),
        ("added_tokens/0/single_word", True, "added token '<|end|>' has single_word"),
        ("model/vocab/a b", 9, "'a b'], id 9, is not written in the letters of byte-level BPE"),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(path: str, value: Any, message: str) -> None:
    document = changed(path, value)
    tokenizer_json.validate(document, "here")
    with pytest.raises(TokenizerError, match=message.replace("|", r"\|")):
        tokenizer_json.vocabulary(document, "here")


def test_a_prefix_over_which_the_library_would_end_the_process_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"^here: model\.continuing_subword_prefix"):
        tokenizer_json.validate(changed("model/continuing_subword_prefix", "##"), "here")


def test_what_the_tokenizers_library_refuses_is_one_line() -> None:
    document = changed("pre_tokenizer", {"type": "Nothing"})
    with pytest.raises(TokenizerError, match=r"^here: .*that the tokenizers library can load"):
        tokenizer_json.original(document, "here")


def test_byte_letters_are_those_of_the_tokenizers_library() -> None:
    assert set(tokenizer_json.BYTE_LETTERS.values()) == set(pre_tokenizers.ByteLevel.alphabet())
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "".join(map(chr, range(0x250))) + "日😀"
    ((letters, _),) = splitter.pre_tokenize_str(text)
    assert "".join(tokenizer_json.BYTE_LETTERS[byte] for byte in text.encode()) == letters
    assert tokenizer_json.to_bytes(letters) == text.encode()
