"""Bad input on the command line: one line, exit code 1, and nothing left behind."""

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from taskpress.bundler import build

Refused = Callable[..., str]
Spoil = Callable[[Path], object]

SMALL = ("--prefill-lengths", "4", "--context-length", "16")
TOKENS = ("--start-token", "<|im_start|>", "--stop-token", "<|im_end|>")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NORM, TABLE = "model.norm.weight", "model.embed_tokens.weight"
UP = "model.layers.0.mlp.up_proj.weight"


def config(**changes: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**values, **changes}))

    return spoil


def tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Spoil:
    def spoil(folder: Path) -> None:
        values = load_file(folder / WEIGHTS)
        change(values)
        save_file(values, folder / WEIGHTS)

    return spoil


def text(name: str, content: str | bytes) -> Spoil:
    data = content.encode() if isinstance(content, str) else content
    return lambda folder: (folder / name).write_bytes(data)


def value(name: str, number: float) -> Spoil:
    return tensors(
        lambda values: values[name].__setitem__((5, ..., 3)[: values[name].ndim], number)
    )


def cut(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)


def lie(length: int) -> Spoil:
    """Another length of the header than it has."""

    def spoil(folder: Path) -> None:
        with (folder / WEIGHTS).open("r+b") as file:
            file.write(length.to_bytes(8, "little"))

    return spoil


def point_outside(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder.parent / WEIGHTS)
    names = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    index = {"weight_map": dict.fromkeys(names, f"../{WEIGHTS}")}
    (folder / INDEX).write_text(json.dumps(index))


def pickle(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


# what is done to the checkpoint -> what the line says
CHECKPOINTS: Mapping[str, tuple[Spoil, str]] = {
    "truncated": (cut, "model.safetensors: .* it has been cut short"),
    "empty": (text(WEIGHTS, b""), "model.safetensors: 0 bytes; not a safetensors file"),
    "missing": (tensors(lambda t: t.pop(NORM)), f"no {NORM}; .*llama needs it"),
    "left over": (tensors(lambda t: t.update(x=t[NORM])), "x: left over; .* no use for it"),
    "misshapen": (tensors(lambda t: t.update({UP: t[UP].T.copy()})), r"\[64, 96\]; .* \[96, 64\]"),
    "header too long": (lie(1 << 40), "a header of 1099511627776 bytes"),
    "header too short": (lie(100), "model.safetensors: its header: not valid JSON"),
    "index outside": (
        point_outside,
        r"model.safetensors.index.json: .* '../model.safetensors'; need",
    ),
    "pickle": (pickle, "pytorch_model.bin: a pickle, which can run code .* needs safetensors"),
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "config no JSON": (text("config.json", "{"), "config.json: not valid JSON"),
    "model_type": (config(model_type="lama"), "config.json: model_type='lama': not implemented"),
    "unknown key": (config(logit_scale=2), "config.json: logit_scale=2: not implemented"),
    "short context": (config(max_position_embeddings=8), "embeddings=8; a context length of 16"),
    "NaN": (value(UP, np.nan), f"^{UP}: a value is not finite; the checkpoint is damaged"),
    "infinite": (value(TABLE, -np.inf), f"^{TABLE}: a value is not finite"),
    "NaN in a norm": (value(NORM, np.nan), f"{NORM}: a value is not finite"),
    "folder as weights": (
        lambda f: ((f / WEIGHTS).unlink(), (f / WEIGHTS).mkdir()),
        "model.safetensors: not a regular file",
    ),
    "other tokenizer": (
        lambda f: (
            config(vocab_size=100)(f),
            tensors(lambda t: t.update({TABLE: t[TABLE][:100].copy()}))(f),
        ),
        r"vocab_size=100, and the tokenizer gives the id \d+; it is another model's",
    ),
}


@pytest.mark.parametrize("what", CHECKPOINTS)
@pytest.mark.parametrize("verb", ["build", "convert"])
def test_checkpoints(verb: str, what: str, refused: Refused, checkpoint: Path) -> None:
    spoil, message = CHECKPOINTS[what]
    spoil(checkpoint)
    output = checkpoint.parent / "out"
    refused(verb, checkpoint, "-o", output, *SMALL, says=message)


@pytest.mark.parametrize("recipe", ["none", "fp16"])
def test_damaged_weights_in_the_other_recipes(
    recipe: str, refused: Refused, checkpoint: Path
) -> None:
    value(UP, np.inf)(checkpoint)
    output = checkpoint.parent / "out"
    command = ("convert", checkpoint, "-o", output, *SMALL, "--quantize", recipe)
    refused(*command, says=f"^{UP}: a value is not finite")


def test_what_float16_cannot_hold(refused: Refused, checkpoint: Path) -> None:
    value(UP, 7e4)(checkpoint)
    output = checkpoint.parent / "out"
    command = ("convert", checkpoint, "-o", output, *SMALL, "--quantize", "fp16")
    refused(*command, says=f"{UP}: a value of 70000 does not fit float16")


# what is done to the tokenizer's files -> what the line says
TOKENIZERS: Mapping[str, tuple[Spoil, str]] = {
    "no JSON": (text("tokenizer.json", "{"), "tokenizer.json: .* a JSON document is needed"),
    "no UTF-8": (text("tokenizer.json", b"\xff\xfe\0"), "tokenizer.json: .* JSON document is need"),
    "too deep": (text("tokenizer.json", "[" * 100_000), "tokenizer.json: nested too deeply"),
    "no object": (text("tokenizer.json", "[]"), r"tokenizer.json: document is \[\]"),
    "no model": (text("tokenizer.json", "{}"), "tokenizer.json: model is missing"),
    "no file": (
        lambda f: (f / "tokenizer.json").unlink(),
        "no tokenizer; needs one of",
    ),
    "a folder": (
        lambda f: ((f / "tokenizer.json").unlink(), (f / "tokenizer.json").mkdir()),
        "tokenizer.json: Is a directory",
    ),
    "no ModelProto": (text("tokenizer.model", "x" * 9), "tokenizer.model: .*a SentencePiece model"),
    "tokenizer.model a folder": (lambda f: (f / "tokenizer.model").mkdir(), "Is a directory"),
    "eos id": (text("generation_config.json", '{"eos_token_id": 9999}'), "eos_token_id 9999"),
}


@pytest.mark.parametrize("what", TOKENIZERS)
def test_tokenizers(what: str, refused: Refused, checkpoint: Path) -> None:
    (checkpoint / "tokenizer.model").unlink()
    spoil, message = TOKENIZERS[what]
    spoil(checkpoint)
    output = checkpoint.parent / "out"
    refused("tokenizer", checkpoint, "-o", output, says=message)
    refused("build", checkpoint, "-o", output, *SMALL, says=message)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (text("tokenizer_config.json", "{"), "tokenizer_config.json: is no JSON"),
        (text("tokenizer_config.json", "{}"), "start token: there is none"),
        (text("chat_template.jinja", "{{ 1"), "chat template: TemplateSyntaxError"),
        (text("chat_template.jinja", b"\xff"), "chat_template.jinja: cannot be read: .*utf-8"),
        (text("generation_config.json", "[]"), "generation_config.json: list; a JSON object"),
    ],
)
def test_text_formats(spoil: Spoil, message: str, refused: Refused, checkpoint: Path) -> None:
    spoil(checkpoint)
    output = checkpoint.parent / "out"
    refused("build", checkpoint, "-o", output, *SMALL, says=message)


def test_lengths(refused: Refused, checkpoint: Path) -> None:
    command = ("convert", checkpoint, "-o", checkpoint.parent / "out", "--quantize", "none")
    for lengths, context, message in (
        ("17", "16", r"prefill lengths \[17\] with context length 16: needed"),
        ("4", "65", "max_position_embeddings=64; a context length of 65 is more than"),
        ("4", "9" * 30, "max_position_embeddings=64; a context length of 9999"),
    ):
        refused(*command, "--prefill-lengths", lengths, "--context-length", context, says=message)
    config(max_position_embeddings=2**31 - 1)(checkpoint)
    refused(
        *command,
        "--prefill-lengths",
        "4",
        "--context-length",
        2**31 - 1,
        says="context length 2147483647: needed 1 to 1048576",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "is a folder; name a file to write"),
        ("none/out", "none is not a folder that exists; make it first"),
        ("checkpoint/config.json/out", "config.json is not a folder that exists"),
        ("n" * 300, "cannot be written: File name too long"),
    ],
)
def test_places(
    name: str, message: str, refused: Refused, checkpoint: Path, tiny_tflite: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """They are refused before the work is done."""
    output = checkpoint.parent / name
    tokenizer = checkpoint / "tokenizer.model"
    bundle = ("bundle", tiny_tflite, tokenizer, *TOKENS)
    for command in (
        ("build", checkpoint),
        ("convert", checkpoint),
        ("tokenizer", checkpoint),
        bundle,
    ):
        refused(*command, "-o", output, "--force", says=message)
    monkeypatch.setattr(build, "convert", None)
    command = ("convert", checkpoint, "-o", checkpoint.parent / "out", "--report", output)
    refused(*command, says=message)


def test_a_report_in_the_place_of_the_output(refused: Refused, checkpoint: Path) -> None:
    output = checkpoint.parent / "out"
    refused(
        "convert",
        checkpoint,
        "-o",
        output,
        "--report",
        output,
        says="out: is the output too; give the report its own name",
    )


def test_a_read_only_folder(refused: Refused, checkpoint: Path) -> None:
    """/proc is one for root too."""
    refused(
        "convert",
        checkpoint,
        "-o",
        "/proc/out",
        *SMALL,
        "--quantize",
        "none",
        says="^/proc/out: cannot be written: ",
    )


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Room for 64 kB in the folder. Skips where that cannot be made."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting takes root")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def short_files(_: Path) -> Iterator[None]:
    """Files of at most 64 kB; a larger one is what a full disk is to the program."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(
    ("limit", "reason"), [(full_disk, "No space left on device"), (short_files, "File too large")]
)
def test_a_full_disk(
    limit: Callable[[Path], Any], reason: str, refused: Refused, checkpoint: Path,
    tiny_tflite: Path,
) -> None:  # fmt: skip
    folder = checkpoint.parent / "disk"
    folder.mkdir()
    output = folder / "out"
    with limit(folder):
        for command in (
            ("build", checkpoint, *SMALL, "--no-smoothing"),
            ("convert", checkpoint, *SMALL, "--quantize", "none"),
            ("tokenizer", checkpoint),
            ("bundle", tiny_tflite, checkpoint / "tokenizer.model", *TOKENS),
        ):
            line = refused(*command, "-o", output)
            assert line == f"{output}: cannot be written: {reason}"
