"""Checkpoints as a whole: folders, shards, the Hub, pickles, and tensors against a model."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects
from safetensors.numpy import save_file
from taskpress.models import CheckpointError
from taskpress.models._checkpoint import check_tensors, open_checkpoint
from taskpress.models._files import MAX_JSON_BYTES, load_json

INDEX = "model.safetensors.index.json"
W = np.arange(6, dtype=np.float32).reshape(3, 2)
V = np.arange(4, dtype=np.float32)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config and no weights yet."""
    path = tmp_path / "checkpoint"
    path.mkdir()
    write_json(path / "config.json", {"model_type": "llama", "hidden_size": 2})
    return path


def write_shards(folder: Path, weight_map: Mapping[str, Any] | None = None) -> None:
    """w in a.safetensors and v in b.safetensors, and an index that says so, or another."""
    save_file({"w": W}, folder / "a.safetensors")
    save_file({"v": V}, folder / "b.safetensors")
    places = {"w": "a.safetensors", "v": "b.safetensors"} if weight_map is None else weight_map
    write_json(folder / INDEX, {"metadata": {"total_size": 40}, "weight_map": places})


def refused(source: str | Path, message: str) -> None:
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        open_checkpoint(source)
    assert "\n" not in str(error.value)


def test_a_folder(folder: Path) -> None:
    save_file({"w": W, "v": V}, folder / "model.safetensors")
    write_json(folder / "generation_config.json", {"eos_token_id": [1, 2]})
    with open_checkpoint(str(folder)) as checkpoint:
        assert checkpoint.path == checkpoint.folder == folder
        assert checkpoint.config == {"model_type": "llama", "hidden_size": 2}
        assert checkpoint.generation_config == {"eos_token_id": [1, 2]}
        assert checkpoint.metadata == {}
        assert {k: (t.shape, t.dtype) for k, t in checkpoint.tensors.items()} == {
            "w": ((3, 2), "F32"),
            "v": ((4,), "F32"),
        }
        np.testing.assert_array_equal(checkpoint.read_rows("w", 1, 3), W[1:3])
        np.testing.assert_array_equal(checkpoint.read_rows("v", 1, 3), V[1:3])
        assert checkpoint.where("w") == "model.safetensors"


def open_files() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


def test_closing_closes_the_files(folder: Path) -> None:
    write_shards(folder)
    before = open_files()
    with open_checkpoint(folder) as checkpoint:
        checkpoint.read_rows("w", 0, 1)
    checkpoint.close()
    assert open_files() == before
    write_json(folder / INDEX, {"weight_map": {"w": "a.safetensors", "v": "a.safetensors"}})
    refused(folder, "a.safetensors: no v")
    assert open_files() == before


def test_no_generation_config(folder: Path) -> None:
    save_file({"w": W}, folder / "weights.safetensors")
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.generation_config == {}
        assert checkpoint.where("w") == "weights.safetensors"


def test_shards(folder: Path) -> None:
    write_shards(folder)
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.where("w") == "a.safetensors"
        assert checkpoint.where("v") == "b.safetensors"
        np.testing.assert_array_equal(checkpoint.read_rows("w", 0, 3), W)
        np.testing.assert_array_equal(checkpoint.read_rows("v", 0, 4), V)


def test_the_links_of_the_hubs_cache_are_followed(folder: Path) -> None:
    save_file({"w": W}, folder.parent / "blob")
    (folder / "model.safetensors").symlink_to("../blob")
    with open_checkpoint(folder) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read_rows("w", 0, 3), W)


@pytest.mark.parametrize(
    "place",
    [
        *("../a.safetensors", "/etc/a.safetensors", "sub/a.safetensors", "..\\a.safetensors"),
        *("..", ".", "", "a\0.safetensors", "a\n.safetensors", "pytorch_model.bin", 7, None),
    ],
)
def test_an_index_that_points_elsewhere(folder: Path, place: Any) -> None:
    write_shards(folder, {"w": place, "v": "b.safetensors"})
    save_file({"w": W}, folder.parent / "a.safetensors")
    refused(
        folder,
        f"{INDEX}: w is in {place!r}; needs the plain name of a .safetensors file in the same",
    )


def test_an_index_that_does_not_match_its_shards(folder: Path) -> None:
    both = {"w": "a.safetensors", "v": "b.safetensors"}
    write_shards(folder, both | {"u": "b.safetensors"})
    refused(folder, f"b.safetensors: no u, which {INDEX} places there")
    write_shards(folder, {"w": "a.safetensors", "v": "a.safetensors"})
    refused(folder, f"a.safetensors: no v, which {INDEX} places there")
    write_shards(folder, {"w": "b.safetensors", "v": "b.safetensors"})
    refused(folder, f"b.safetensors: no w, which {INDEX} places there")
    save_file({"w": W, "u": V}, folder / "a.safetensors")
    write_json(folder / INDEX, {"weight_map": both})
    refused(folder, f"a.safetensors: holds u, which {INDEX} does not place there")
    write_shards(folder, both | {"u": "c.safetensors"})
    refused(folder, "c.safetensors: cannot be opened: No such file or directory")
    write_json(folder / INDEX, {"metadata": {}})
    refused(folder, f"{INDEX}: no weight_map; needs tensor: file name")


def test_several_files_and_no_index(folder: Path) -> None:
    write_shards(folder)
    (folder / INDEX).unlink()
    refused(folder, f"{folder}: a.safetensors, b.safetensors, but no {INDEX}; needs it to tell")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickles_are_never_loaded(folder: Path, name: str) -> None:
    bomb = b"cos\nabort\n(tR."
    (folder / name).write_bytes(bomb)
    message = f"{name}: a pickle, which can run code and is never loaded; needs safetensors: "
    refused(folder, message + "from_pretrained(folder).save_pretrained(new_folder, safe_ser")
    refused(folder / name, message)


def test_what_is_no_checkpoint(folder: Path) -> None:
    refused(folder, f"{folder}: no *.safetensors; needs model.safetensors, or shards and {INDEX}")
    save_file({"w": W}, folder / "model.safetensors")
    refused(folder / "model.safetensors", "model.safetensors: weights alone; give its folder")
    refused(folder / "config.json", "config.json: begins with b'{\"mo'; a GGUF file with b'GGUF'")
    (folder / "config.json").unlink()
    refused(folder, f"{folder}: no config.json; needs a folder as the Hub has them")
    refused(folder / "nowhere", f"{folder}/nowhere: no such file or folder; needs a folder with")
    refused("n" * 5000, f"{'n' * 117}...: File name too long")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "config.json: not valid JSON: "),
        (b"\xff\xfe", "config.json: not valid JSON: "),
        (b'"llama"', "config.json: str; a JSON object is needed"),
        (b'{"a": 1, "b": 2, "a": 3}', "config.json: not valid JSON: the key a stands twice"),
        (b'{"a": ' + b"[" * 100_000, "config.json: nested too deeply"),
        (b" " * (MAX_JSON_BYTES + 1), f"config.json: {MAX_JSON_BYTES + 1} bytes; at most"),
    ],
)
def test_json_that_is_not_sound(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}"):
        load_json(tmp_path / "config.json")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match=r"^config\.json: not a regular file$"):
        load_json(tmp_path / "config.json")


def test_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"w": W}, folder / "model.safetensors")
    asked = {}

    def download(repository: str, **patterns: list[str]) -> str:
        asked[repository] = patterns
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with open_checkpoint("someone/some-model.v1") as checkpoint:
        assert checkpoint.folder == folder
    wanted = ["config.json", "tokenizer.model", "model-00001-of-00002.safetensors"]
    sentence = ["modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors"]
    others = ["consolidated.00.safetensors", "onnx/config.json", "4bit/model.safetensors", "a.bin"]
    chosen = filter_repo_objects([*wanted, *sentence, *others], **asked["someone/some-model.v1"])
    assert list(chosen) == [*wanted, *sentence]
    with open_checkpoint(str(folder)) as checkpoint:
        assert checkpoint.path == folder
    refused(Path("someone/some-model"), "no such file or folder")
    refused("someone/some/model", "no such file or folder")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (errors.GatedRepoError, "gated; accept its licence on its page on the Hub, then `hf auth"),
        (errors.RepositoryNotFoundError, "no file or folder here, and no repository on the Hub"),
        (errors.LocalEntryNotFoundError, "not in the Hub's cache, and the Hub is out of reach"),
        (errors.OfflineModeIsEnabled, "not in the Hub's cache, and the Hub is out of reach"),
        (errors.HFValidationError, "the download failed: first line"),
        (errors.HfHubHTTPError, "the download failed: first line"),
        (errors.HfHubHTTPError.__bases__[0], "the download failed: first line"),
        (OSError, "the download failed: first line"),
        (RuntimeError, "the download failed: first line"),
    ],
)
def test_the_hubs_errors(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], message: str
) -> None:
    def download(repository: str, **patterns: list[str]) -> str:
        # their constructors differ between versions, and want a whole response
        error = kind.__new__(kind)
        Exception.__init__(error, "first line\nsecond line")
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    refused("someone/model", message)
    with pytest.raises(CheckpointError, match=r"^someone/model: "):
        open_checkpoint("someone/model")


def checked(folder: Path, tensors: dict[str, np.ndarray], tied: Mapping[str, str]) -> None:
    """Checks these tensors against a model of embed [4, 2], norm [2], and a head where tied."""
    save_file(tensors, folder / "model.safetensors")
    needed: dict[str, tuple[int, ...]] = {"embed": (4, 2), "norm": (2,)}
    with open_checkpoint(folder) as checkpoint:
        check_tensors(checkpoint, needed | dict.fromkeys(tied, (4, 2)), "models/x.py", tied)
        check_tensors(checkpoint, needed, "models/x.py", tied)


EMBED = np.arange(8, dtype=np.float32).reshape(4, 2)
SOUND = {"embed": EMBED, "norm": np.ones(2, np.float32)}
TIED = {"head": "embed"}


def test_tensors_that_fit(folder: Path) -> None:
    checked(folder, SOUND, {})
    checked(folder, SOUND, TIED)
    checked(folder, SOUND | {"head": EMBED}, TIED)
    old = {"model.layers.11.self_attn.rotary_emb.inv_freq": np.ones(1, np.float32)}
    checked(folder, SOUND | old, {})


@pytest.mark.parametrize(
    ("tensors", "tied", "message"),
    [
        ({"embed": EMBED}, {}, "{folder}: no norm; models/x.py needs it"),
        ({}, {}, "{folder}: no embed, norm; models/x.py needs them"),
        (
            SOUND | {"embed": EMBED.T.copy()},
            {},
            "model.safetensors: embed is [2, 4]; models/x.py needs [4, 2]",
        ),
        (
            SOUND | {"head": EMBED[:3]},
            TIED,
            "model.safetensors: head is [3, 2]; models/x.py needs [4, 2]",
        ),
        (
            SOUND | {"head": EMBED},
            {},
            "model.safetensors: head: left over; models/x.py has no use for it",
        ),
        (
            SOUND | {f"u{i}": EMBED for i in range(5)},
            {},
            "model.safetensors: u0, u1, u2 and 2 more: left over; models/x.py has no use for them",
        ),
        (
            SOUND | {"head": EMBED * np.float32([[1], [1], [1], [-1]])},
            TIED,
            "model.safetensors: head is not equal to embed, which config.json ties it to; set "
            "tie_word_embeddings to false if both are meant",
        ),
    ],
)
def test_tensors_that_do_not_fit(
    folder: Path, tensors: dict[str, np.ndarray], tied: Mapping[str, str], message: str
) -> None:
    message = message.replace("{folder}", str(folder))
    with pytest.raises(CheckpointError, match=f"^{re.escape(message)}$"):
        checked(folder, tensors, tied)


def test_a_tied_head_is_compared_to_its_last_value(folder: Path) -> None:
    rows = 1 << 18
    head = np.zeros((rows + 1, 1), np.float32)
    embed = head.copy()
    head[-1] = 1
    save_file({"embed": embed, "head": head}, folder / "model.safetensors")
    with (
        open_checkpoint(folder) as checkpoint,
        pytest.raises(CheckpointError, match="head is not equal to embed"),
    ):
        check_tensors(checkpoint, {"embed": (rows + 1, 1)}, "models/x.py", TIED)


def test_opening_a_folder_imports_neither_torch_nor_gguf(folder: Path) -> None:
    save_file({"w": W}, folder / "model.safetensors")
    script = (
        "import sys; from taskpress.models._checkpoint import open_checkpoint; "
        f"open_checkpoint({str(folder)!r}).config; "
        "print(*sorted({'torch', 'gguf', 'huggingface_hub'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
