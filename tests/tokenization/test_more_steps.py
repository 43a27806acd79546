"""Steps of published tokenizers that are in no package, on vocabularies trained with them.

Kimi K2 (classes within classes), BLOOM and DeepSeek Coder (marks that no expression takes stand
among spaces), and steps that cut less than most.
"""

import random
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from taskpress.tokenization import expression
from tokenizers import Regex, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel, Digits, Split

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
KIMI = (
    rf"[\p{{Han}}]+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{SPACES}"
)
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
DEEPSEEK_CODER = [
    Split(Regex(r"[\r\n]"), "isolated"),
    Split(Regex(r"\s?\p{L}+"), "isolated"),
    Split(Regex(r"\s?\p{P}+"), "isolated"),
    Split(Regex("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7a3]+"), "isolated"),
    Digits(individual_digits=True),
]
STEPS = {
    "kimi": [Split(Regex(KIMI), "isolated")],
    "bloom": [Split(Regex(BLOOM), "isolated")],
    "deepseek-coder": DEEPSEEK_CODER,
    "space behind": [Split(" ", "merged_with_previous")],
    "nothing": [],
}


@pytest.fixture(scope="module", params=STEPS)
def published(request: pytest.FixtureRequest, train: Callable[..., Any]) -> Any:
    byte_level = ByteLevel(add_prefix_space=False, use_regex=False)
    return train(pre_tokenizers.Sequence([*STEPS[request.param], byte_level]), 3000)


def test_source_code(published: Any) -> None:
    texts = [p.read_text(encoding="utf-8") for p in sorted(STANDARD_LIBRARY.glob("[a-b]*.py"))]
    blocks = [text[i : i + 4000] for text in texts for i in range(0, len(text), 4000)]
    assert len(blocks) > 60
    assert published.differing(blocks) == []
    assert all(published.processor.decode(published.got(block)) == block for block in blocks)


def test_marks_and_spaces(published: Any) -> None:
    draw = random.Random(6)
    parts = [" ", "  ", "    ", "\n", "\n\n", "\t", "foo", "Bar", "é", "."]
    parts += ["=", "==", "<", "(", ")", "/", "+", ",", "`", "/*", "12", "("]
    texts = ["".join(draw.choices(parts, k=draw.randint(2, 12))) for _ in range(3000)]
    assert len(published.differing(texts)) <= len(texts) / 100


def test_what_is_left_of_an_expression_is_taken_with_the_spaces(train: Callable[..., Any]) -> None:
    byte_level = ByteLevel(add_prefix_space=False, use_regex=False)
    rules = train(pre_tokenizers.Sequence([*DEEPSEEK_CODER, byte_level]), 500).rules
    assert rules.is_among_spaces("=")
    assert rules.is_among_spaces(" ")
    assert not rules.is_among_spaces("(")
    assert not rules.is_among_spaces("a")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"[\p{L}&&[^\p{Han}]]+|\d", {r"[\p{L}&&[^\p{Han}]]", r"\d"}),
        (r" ?[^(\s|[.,])]+", {r"[^(\s|[.,])]"}),
        (r"\[x\]|[]a]|[^]b]c", {"[]a]", "[^]b]"}),
        (r"[[:alpha:]\]]\s", {r"[[:alpha:]\]]", r"\s"}),
    ],
)
def test_classes_of_an_expression(pattern: str, expected: set[str]) -> None:
    assert expression.classes(pattern) == expected
