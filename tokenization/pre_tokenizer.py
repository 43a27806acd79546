"""What the original does to a text before it merges bytes, as data that the compiler works from.

A byte-level BPE tokenizer cuts the text with a regular expression into pre-tokens, and merges only
inside of one. The expressions in use are combinations of few decisions, which `PreTokenizer` names;
which character is a letter, a number or a space is asked from the `tokenizers` library itself,
since its Unicode tables are not those of Python.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any

from tokenizers import Regex
from tokenizers.pre_tokenizers import Digits, Split

from . import TokenizerError

PLANES_ASKED = 4  # Unicode has letters, numbers and spaces in planes 0 to 3 only
ASKED_AT_ONCE = 0x4000  # code points a call, so that the answers stay small in memory
SURROGATES = range(0xD800, 0xE000)


class CharacterClass(IntEnum):
    """The classes that the expressions tell apart."""

    OTHER = 0  # what is none of the following, assigned or not
    MARK = 1  # [\p{P}\p{S}\p{M}\p{Cc}\p{Cf}]: the assigned part of OTHER
    LETTER = 2  # \p{L}
    NUMBER = 3  # \p{N}, and what Digits takes for one
    SPACE = 4  # \s


EXPRESSIONS = {
    CharacterClass.MARK: r"[\p{P}\p{S}\p{M}\p{Cc}\p{Cf}]+",
    CharacterClass.LETTER: r"\p{L}+",
    CharacterClass.NUMBER: r"\p{N}+",
    CharacterClass.SPACE: r"\s+",  # after MARK: tab and newline are controls too
}


@dataclass(frozen=True)
class PreTokenizer:
    """How a text is cut, left to right; the first that fits is taken.

    1. `contractions`, where one begins;
    2. a run of letters, with one space in front of it if there is one;
    3. a run of numbers likewise, or, with `lone_numbers`, each number by itself and no space;
    4. a run of other characters that are no spaces, likewise with a space;
    5. a run of spaces. Its last character is cut off (and, if it is " ", belongs to what follows)
       when one of 1 to 4 follows, but not before a lone number or the end of the text.
    """

    contractions: tuple[str, ...]
    lone_numbers: bool


GPT2_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
GPT2 = PreTokenizer(GPT2_CONTRACTIONS, lone_numbers=False)
LONE_NUMBERS = PreTokenizer(GPT2_CONTRACTIONS, lone_numbers=True)


def recognise(document: dict[str, Any], where: str) -> PreTokenizer:
    """The PreTokenizer of a tokenizer.json document; TokenizerError when it is not known."""
    if document.get("normalizer") is not None:
        kind = document["normalizer"].get("type")
        raise TokenizerError(f"{where}: normalizer is {kind!r}; only none can be rebuilt")
    steps = _steps(document.get("pre_tokenizer"))
    if not steps or not _is_gpt2(steps[-1]):
        raise _unknown(steps, where)
    if len(steps) == 1:
        return GPT2
    if len(steps) == 2 and _is_lone_numbers(steps[0]):
        return LONE_NUMBERS
    raise _unknown(steps, where)


def _steps(pre_tokenizer: Any) -> list[Any]:
    if not isinstance(pre_tokenizer, dict):
        return []
    if pre_tokenizer.get("type") != "Sequence":
        return [pre_tokenizer]
    steps = pre_tokenizer.get("pretokenizers")
    return steps if isinstance(steps, list) and all(isinstance(s, dict) for s in steps) else []


def _is_gpt2(step: dict[str, Any]) -> bool:
    return (
        step.get("type") == "ByteLevel"
        and step.get("add_prefix_space") is False
        and step.get("use_regex", True) is True
    )


def _is_lone_numbers(step: dict[str, Any]) -> bool:
    return step.get("type") == "Digits" and step.get("individual_digits") is True


def _unknown(steps: list[Any], where: str) -> TokenizerError:
    shown = " + ".join(str(step.get("type")) for step in steps) or "missing"
    return TokenizerError(
        f"{where}: pre_tokenizer is {shown}; known are ByteLevel (add_prefix_space false, "
        "use_regex true) and Digits (individual_digits true) + ByteLevel"
    )


@cache
def character_classes() -> bytes:
    """The CharacterClass of each code point of planes 0 to 3, one byte each; beyond is OTHER.

    `Digits` knows a newer Unicode than the expressions do, with a few more numbers. Tokenizers
    without it treat those as OTHER, for which nothing here differs from NUMBER.
    """
    classes = bytearray(PLANES_ASKED << 16)
    digits = Digits(individual_digits=True)
    for start in range(0, len(classes), ASKED_AT_ONCE):
        points = [p for p in range(start, start + ASKED_AT_ONCE) if p not in SURROGATES]
        text = "".join(map(chr, points))
        for character_class, expression in EXPRESSIONS.items():
            remover = Split(Regex(expression), "removed", invert=True)  # keeps what matches
            for _, (begin, end) in remover.pre_tokenize_str(text):
                for point in points[begin:end]:
                    classes[point] = character_class
        between = "x" + "x".join(text)  # a number is cut out of this as one character
        for _, (begin, end) in digits.pre_tokenize_str(between):
            if end - begin == 1 and begin % 2 == 1:
                classes[points[begin // 2]] = CharacterClass.NUMBER
    return bytes(classes)


def class_of(character: str) -> CharacterClass:
    """The class of one character."""
    point = ord(character)
    classes = character_classes()
    return CharacterClass(classes[point]) if point < len(classes) else CharacterClass.OTHER
