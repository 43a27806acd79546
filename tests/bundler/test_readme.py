"""The README's commands and Python run as they stand."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from taskpress.bundler.cli import main

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a checkpoint named CHECKPOINT, whose context is long enough."""
    shutil.copytree(tiny, tmp_path / "CHECKPOINT")
    config = tmp_path / "CHECKPOINT" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "max_position_embeddings": 4096}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(folder: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("taskpress ")]
    assert len(commands) >= 7
    for command in commands:
        arguments = shlex.split(command, comments=True)[1:]
        # Each reads what an earlier one wrote; some write the same name. No folder is replaced.
        force = ["--force"] if "-o" in arguments and arguments[0] != "unpack" else []
        # A vocabulary this small lacks the contractions, which the rebuilt tokenizer needs whole.
        allowed = (0, 1) if arguments[0] == "parity" else (0,)
        assert main([*arguments, *force]) in allowed, command
    assert {"model.task", "model.tflite", "tokenizer.model"} <= {p.name for p in folder.iterdir()}


def test_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(blocks("python")) == 2
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert "kl_divergence" in capsys.readouterr().out
    assert (folder / "model.tflite").stat().st_size > 0
