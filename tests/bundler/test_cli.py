"""The command line: what each verb does, prints and leaves."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor
from taskpress.bundler import build
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from tokenizers import Tokenizer

Taskpress = Callable[..., Any]

SMALL = ("--prefill-lengths", "4,16", "--context-length", "48")
TEXT = "Don't panic: 42 files, naïve 日本 😀\n\tdef f(x):  return x"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def succeeded(ran: Any) -> str:
    """What a command printed that ended well, and said nothing beside it."""
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_build(taskpress: Taskpress, tiny: Path, tiny_tokenizer: bytes, tmp_path: Path) -> None:
    output = tmp_path / "out" / "tiny.task"
    output.parent.mkdir()
    printed = succeeded(taskpress("build", tiny, "-o", output, *SMALL)).splitlines()
    assert files(output.parent) == ["tiny.task"]
    size = output.stat().st_size
    assert len(printed) == 2
    assert re.fullmatch(rf"{output}: about [\d.]+ MB, with \d+ MB of memory", printed[0])
    made = rf"{output}: {size / 1e6:.1f} MB, with \d+ MB of memory, in [\d.]+ s"
    assert re.fullmatch(made, printed[1])

    task = read_bundle(output)
    assert list(task.entries) == [MODEL, TOKENIZER, METADATA]
    assert task.read(TOKENIZER) == tiny_tokenizer
    assert task.parameters.start_token == "<|im_start|>"
    assert task.parameters.stop_tokens == ("<|im_end|>",)
    assert task.parameters.session_prefix == "system\nYou are small.<|im_end|>\n"
    assert task.parameters.user_prefix == "<|im_start|>user\n"
    assert task.parameters.user_suffix == task.parameters.model_suffix == "<|im_end|>\n"
    assert task.parameters.model_prefix == "<|im_start|>assistant\n"


def test_two_builds_are_the_same_bytes(
    taskpress: Taskpress, checkpoint: Path, tiny_task: Path, tmp_path: Path
) -> None:
    """Also in another process, with another seed for its hashes."""
    here, there = tmp_path / "here.task", tmp_path / "there.task"
    succeeded(taskpress("build", checkpoint, "-o", here, *SMALL))
    command = [sys.executable, "-m", "taskpress.bundler", "build", checkpoint, "-o", there, *SMALL]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert here.read_bytes() == there.read_bytes() == tiny_task.read_bytes()


def test_the_steps_one_by_one_give_the_same_bundle(
    taskpress: Taskpress, tiny: Path, tiny_task: Path, tmp_path: Path
) -> None:
    model, tokenizer, output = (tmp_path / f"out.{end}" for end in ("tflite", "model", "task"))
    succeeded(taskpress("convert", tiny, "-o", model, *SMALL))
    succeeded(taskpress("tokenizer", tiny, "-o", tokenizer))
    succeeded(taskpress("bundle", model, tokenizer, "--checkpoint", tiny, "-o", output))
    assert output.read_bytes() == tiny_task.read_bytes()


def test_the_report(taskpress: Taskpress, checkpoint: Path, tmp_path: Path) -> None:
    output, report = tmp_path / "tiny.task", tmp_path / "report.json"
    out = succeeded(taskpress("build", checkpoint, "-o", output, *SMALL, "--report", report))
    values = json.loads(report.read_text())
    assert values["checkpoint"] == str(checkpoint)
    assert values["output"] == str(output)
    assert values["options"]["prefill_lengths"] == [4, 16]
    assert values["signatures"] == ["prefill_4", "prefill_16", "decode"]
    assert values["size_bytes"] == output.stat().st_size
    assert values["predicted_size_bytes"] == pytest.approx(values["size_bytes"], abs=1000)
    assert values["bundle"]["stop_tokens"] == ["<|im_end|>"]
    chats = values["bundle"]["chats"]
    kinds = [(turns, system) for system in (False, True) for turns in (1, 2, 3)]
    assert [(chat["turns"], chat["system"]) for chat in chats] == kinds
    assert {(chat["difference"], chat["restored"]) for chat in chats} == {(None, None)}
    assert values["quality"]["tokens"] == 48
    assert values["quality"]["kl_divergence"] < 0.01
    assert f"KL {values['quality']['kl_divergence']:.5f} to the checkpoint" in out


@pytest.mark.parametrize(("recipe", "item"), [("none", 4), ("fp16", 2), ("int8", 1)])
def test_convert(
    recipe: str, item: int, taskpress: Taskpress, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny.tflite"
    succeeded(taskpress("convert", checkpoint, "-o", output, "--quantize", recipe, *SMALL))
    out = succeeded(taskpress("inspect", output, "--json"))
    model = json.loads(out)["model"]
    names = [signature["name"] for signature in model["signatures"]]
    assert names == ["prefill_4", "prefill_16", "decode"]
    weights = 512 * 64 + 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 96 * 64)
    assert model["weights"][0]["size_bytes"] == pytest.approx(weights * item, rel=0.03)


def test_the_default_lengths_are_those_that_fit(
    taskpress: Taskpress, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny.tflite"
    options = ("--context-length", "64", "--quantize", "none")
    succeeded(taskpress("convert", checkpoint, "-o", output, *options))
    model = json.loads(succeeded(taskpress("inspect", output, "--json")))["model"]
    assert [s["name"] for s in model["signatures"]] == ["prefill_8", "prefill_64", "decode"]


def test_the_mask_and_the_logits_of_prefill_on_demand(
    taskpress: Taskpress, checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "tiny.tflite"
    options = ("--quantize", "none", "--mask", "input", "--prefill-logits")
    succeeded(taskpress("convert", checkpoint, "-o", output, *SMALL, *options))
    model = json.loads(succeeded(taskpress("inspect", output, "--json")))["model"]
    prefill = model["signatures"][0]
    inputs = {tensor["name"]: tensor["shape"] for tensor in prefill["inputs"]}
    outputs = {tensor["name"]: tensor["shape"] for tensor in prefill["outputs"]}
    assert inputs["mask"] == [1, 1, 4, 48]
    assert outputs["logits"] == [1, 4, 512]


def test_convert_needs_no_tokenizer(taskpress: Taskpress, tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(tiny / name)
    output = tmp_path / "tiny.tflite"
    succeeded(taskpress("convert", folder, "-o", output, *SMALL, "--report", tmp_path / "r.json"))
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["quality_text"] == "random ids, as there is no tokenizer"
    assert report["quality"]["kl_divergence"] < 0.01


def test_tokenizer(taskpress: Taskpress, tiny: Path, tmp_path: Path) -> None:
    output = tmp_path / "tokenizer.model"
    out = succeeded(taskpress("tokenizer", tiny, "-o", output))
    assert out == f"{output}: {output.stat().st_size / 1e6:.1f} MB\n"
    rebuilt = SentencePieceProcessor(model_file=str(output))
    original = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    assert rebuilt.encode(TEXT) == original.encode(TEXT).ids
    assert rebuilt.decode(rebuilt.encode(TEXT)) == TEXT


def test_a_tokenizer_that_is_read_piece_by_piece(
    taskpress: Taskpress, tiny: Path, tmp_path: Path
) -> None:
    output, bundle = tmp_path / "plain.model", tmp_path / "plain.task"
    succeeded(taskpress("tokenizer", tiny, "-o", output, "--form", "plain"))
    processor = SentencePieceProcessor(model_file=str(output))
    pieces = [processor.id_to_piece(token_id) for token_id in processor.encode(TEXT)]
    assert "".join(pieces).replace("▁", " ").startswith("Don't panic: 42 files, na")
    options = ("--tokenizer-form", "plain", "--quantize", "none", "--context-length", "64")
    succeeded(taskpress("build", tiny, "-o", bundle, *options))
    assert read_bundle(bundle).read(TOKENIZER) == output.read_bytes()


def test_a_table_of_ranks(taskpress: Taskpress, tmp_path: Path) -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b"ab", b"12", b"123"]
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)]
    table, output = tmp_path / "ranks.tiktoken", tmp_path / "ranks.model"
    table.write_text("".join(lines))
    ran = taskpress("tokenizer", table, "-o", output)
    assert (ran.code, files(tmp_path)) == (1, [table.name])
    assert "--pattern must name it" in ran.err
    given = ("--pattern", "llama3", "--special", "<|end|>=300")
    succeeded(taskpress("tokenizer", table, "-o", output, *given))
    processor = SentencePieceProcessor(model_file=str(output))
    assert processor.encode("ab<|end|>12345") == [256, 300, 258, ord("4"), ord("5")]
    succeeded(
        taskpress(
            "parity", table, output, *given, "--pairs", "200", "--fuzz", "20", "--threshold", "0.01"
        )
    )


def test_added_tokens_that_take_the_spaces_behind_them(
    taskpress: Taskpress, checkpoint: Path, tmp_path: Path
) -> None:
    """As Phi-3's do: its prefixes are written without those spaces, so that the ids are equal."""
    path, output = checkpoint / "tokenizer.json", tmp_path / "stripping.task"
    document = json.loads(path.read_bytes())
    for token in document["added_tokens"]:
        token["rstrip"] = True
    path.write_text(json.dumps(document))
    command = ("build", checkpoint, "-o", output, *SMALL, "--quantize", "none")
    ran = taskpress(*command)
    assert (ran.code, files(tmp_path)) == (1, ["checkpoint"])
    assert "has rstrip; " in ran.err
    assert "--ignore-flags" in ran.err
    succeeded(taskpress(*command, "--ignore-flags"))

    task = read_bundle(output)
    bundled = SentencePieceProcessor(model_proto=task.read(TOKENIZER))
    parameters = task.parameters
    assert parameters.user_suffix == "<|im_end|>"
    text = parameters.user_prefix + "Hello" + parameters.user_suffix + parameters.model_prefix
    original = Tokenizer.from_file(str(path))
    rendered = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    assert bundled.encode(text) == original.encode(rendered, add_special_tokens=False).ids


def test_a_tokenizer_model_is_passed_through(
    taskpress: Taskpress, checkpoint: Path, tiny_tokenizer: bytes, tmp_path: Path
) -> None:
    output = tmp_path / "tokenizer.model"
    succeeded(taskpress("tokenizer", checkpoint, "-o", output))
    assert output.read_bytes() == tiny_tokenizer


QUICK = ("--pairs", "300", "--fuzz", "10")


def test_parity(taskpress: Taskpress, tiny: Path, tokenizer_file: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(TEXT)
    page = tmp_path / "parity.html"
    # a vocabulary this small has not all that the fuzz and the sample ask for
    loose = ("--threshold", "1", "--threshold", "pairs=0", "--threshold", f"corpus/{corpus}=0")
    arguments = ("parity", tiny, tokenizer_file, *QUICK, *loose, "--corpus", corpus, __file__)
    table = succeeded(taskpress(*arguments, "--html", page))
    assert re.search(r"^pairs/honest +0 +300 strings +0 % ", table, re.MULTILINE)
    assert re.search(r"^corpus/.*corpus\.txt +0 +\d+ tokens ", table, re.MULTILINE)
    assert page.read_text().startswith("<!DOCTYPE html>")
    report = json.loads(succeeded(taskpress(*arguments, "--seed", "3", "--jobs", "2", "--json")))
    assert report["options"]["seed"] == 3
    assert report["above_threshold"] == []
    names = [section["name"] for section in report["sections"]]
    assert names.index(f"corpus/{corpus}") < names.index("fuzz/digits")


def test_parity_tells_mismatches_by_its_exit_code(
    taskpress: Taskpress, checkpoint: Path, tokenizer_file: Path
) -> None:
    path = checkpoint / "tokenizer.json"
    document = json.loads(path.read_text())
    document["model"]["merges"].reverse()
    path.write_text(json.dumps(document))
    ran = taskpress("parity", checkpoint, tokenizer_file, *QUICK)
    assert (ran.code, ran.err) == (1, "")
    assert "first mismatches" in ran.out
    assert "order of merges" in ran.out
    (above,) = [line for line in ran.out.splitlines() if line.startswith("above the threshold:")]
    assert "pairs/honest" in above
    arguments = ("parity", checkpoint, tokenizer_file, *QUICK, "--threshold", "1")
    assert taskpress(*arguments).code == 0
    assert taskpress(*arguments, "--threshold", "sample/prose=0.001").code == 1


def test_bundle_without_a_checkpoint(
    taskpress: Taskpress, tiny_tflite: Path, tokenizer_file: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.task"
    tokens = ("--start-token", "<|im_start|>", "--stop-token", "<|im_end|>")
    prefixes = ("--stop-token", "<|endoftext|>", "--user-prefix", "U: ", "--user-suffix", "\n")
    out = succeeded(
        taskpress("bundle", tiny_tflite, tokenizer_file, "-o", output, *tokens, *prefixes)
    )
    assert out == f"{output}: {output.stat().st_size / 1e6:.1f} MB\n"
    task = read_bundle(output)
    assert task.read(MODEL) == tiny_tflite.read_bytes()
    assert task.parameters.stop_tokens == ("<|im_end|>", "<|endoftext|>")
    assert (task.parameters.user_prefix, task.parameters.user_suffix) == ("U: ", "\n")
    assert task.parameters.session_prefix == task.parameters.model_prefix == ""


def test_inspect(
    taskpress: Taskpress, tiny_task: Path, tiny_tflite: Path, tokenizer_file: Path
) -> None:
    for path, kind, words in (
        (tiny_task, "task", ("TF_LITE_PREFILL_DECODE", "'<|im_end|>'", "signature prefill_16")),
        (tiny_tflite, "tflite", ("FULLY_CONNECTED", "kv_cache_k_0")),
        (tokenizer_file, "sentencepiece", ("508 normal", "3 user defined")),
    ):
        table = succeeded(taskpress("inspect", path))
        assert all(word in table for word in words), table
        summary = json.loads(succeeded(taskpress("inspect", path, "--json")))
        assert (summary["kind"], summary["size_bytes"]) == (kind, path.stat().st_size)


def test_run(taskpress: Taskpress, tiny_task: Path) -> None:
    answer = json.loads(succeeded(taskpress("run", tiny_task, "Hi", "--json")))
    assert set(answer) == {
        "text", "ended_by", "tokens", "prompt_tokens", "first_token_seconds", "decode_seconds",
    }  # fmt: skip
    assert answer["ended_by"] in ("context_length", "<|im_end|>")
    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(read_bundle(tiny_task).read(TOKENIZER))
    prompt = (
        "<|im_start|>system\nYou are small.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert answer["prompt_tokens"] == processor.encode(prompt)
    raw = processor.Decode(answer["tokens"], out_type=bytes)
    assert answer["text"] == raw.decode(errors="replace")
    assert succeeded(taskpress("run", tiny_task, "Hi")) == answer["text"] + "\n"

    few = json.loads(succeeded(taskpress("run", tiny_task, "Hi", "--max-tokens", "3", "--json")))
    assert few["ended_by"] == "max_tokens"
    assert few["tokens"] == answer["tokens"][:3]


def test_run_with_an_empty_prompt(taskpress: Taskpress, tiny_task: Path) -> None:
    succeeded(taskpress("run", tiny_task, "", "--max-tokens", "2"))


def test_run_fills_the_cache_to_its_end(taskpress: Taskpress, tiny_task: Path) -> None:
    """The longest prompt leaves one slot: for the first token, and the second needs none."""
    answers = {}
    for count in range(20):
        ran = taskpress("run", tiny_task, "a" * count, "--json")
        if ran.code == 1:
            assert re.fullmatch(
                r"error: the prompt has \d+ tokens; the bundle holds 48 with the answer\n", ran.err
            )
            break
        answer = json.loads(ran.out)
        answers[len(answer["prompt_tokens"])] = len(answer["tokens"])
    assert max(answers) == 47
    assert answers[47] == 2


def test_an_existing_output_needs_force(
    taskpress: Taskpress, refused: Callable[..., str], tiny: Path, tiny_tflite: Path,
    tokenizer_file: Path, tmp_path: Path,
) -> None:  # fmt: skip
    output = tmp_path / "out"
    output.write_bytes(b"before")
    commands: Sequence[tuple[object, ...]] = (
        ("build", tiny, *SMALL),
        ("convert", tiny, *SMALL, "--quantize", "none"),
        ("tokenizer", tiny),
        ("bundle", tiny_tflite, tokenizer_file, "--checkpoint", tiny),
    )
    for command in commands:
        line = refused(*command, "-o", output)
        assert line == f"{output}: exists; give another name, or --force to replace it"
        assert output.read_bytes() == b"before"
    for command in commands:
        succeeded(taskpress(*command, "-o", output, "--force"))
        assert output.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: VERB"),
        (["press"], "argument VERB: invalid choice: 'press'"),
        (["build", "x"], "required: -o/--output"),
        (["build", "x", "-o", "y", "--quantize", "int5"], "--quantize: invalid choice: 'int5'"),
        (["convert", "x", "-o", "y", "--prefill-lengths", "nonsense"], "'nonsense': needs an int"),
        (["convert", "x", "-o", "y", "--prefill-lengths", "8,,16"], "'': needs an integer from 1"),
        (["convert", "x", "-o", "y", "--prefill-lengths=-8"], "'-8': needs an integer from 1 on"),
        (["convert", "x", "-o", "y", "--context-length", "0"], "'0': needs an integer from 1 on"),
        (["run", "x", "y", "--max-tokens", "1.5"], "'1.5': needs an integer from 1 on"),
        (["parity", "x", "y", "--threshold", "nan"], "'nan': needs a number from 0 to 1"),
        (["inspect", "x", "y"], "unrecognized arguments: y"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], message: str, taskpress: Taskpress
) -> None:
    ran = taskpress(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_help_names_every_verb_at_once(taskpress: Taskpress) -> None:
    out = succeeded(taskpress("--help"))
    verbs = ("build", "convert", "tokenizer", "parity", "bundle", "inspect", "run")
    for verb in verbs:
        assert re.search(rf"^    {verb}\b", out, re.MULTILINE)
        assert verb in succeeded(taskpress(verb, "--help"))
    program = (
        "import sys; from taskpress.bundler.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(sorted({'torch', 'numpy', 'tokenizers'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ran.stdout.endswith(b"\n[]\n")


def test_ctrl_c_is_one_line(
    taskpress: Taskpress, monkeypatch: pytest.MonkeyPatch, tiny: Path, tmp_path: Path
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build", interrupt)
    ran = taskpress("build", tiny, "-o", tmp_path / "x.task")
    assert (ran.code, ran.out, ran.err) == (130, "", "error: interrupted\n")


def test_a_reader_that_has_seen_enough(tiny_task: Path) -> None:
    """As in `taskpress inspect FILE | head -1`: no word about it."""
    command = [sys.executable, "-m", "taskpress.bundler", "inspect", tiny_task, "--json"]
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_an_output_that_is_full(tiny_task: Path) -> None:
    command = [sys.executable, "-m", "taskpress.bundler", "inspect", tiny_task]
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr) == (1, b"error: standard output: No space left on device\n")


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """A shell that runs the tests in the background makes all they start ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_conversion_that_is_stopped_leaves_nothing_under_the_name(
    how: signal.Signals, large: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    options = ["--quantize", "none", "--prefill-lengths", "4", "--context-length", "16"]
    command = [sys.executable, "-m", "taskpress.bundler", "convert", large]
    with subprocess.Popen(
        [*command, "-o", folder / "out.tflite", *options], stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not files(folder):
            time.sleep(0.001)
        process.send_signal(how)
        _, err = process.communicate()
    if how == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        assert [path.suffix for path in folder.iterdir()] == [".partial"]
    else:
        assert (process.returncode, err) == (130, "error: interrupted\n")
        assert files(folder) == []


@pytest.fixture
def large(tiny: Path, tmp_path: Path) -> Path:
    """The folder with an embedding of 200 MB, all of it zeros that take no room on the disk."""
    folder = tmp_path / "large"
    folder.mkdir()
    config = json.loads((tiny / "config.json").read_text())
    rows = 800_000
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": rows}))
    with (tiny / "model.safetensors").open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        header = json.loads(source.read(length))
    header.pop("__metadata__", None)
    header["model.embed_tokens.weight"]["shape"] = [rows, 64]
    end = 0
    for entry in header.values():
        size = 4 * int(np.prod(entry["shape"]))
        entry["data_offsets"] = [end, end + size]
        end += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        out.truncate(8 + len(text) + end)
    return folder
