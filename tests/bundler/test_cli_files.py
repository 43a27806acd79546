"""Files that the command line cannot use: one line, exit code 1, and nothing left behind."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.metadata import BundleParameters, encode
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from taskpress.bundler.task import write_task

Refused = Callable[..., str]

SMALL = ("--prefill-lengths", "4", "--context-length", "16")
START, STOP = ("--start-token", "<|im_start|>"), ("--stop-token", "<|im_end|>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*START, "--stop-token", "stop here"), r"stop token 'stop here' is 5 ids \[.*one token"),
        ((*START, "--stop-token", "e"), "stop token 'e' is the normal piece"),
        (("--start-token", "start", *STOP), r"start token 'start' is \d ids \[.*one token"),
        (STOP, "start token: there is none"),
        (START, r"stop tokens: \[\]; one is needed"),
        ((*START, *STOP, "--stop-token", ""), "one is needed at least, none empty"),
        ((*START, *STOP, "--stop-token", "\udcff"), "stop_tokens: .*half a character"),
        (("--start-token", "\udcff", *STOP), "start_token: .*half a character"),
        ((*START, *STOP, "--user-prefix", "\udcff"), "user_prefix: .*half a character"),
    ],
)
def test_tokens(
    arguments: tuple[str, ...], message: str, refused: Refused, tiny_tflite: Path,
    tokenizer_file: Path,
) -> None:  # fmt: skip
    output = tokenizer_file.parent / "out.task"
    refused("bundle", tiny_tflite, tokenizer_file, "-o", output, *arguments, says=message)


def test_files_to_bundle(refused: Refused, tiny_tflite: Path, tokenizer_file: Path) -> None:
    folder = tokenizer_file.parent
    rest = ("-o", folder / "out.task", *START, *STOP)
    (folder / "cut.tflite").write_bytes(tiny_tflite.read_bytes()[:-100])
    other = tiny_tflite.read_bytes().replace(b"decode", b"encode")
    (folder / "other.tflite").write_bytes(other)
    os.mkfifo(folder / "pipe")
    for model, tokenizer, message in (
        (tokenizer_file, tiny_tflite, "tiny.model: is no TFLite model; make one with"),
        (tiny_tflite, tiny_tflite, "tiny.tflite: .* no ModelProto"),
        (folder / "cut.tflite", tokenizer_file, "cut.tflite: .* cut off"),
        (folder / "other.tflite", tokenizer_file, "has the signatures encode, .*an LLM has decode"),
        (folder / "none", tokenizer_file, "none: cannot be read: No such file"),
        (tiny_tflite, folder / "none", "none: cannot be read: No such file"),
        (folder, tokenizer_file, "Is a directory; a file is needed"),
        (tiny_tflite, folder, "Is a directory; a file is needed"),
        (folder / "pipe", tokenizer_file, "pipe: is not a regular file"),
        (tiny_tflite, folder / "pipe", "pipe: is not a regular file"),
    ):
        refused("bundle", model, tokenizer, *rest, says=message)


@pytest.fixture
def alarm() -> Iterator[None]:
    """Ends a test that waits for what will never come."""

    def ring(*_: object) -> None:
        raise TimeoutError("waits")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_pipes_in_the_place_of_files(refused: Refused, checkpoint: Path) -> None:
    """Opening one would wait for a writer."""
    pipe, output = checkpoint.parent / "pipe", checkpoint.parent / "out"
    os.mkfifo(pipe)
    for arguments in (
        ("inspect", pipe),
        ("run", pipe, "hi"),
        ("convert", pipe, "-o", output),
        ("convert", checkpoint, "-o", pipe),
        ("parity", checkpoint, pipe),
    ):
        refused(*arguments, says="pipe: .*not a regular file")
    for name in ("config.json", "model.safetensors", "tokenizer.model", "tokenizer_config.json"):
        shutil.move(checkpoint / name, checkpoint / "kept")
        os.mkfifo(checkpoint / name)
        refused("build", checkpoint, "-o", output, *SMALL, says=f"{name}: .*not a regular file")
        shutil.move(checkpoint / "kept", checkpoint / name)


@pytest.mark.parametrize("verb", ["inspect", "run"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "file: "),
        (b"\0", "file: "),
        (bytes(range(256)) * 40, "file: "),
        (b"\0\0\0\0PK\3\4" + bytes(100), "file: has no zip directory at its end"),
        (b"\xff\xff\0\0TFL3" + bytes(100), "file: "),
        (b"\n" * 100, "file: "),
    ],
)
def test_files_of_no_kind(
    verb: str, content: bytes, message: str, refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content)
    rest = ("hi",) if verb == "run" else ()
    refused(verb, tmp_path / "file", *rest, says=message)


def test_random_damage_to_a_bundle(refused: Refused, tiny_task: Path, tmp_path: Path) -> None:
    """The CRC-32 of an entry tells; what lies between entries, and times, may change."""
    data = tiny_task.read_bytes()
    random = np.random.default_rng(0)
    task = read_bundle(tiny_task)
    path = tmp_path / "damaged.task"
    for extent in task.entries.values():
        for at in random.integers(extent.offset, extent.offset + extent.size, 5):
            path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
            refused("run", path, "hi", says="damaged.task: .*CRC-32")
    for end in random.integers(1, len(data) - 1, 5):
        path.write_bytes(data[:end])
        refused("run", path, "hi", says="damaged.task: ")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: b"garbage", "the model: .* it is no flatbuffer, or damaged"),
        (lambda model: model[: len(model) // 2], "the model: .* cut off"),
        (lambda model: model[:8] + bytes(len(model) - 8), "the model: "),
        (lambda model: model.replace(b"decode", b"encode"), "the model: has the signatures encode"),
        (lambda model: model.replace(b"\0logits", b"\0scores"), "the model: decode has 4 caches"),
    ],
)
def test_models_in_a_bundle(
    spoil: Callable[[bytes], bytes], message: str, refused: Refused, tiny_task: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A bundle that is whole, of a model that is not: no native code may get to see it."""
    task, path = read_bundle(tiny_task), tmp_path / "other.task"
    entries = {name: task.read(name) for name in (TOKENIZER, METADATA)}
    write_task(path, {MODEL: spoil(task.read(MODEL)), **entries})
    refused("run", path, "hi", says=message)


def test_bundles_that_cannot_be_asked(refused: Refused, tiny_task: Path, tmp_path: Path) -> None:
    task, path = read_bundle(tiny_task), tmp_path / "other.task"
    model, tokenizer = task.read(MODEL), task.read(TOKENIZER)
    alphabet = BundleParameters("<|im_start|>", ("<|im_end|>",), bytes_to_unicode=True)
    for entries, message in (
        ((model, b"garbage", task.read(METADATA)), "7 bytes are no SentencePiece model"),
        ((model, tokenizer, b"\xff"), "METADATA: 1 bytes are no LlmParameters message"),
        ((model, tokenizer, encode(alphabet)), "GPT-2's byte alphabet"),
    ):
        write_task(path, dict(zip((MODEL, TOKENIZER, METADATA), entries, strict=True)), force=True)
        refused("run", path, "hi", says=message)


def test_prompts(refused: Refused, tiny_task: Path) -> None:
    message = r"^the prompt has \d+ tokens; the bundle holds 48 with the answer$"
    refused("run", tiny_task, "hello " * 50, says=message)
    message = r"^the prompt: 'a\\udcffb' holds bytes that are no UTF-8$"
    for options in ((), ("--json",)):
        refused("run", tiny_task, os.fsdecode(b"a\xffb"), *options, says=message)


def test_parity_files(refused: Refused, checkpoint: Path, tokenizer_file: Path) -> None:
    for arguments, message in (
        ((checkpoint, checkpoint / "none"), "none: cannot be read: No such file"),
        ((checkpoint, checkpoint), "Is a directory"),
        ((checkpoint, checkpoint / "config.json"), "config.json: .* no ModelProto"),
        ((checkpoint, tokenizer_file, "--corpus", "/nowhere"), "/nowhere: No such file"),
        ((checkpoint, tokenizer_file, "--corpus", checkpoint), "Is a directory"),
        ((checkpoint, tokenizer_file, "--html", checkpoint / "config.json"), "json: exists; give"),
        ((checkpoint, tokenizer_file, "--html", "/nowhere/x.html"), "/nowhere is not a folder"),
    ):
        refused("parity", *arguments, "--pairs", "10", "--fuzz", "1", says=message)


def test_parity_options(refused: Refused, checkpoint: Path, tokenizer_file: Path) -> None:
    for arguments, message in (
        (
            ("--threshold", "prose=0.1"),
            "prose: is no section of the report; pairs, sample, .* or round-",
        ),
        (("--threshold", "corpus/x=0.1"), "corpus/x: is no section"),
        (("--column", "text"), "--column: is of Parquet files, which only --engine ray reads"),
    ):
        refused("parity", checkpoint, tokenizer_file, *arguments, says=message)
