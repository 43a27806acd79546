"""GGUF vocabularies: the document that comes out, and one line for each thing that is wrong."""

import copy
from typing import Any

import pytest
from taskpress.tokenization import TokenizerError, gguf_vocabulary

GOOD: dict[str, Any] = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": ["<|end|>", "a", "b", "ab", "<mine>"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1, 4],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.eos_token_id": 0,
}


def test_the_document_has_all_that_the_file_says() -> None:
    document = gguf_vocabulary.tokenizer_json(GOOD)
    assert document["model"]["vocab"] == {"<|end|>": 0, "a": 1, "b": 2, "ab": 3, "<mine>": 4}
    assert document["model"]["merges"] == [["a", "b"]]
    added = [(t["id"], t["content"], t["special"]) for t in document["added_tokens"]]
    assert added == [(0, "<|end|>", True), (4, "<mine>", False)]
    kinds = [step["type"] for step in document["pre_tokenizer"]["pretokenizers"]]
    assert kinds == ["Digits", "ByteLevel"]


def test_special_ids_are_those_that_the_file_names() -> None:
    specials = gguf_vocabulary.special_ids(GOOD)
    assert (specials.bos, specials.eos, specials.pad) == (None, 0, None)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model", "bert", "tokenizer.ggml.model is 'bert'; WordPiece takes the longest piece"),
        ("model", "new", "tokenizer.ggml.model is 'new'; only gpt2"),
        ("model", ["gpt2"], r"tokenizer.ggml.model is \['gpt2'\]; only gpt2"),
        ("model", None, "tokenizer.ggml.model is None; only gpt2"),
        ("pre", "brand-new", "tokenizer.ggml.pre is 'brand-new'; known are gpt-2"),
        ("pre", ["smollm"], r"tokenizer.ggml.pre is \['smollm'\]; known are"),
        ("tokens", None, "tokenizer.ggml.tokens is missing; a list of texts"),
        ("tokens", [1, 2], "tokenizer.ggml.tokens is a list; a list of texts"),
        ("tokens", ["a", "b", "a", "ab", "c"], r"tokens\[0\] and \[2\] are both 'a'"),
        ("token_type", None, "tokenizer.ggml.token_type is not a list of types 1 to 6"),
        ("token_type", [3, 1, 1, 1, 9], "tokenizer.ggml.token_type is not a list of types"),
        ("token_type", [3, 1], "token_type has 2 entries; tokenizer.ggml.tokens has 5"),
        ("merges", None, "tokenizer.ggml.merges is missing"),
        ("merges", ["a z"], r"model.merges\[0\] needs 'z'"),
        ("merges", ["ab"], r"model.merges\[0\] is \['ab'\]; two texts"),
        ("add_space_prefix", True, "tokenizer.ggml.add_space_prefix is set"),
    ],
)
def test_what_is_wrong_is_named(key: str, value: Any, message: str) -> None:
    metadata = copy.deepcopy(GOOD) | {f"tokenizer.ggml.{key}": value}
    with pytest.raises(TokenizerError, match=f"^model.gguf: .*{message}") as caught:
        gguf_vocabulary.tokenizer_json(metadata, "model.gguf")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("token_id", [5, -1, "0", True])
def test_a_special_id_outside_the_vocabulary_is_refused(token_id: Any) -> None:
    metadata = GOOD | {"tokenizer.ggml.eos_token_id": token_id}
    with pytest.raises(TokenizerError, match=r"eos_token_id is .*an id from 0 to 4"):
        gguf_vocabulary.special_ids(metadata)
