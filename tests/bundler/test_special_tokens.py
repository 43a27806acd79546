import json
from pathlib import Path
from typing import Any

import pytest
from taskpress.bundler import BundleError
from taskpress.bundler.special_tokens import SpecialTokens, read_folder, read_gguf

DOCUMENT = {
    "added_tokens": [{"id": 1, "content": "<s>"}, {"id": 5, "content": "<end>"}],
    "model": {"vocab": {"a": 0, "<s>": 1, "b": 3, "</s>": 4}},
}
UNIGRAM = {"added_tokens": None, "model": {"vocab": [["<s>", 0.0], ["</s>", -1.0]]}}
CONFIG = {
    "bos_token": "<s>",
    "eos_token": {"content": "</s>", "special": True},
    "pad_token": None,
    "chat_template": "from the config",
}


def folder(path: Path, **files: Any) -> Path:
    for name, value in files.items():
        (path / f"{name}.json").write_text(json.dumps(value))
    return path


def test_a_folder(tmp_path: Path) -> None:
    folder(tmp_path, tokenizer_config=CONFIG)
    assert read_folder(tmp_path, {"eos_token_id": [5, 4]}, DOCUMENT, {}) == SpecialTokens(
        named={"bos_token": "<s>", "eos_token": "</s>"},
        added=("<s>", "<end>"),
        stripping=(),
        stops=("<end>", "</s>"),
        chat_template="from the config",
    )


def test_a_folder_of_separate_files(tmp_path: Path) -> None:
    folder(tmp_path, special_tokens_map={"eos_token": "<end>", "bos_token": "<s>"})
    (tmp_path / "chat_template.jinja").write_text("from the file")
    found = read_folder(tmp_path, {}, DOCUMENT, {})
    assert found.named == {"eos_token": "<end>", "bos_token": "<s>"}
    assert found.stops == ("<end>",)
    assert found.chat_template == "from the file"


def test_a_folder_that_says_nothing(tmp_path: Path) -> None:
    assert read_folder(tmp_path, {"eos_token_id": 1}, UNIGRAM, {}) == SpecialTokens(
        named={}, added=(), stripping=(), stops=("</s>",), chat_template=None
    )


def test_the_end_of_an_answer_is_in_config_json_where_it_is_nowhere_else(tmp_path: Path) -> None:
    config = {"eos_token_id": [5, 4]}
    assert read_folder(tmp_path, {}, DOCUMENT, config).stops == ("<end>", "</s>")
    inner = {"text_config": {"eos_token_id": 5}}
    assert read_folder(tmp_path, {"eos_token_id": None}, DOCUMENT, inner).stops == ("<end>",)
    assert read_folder(tmp_path, {"eos_token_id": 4}, DOCUMENT, config).stops == ("</s>",)


def test_texts_that_end_an_answer(tmp_path: Path) -> None:
    generation = {"eos_token_id": 4, "stop_strings": ["<end>", "</s>"]}
    assert read_folder(tmp_path, generation, DOCUMENT, {}).stops == ("</s>", "<end>")
    assert read_folder(tmp_path, {"stop_strings": "<end>"}, DOCUMENT, {}).stops == ("<end>",)


def test_a_folder_of_mistrals_own_files_names_no_tokens(tmp_path: Path) -> None:
    assert read_folder(tmp_path, {}, DOCUMENT, {}).named == {"bos_token": "<s>"}
    folder(tmp_path, tokenizer_config={"bos_token": None})
    assert read_folder(tmp_path, {}, DOCUMENT, {}).named == {}


def test_the_default_of_several_templates(tmp_path: Path) -> None:
    templates = [{"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]
    folder(tmp_path, tokenizer_config={"chat_template": templates})
    assert read_folder(tmp_path, {}, DOCUMENT, {}).chat_template == "yes"


@pytest.mark.parametrize(
    ("config", "generation", "message"),
    [
        ([], {}, "tokenizer_config.json: is a list; a JSON object is needed"),
        ({"bos_token": 7}, {}, "tokenizer_config.json: bos_token is 7; the token's text is needed"),
        ({"chat_template": 7}, {}, "chat_template is 7; a text is needed"),
        ({"chat_template": [7]}, {}, r"no 'default' among \[\]; give the prefixes"),
        ({}, {"eos_token_id": "a"}, "generation_config.json: eos_token_id is 'a'; a token's id"),
        ({}, {"eos_token_id": [4, True]}, r"eos_token_id is \[4, True\]"),
        ({}, {"stop_strings": 7}, "generation_config.json: stop_strings is 7; a text or a list"),
        ({}, {"stop_strings": [7]}, "stop_strings is 7; the token's text is needed"),
        ({}, {"eos_token_id": [4, 9]}, "eos_token_id 9: the tokenizer has no such token"),
    ],
)
def test_faulty_folders(
    tmp_path: Path, config: Any, generation: dict[str, Any], message: str
) -> None:
    folder(tmp_path, tokenizer_config=config)
    with pytest.raises(BundleError, match=message):
        read_folder(tmp_path, generation, DOCUMENT, {})


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff"])
def test_files_that_are_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"tokenizer_config\.json: is no JSON: .*get the file"):
        read_folder(tmp_path, {}, DOCUMENT, {})


def test_a_template_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(BundleError, match=r"chat_template\.jinja: cannot be read: .*utf-8"):
        read_folder(tmp_path, {}, DOCUMENT, {})


def test_gguf() -> None:
    metadata = {
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 4,
        "tokenizer.ggml.eot_token_id": 5,
        "tokenizer.ggml.padding_token_id": 4,
        "tokenizer.chat_template": "from GGUF",
    }
    assert read_gguf(metadata, "m.gguf", DOCUMENT) == SpecialTokens(
        named={"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"},
        added=("<s>", "<end>"),
        stripping=(),
        stops=("</s>", "<end>"),
        chat_template="from GGUF",
    )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"tokenizer.ggml.eos_token_id": 9}, r"m\.gguf: tokenizer.ggml.eos_token_id 9: the token"),
        ({"tokenizer.ggml.bos_token_id": "x"}, "bos_token_id is 'x'; a token's id is needed"),
        (
            {"tokenizer.chat_template": b"x"},
            "tokenizer.chat_template is no text; give",
        ),
    ],
)
def test_faulty_gguf(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        read_gguf(metadata, "m.gguf", DOCUMENT)


def test_a_faulty_config_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"/config\.json: eos_token_id 9: the tokenizer has no"):
        read_folder(tmp_path, {}, DOCUMENT, {"eos_token_id": 9})
