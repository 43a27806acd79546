"""The verb `bundle`: what it puts into a bundle, and how."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade_sentencepiece import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, model
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.metadata import Channel
from taskpress.bundler.parts import TOKENIZER
from taskpress.bundler.task import ENTRIES, OTHER_MODELS
from taskpress.tokenization.tokenizer_json import BYTE_LETTERS

Taskpress = Callable[..., Any]
Refused = Callable[..., str]
TOKENS = ("--start-token", "<|im_start|>", "--stop-token", "<|im_end|>")


@pytest.fixture
def bundle(taskpress: Taskpress, tiny_tflite: Path, tmp_path: Path) -> Callable[..., str]:
    """Bundles the tiny model as out.task; gives what was printed."""

    def run(tokenizer: Path, *arguments: object) -> str:
        output = tmp_path / "out.task"
        ran = taskpress("bundle", tiny_tflite, tokenizer, "-o", output, *arguments)
        assert (ran.code, ran.err) == (0, "")
        return ran.out

    return run


def test_other_models_pass_through_as_they_are(
    bundle: Callable[..., str], tokenizer_file: Path, tmp_path: Path
) -> None:
    options: list[object] = []
    for size, name in enumerate(OTHER_MODELS):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(size))
        options += [f"--{name.replace('_', '-')}", path]
    bundle(tokenizer_file, *TOKENS, *options, "--align", "4096")
    with zipfile.ZipFile(tmp_path / "out.task") as opened:
        assert tuple(opened.namelist()) == ENTRIES
        for name, entry in OTHER_MODELS.items():
            assert opened.read(entry) == (tmp_path / f"{name}.tflite").read_bytes()
    task = read_bundle(tmp_path / "out.task")
    assert {extent.offset % 4096 for extent in task.entries.values()} == {0}
    assert (tmp_path / "out.task").read_bytes()[4:6] == b"PK"


def test_what_mediapipes_bundler_asks_for_besides(
    taskpress: Taskpress, bundle: Callable[..., str], tokenizer_file: Path, tmp_path: Path
) -> None:
    roles = ("--user-role-token", "<u>", "--system-role-token", "<s>")
    roles += ("--model-role-token", "<m>", "--end-role-token", "<e>")
    newer = ("--suppress-token", "0", "--suppress-token", "511")
    newer += ("--channel", "thought", "<think>", "</think>", "--channel", "b", "[", "]")
    bundle(tokenizer_file, *TOKENS, *roles, *newer)
    parameters = read_bundle(tmp_path / "out.task").parameters
    assert (parameters.user_role_token, parameters.system_role_token) == ("<u>", "<s>")
    assert (parameters.model_role_token, parameters.end_role_token) == ("<m>", "<e>")
    assert parameters.suppressed_tokens == (0, 511)
    thought = Channel("thought", "<think>", "</think>")
    assert parameters.channels == (thought, Channel("b", "[", "]"))
    shown = taskpress("inspect", tmp_path / "out.task", "--json").out
    assert json.loads(shown)["parameters"]["channels"][0]["channel_name"] == "thought"


def lettered(path: Path) -> Path:
    pieces = [("<unk>", UNKNOWN), ("<|im_start|>", USER_DEFINED), ("<|im_end|>", CONTROL)]
    pieces += [(letter, NORMAL) for letter in BYTE_LETTERS.values()]
    path.write_bytes(model(*pieces, escape=False))
    return path


def test_a_tokenizer_in_gpt2s_byte_alphabet(
    taskpress: Taskpress, bundle: Callable[..., str], tmp_path: Path
) -> None:
    tokenizer = lettered(tmp_path / "letters.model")
    bundle(tokenizer, *TOKENS, "--bytes-to-unicode")
    task = read_bundle(tmp_path / "out.task")
    assert task.parameters.bytes_to_unicode
    assert task.read(TOKENIZER) == tokenizer.read_bytes()
    ran = taskpress("run", tmp_path / "out.task", "Hi")
    assert "its tokenizer is in GPT-2's byte alphabet" in ran.err


def test_with_a_checkpoint_the_tokens_are_proven(
    bundle: Callable[..., str], tiny: Path, tokenizer_file: Path, refused: Refused,
    tiny_tflite: Path, tmp_path: Path,
) -> None:  # fmt: skip
    assert "note" not in bundle(tokenizer_file, "--checkpoint", tiny)
    tokenizer = lettered(tmp_path / "letters.model")
    command = ("bundle", tiny_tflite, tokenizer, "--checkpoint", tiny, "--bytes-to-unicode")
    says = r"chat of 1 turn: at token \d+ the template has \d+, which the bundle's tokenizer lacks"
    refused(*command, "-o", tmp_path / "no.task", says=says)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--align", "6"), "^alignment: 6; a power of two from 4 to 32768 is needed"),
        (("--align", "65536"), "^alignment: 65536; a power"),
        (("--suppress-token", "9999"), r"^the tokenizer: has \d+ tokens; 9999 to suppress is none"),
        (("--embedder", "/nowhere.tflite"), "^/nowhere.tflite: cannot be read: No such file"),
        (("--bytes-to-unicode",), r"^the tokenizer: has .*; BYTES_TO_UNICODE needs pieces in GPT-"),
        (("--channel", "a", "\udcff", "b"), r"^channels: '\\udcff' holds half a character"),
    ],
)
def test_what_cannot_be_bundled(
    refused: Refused, tiny_tflite: Path, tokenizer_file: Path, tmp_path: Path,
    options: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    output = tmp_path / "out.task"
    arguments = ("bundle", tiny_tflite, tokenizer_file, *TOKENS, *options, "-o", output)
    refused(*arguments, says=message)


def test_a_model_beside_that_is_none(
    refused: Refused, tiny_tflite: Path, tokenizer_file: Path, tmp_path: Path
) -> None:
    """Nor is a tokenizer, of which this is one."""
    arguments = ("bundle", tiny_tflite, tokenizer_file, *TOKENS, "-o", tmp_path / "out.task")
    says = r"tiny\.model: begins with b'.*'; a TFLite model is needed$"
    refused(*arguments, "--vision-encoder", tokenizer_file, says=says)


def test_ids_that_are_none(taskpress: Taskpress, tmp_path: Path) -> None:
    ran = taskpress("bundle", "m", "t", "-o", tmp_path / "x", "--suppress-token", "-1")
    assert ran.code == 2
    assert "'-1': needs a token's id" in ran.err
    ran = taskpress("bundle", "m", "t", "-o", tmp_path / "x", "--suppress-token", "<a>")
    assert ran.code == 2
    assert "'<a>': needs a token's id" in ran.err
