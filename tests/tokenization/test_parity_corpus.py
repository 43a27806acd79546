"""The sample that ships has what its name says, and files are cut into blocks of lines."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskpress.tokenization import corpus

# the first words of letters' names that are no script's
NO_SCRIPTS = {"MODIFIER", "FEMININE", "MASCULINE", "FULLWIDTH", "HALFWIDTH", "MICRO", "IDEOGRAPHIC"}
NO_TRANSLATION = "invented_words"
PACKED_BYTES = 1_000_000


def scripts(text: str) -> set[str]:
    """The scripts of a text by the first words of its letters' names, which some share."""
    letters = {c for c in text if unicodedata.category(c) in ("Lu", "Ll", "Lo")}
    return {unicodedata.name(c, "MODIFIER").split()[0] for c in letters} - NO_SCRIPTS


def texts(category: str) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in corpus.sample(category)}


def test_the_sample_has_every_category_and_is_small() -> None:
    folders = {path.name for path in corpus.SAMPLE.iterdir() if path.is_dir()}
    assert folders == set(corpus.CATEGORIES)
    assert all(corpus.sample(category) for category in corpus.CATEGORIES)
    files = [path for path in corpus.SAMPLE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < PACKED_BYTES
    assert {path.suffix for path in files} == {".txt", ".md"}


def test_prose_is_in_40_scripts() -> None:
    translated = texts("multilingual")
    invented = translated.pop(NO_TRANSLATION)
    assert len(scripts("".join(translated.values()))) >= 40
    assert len(scripts(invented) - scripts("".join(translated.values()))) >= 25


def test_code_is_in_10_languages_with_all_kinds_of_indentation() -> None:
    code = texts("code")
    assert len(code) >= 10
    assert all(len(text.splitlines()) >= 50 for text in code.values())
    joined = "".join(code.values())
    assert "\n\t\t" in joined
    assert "\n        " in joined
    assert "\r\n" in (corpus.SAMPLE / "code" / "csharp.txt").read_bytes().decode()
    assert max(map(len, joined.splitlines())) > 150


def test_emoji_are_joined_toned_flags_and_keycaps() -> None:
    joined = "".join(texts("emoji").values())
    for part in ("\u200d", "\ufe0f", "\U0001f3fd", "\U0001f1e9\U0001f1ea", "1\ufe0f\u20e3"):
        assert part in joined


def test_numbers_are_mostly_digits() -> None:
    joined = "".join("".join(texts("numbers").values()).split())
    assert sum(c.isdigit() for c in joined) > len(joined) / 2


@given(st.text(alphabet="ab\n\r é", max_size=200), st.integers(1, 20))
def test_blocks_are_the_text_whoever_cuts_it(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "BLOCK_CHARACTERS", size)
        blocks = list(corpus.split_text(text))
    assert "".join(blocks) == text
    assert all(blocks)
    # what is not at the end of a line was cut where a line is longer than a block
    assert all(block.endswith("\n") or len(block) >= size for block in blocks[:-1])


def test_a_file_and_its_text_have_the_same_blocks(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    text = "".join(f"line {i} é\r\n" * (i % 7) for i in range(900)) + "x" * 10_000 + "\nend"
    path.write_bytes(text.encode())
    blocks = list(corpus.blocks(path))
    assert blocks == list(corpus.split_text(text))
    assert len(blocks) > 5
    assert blocks[0].endswith("\n")
