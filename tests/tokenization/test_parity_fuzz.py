"""Each class of random texts contains what its name says."""

import unicodedata
from collections.abc import Callable

import pytest
from taskpress.tokenization import fuzz

COUNT = 400


def is_of(*categories: str) -> Callable[[str], bool]:
    return lambda c: unicodedata.category(c).startswith(categories)


def is_mark_that_combines(c: str) -> bool:
    return unicodedata.combining(c) > 0


# What most of the characters are, and texts that must be in it.
CLASSES: dict[str, tuple[Callable[[str], bool], tuple[str, ...]]] = {
    "white-space": (str.isspace, ("\t", "\r\n", "   ", "\n\n", "foo", "\v")),
    "unicode-spaces": (str.isspace, ("\u3000", "\u00a0", "\u2028", "\x85", " ")),
    "digits": (is_of("N"), ("7", "\u0663", "\u0967", "\u00bd", ",")),
    "punctuation": (is_of("P", "S"), ("(", "\u2014", "\u3002", "$")),
    "contractions": (is_of("L", "P", "Z", "M"), ("'s", "'LL", "\u2019re", "n't", " ")),
    "mixed-case": (str.isalpha, ("iPhone", "camelCase", "a", "Z")),
    "letters-and-marks": (is_of("L", "M"), ("-", " ")),
    "emoji": (is_of("S", "Mn", "Cf", "Me"), ("\u200d", "\ufe0f", "\U0001f3fd", "1\ufe0f\u20e3")),
    "combining-marks": (is_of("L", "M"), ("a", "\u0301", "\u1161")),
    "code": (str.isascii, ("self", "->", "\n    ", "\n\t", '"', "()")),
    "mixed": (lambda c: True, ("'s", "  ", "\U0001f469\u200d\U0001f4bb", "self", "7")),
    "code-points": (is_of("L", "M", "N", "P", "S", "Z", "C"), ()),
}


def test_every_class_is_tested() -> None:
    assert CLASSES.keys() == fuzz.CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_contains_what_its_name_says(name: str) -> None:
    is_typical, parts = CLASSES[name]
    # rare parts, as one of the digits of all scripts, are looked for in more texts
    texts = list(fuzz.texts(name, 40 * COUNT if name == "punctuation" else 10 * COUNT, seed=0))
    joined = "".join(texts)
    assert sum(map(is_typical, joined)) > 0.55 * len(joined)
    assert [part for part in parts if part not in joined] == []


@pytest.mark.parametrize("name", CLASSES)
def test_texts_can_be_encoded_and_follow_from_the_seed(name: str) -> None:
    texts = list(fuzz.texts(name, COUNT, seed=3))
    assert len(texts) == COUNT
    assert all(text.encode() for text in texts)
    assert texts == list(fuzz.texts(name, COUNT, seed=3))
    assert texts[: COUNT // 2] == list(fuzz.texts(name, COUNT // 2, seed=3))
    assert texts != list(fuzz.texts(name, COUNT, seed=4))


def test_digits_are_of_many_scripts() -> None:
    joined = "".join(fuzz.texts("digits", 4 * COUNT, seed=0))
    scripts = {unicodedata.name(c).split(" DIGIT")[0] for c in joined if c.isdecimal()}
    assert len(scripts) > 40


def test_combining_marks_change_under_nfc() -> None:
    texts = list(fuzz.texts("combining-marks", COUNT, seed=0))
    changed = [text for text in texts if unicodedata.normalize("NFC", text) != text]
    assert len(changed) > COUNT / 4
    marks = [c for text in texts for c in text if is_mark_that_combines(c)]
    assert len({unicodedata.combining(c) for c in marks}) > 10


def test_code_points_are_assigned_and_of_all_planes() -> None:
    joined = "".join(fuzz.texts("code-points", 10 * COUNT, seed=0))
    categories = {unicodedata.category(c) for c in joined}
    assert not categories & {"Cn", "Cs"}
    assert len(categories) > 20
    assert {0, 1, 2, 3} <= {ord(c) >> 16 for c in joined}
