"""Rebuilt tokenizers inside the LiteRT-LM engine, against the originals: see echo_model."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from echo_model import CONTEXT_LENGTH, Echo, answered, letters_of, opened, streamed
from sample_lines import made_up_lines
from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
STARTS, STOPS = ("<|im_start|>", "<|pad|>"), ("<|im_end|>", "<|end|>")
MIXED = "Grüße — 日本語 𝄞 😀 don't\n\u00a0½ 𠮷 👩‍💻  \tfoo  12345 \x01\x7f <|endoftext|> 한국어 ไทย"


@pytest.fixture(scope="module")
def cl100k(train: Callable[..., Any]) -> Any:
    """Numbers in groups of three, the pre-tokenizer of Llama 3."""
    steps = [Split(Regex(CL100K), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    return train(Sequence(steps), 3000)


@pytest.fixture(scope="module", params=["smollm2", "cl100k"])
def rebuilt(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def echo(rebuilt: Any) -> Echo:
    start, stop = (
        next(token for token in tokens if rebuilt.original.token_to_id(token) is not None)
        for tokens in (STARTS, STOPS)
    )
    return Echo(rebuilt.model, rebuilt.original.get_vocab_size(), start, stop)


@pytest.fixture(scope="module")
def engines(echo: Echo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The engine on our `.task`, on one with the engine's own metadata, and on a `.litertlm`."""
    folder = tmp_path_factory.mktemp("echo")
    bundles = {name: folder / name for name in ("ours.task", "theirs.task", "packed.litertlm")}
    echo.write_task(bundles["ours.task"])
    echo.write_task(bundles["theirs.task"], llm_metadata=True)
    echo.write_litertlm(bundles["packed.litertlm"])
    with ExitStack() as stack:
        yield {name: stack.enter_context(opened(path)) for name, path in bundles.items()}


@pytest.fixture(scope="module")
def lines(rebuilt: Any) -> list[str]:
    lines = made_up_lines(160, random.Random(0))
    assert rebuilt.differing(lines) == []
    return lines


def is_cut(rebuilt: Any, text: str) -> bool:
    """Whether the engine streams a character of this text in two parts, see engine_parity."""
    return any("\uf000" <= c <= "\uffff" and len(rebuilt.expected(c)) > 1 for c in text)


def test_its_ids_are_the_original_s(
    rebuilt: Any, engines: dict[str, Any], lines: list[str]
) -> None:
    expected = [rebuilt.expected(line) for line in lines]
    for name, engine in engines.items():
        assert [engine.tokenize(line) for line in lines] == expected, name


def test_it_knows_the_start_and_stop_tokens(
    rebuilt: Any, echo: Echo, engines: dict[str, Any]
) -> None:
    start, stop = (rebuilt.original.token_to_id(token) for token in (echo.start, echo.stop))
    for name, engine in engines.items():
        assert engine.bos_token_id == start, name
        assert engine.eos_token_ids == [[stop]], name


def test_it_feeds_the_original_s_ids(
    rebuilt: Any, echo: Echo, lines: list[str], tmp_path: Path
) -> None:
    letters = letters_of(rebuilt.expected, echo.vocabulary)
    replace(echo, letters=letters).write_task(tmp_path / "spelled.task")
    start = rebuilt.original.token_to_id(echo.start)
    with opened(tmp_path / "spelled.task") as engine:
        for line in [*lines, MIXED]:
            fed = letters.read(answered(engine, line))
            assert fed == [start, *rebuilt.expected(line)], line


@pytest.mark.parametrize("bundle", ["ours.task", "packed.litertlm"])
def test_it_streams_the_original_s_text(
    bundle: str, rebuilt: Any, echo: Echo, engines: dict[str, Any], lines: list[str]
) -> None:
    for line in [*lines, MIXED]:
        text = rebuilt.original.decode(rebuilt.expected(line), skip_special_tokens=False)
        assert answered(engines[bundle], line) == echo.start + text
        if not is_cut(rebuilt, line):
            assert "".join(streamed(engines[bundle], line)) == echo.start + text
    assert sum(is_cut(rebuilt, line) for line in lines) < len(lines) / 2


def test_it_streams_each_token_of_a_long_text(
    rebuilt: Any, echo: Echo, engines: dict[str, Any]
) -> None:
    """The engine decodes anew only what lies in a window of tokens, which may begin anywhere."""
    text = MIXED
    while len(rebuilt.expected(text + MIXED)) < CONTEXT_LENGTH / 2 - 1:
        text += MIXED
    pieces = streamed(engines["ours.task"], text)
    assert "".join(pieces) == echo.start + text
    assert len(pieces) > 300


def test_it_decodes_every_token_by_itself(rebuilt: Any, engines: dict[str, Any]) -> None:
    for token_id in range(rebuilt.original.get_vocab_size(with_added_tokens=True)):
        text = rebuilt.original.decode([token_id], skip_special_tokens=False)
        if "\0" not in text:  # which ends a text in the engine's C interface
            assert engines["ours.task"].detokenize([token_id]) == text
