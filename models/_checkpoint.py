"""Opens a checkpoint: a Hugging Face folder, a GGUF file, or a repository on the Hub."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from . import ENCODERS, CheckpointError, _hub, architecture, architectures, model_type_of
from ._files import TensorInfo, load_json, shown
from ._gguf import GgufFile
from ._gguf_mapping import Translation, generic, token_ids, translate
from ._hub_layout import HubLayout
from ._safetensors import SafetensorsFile
from ._sentence import dense_folders

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)

# Buffers that old checkpoints hold and today's transformers computes from config.json.
_IGNORED = frozenset({"embeddings.position_ids", "model.layers.{i}.self_attn.rotary_emb.inv_freq"})
_COMPARED_VALUES = 1 << 18
_NAMED = 3  # tensors that one error message names


class Checkpoint(ABC):
    """A checkpoint, held open, by the Hub's names and in torch's order of dimensions.

    path: the folder or file. folder: where tokenizer.json and its like are; None for GGUF.
    metadata: GGUF's key/values; {} for a folder.
    """

    path: Path
    folder: Path | None
    metadata: Mapping[str, Any]

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """config.json, or a GGUF file's keys in its words."""

    @property
    @abstractmethod
    def generation_config(self) -> dict[str, Any]:
        """generation_config.json or {}; for GGUF the token ids, in its words."""

    @property
    @abstractmethod
    def tensors(self) -> Mapping[str, TensorInfo]:
        """What there is, by name."""

    @abstractmethod
    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows [start, stop) of a tensor, of its dimension 0: float32, [stop - start, ...].

        Raises CheckpointError where the file cannot be read.
        """

    @abstractmethod
    def where(self, name: str) -> str:
        """The file that holds a tensor, as an error message names it."""

    @abstractmethod
    def close(self) -> None:
        """Closes the files; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class FolderCheckpoint(Checkpoint):
    """A folder with config.json and safetensors files, as the Hub has it.

    `tensors` and `read_rows` need its architecture's file, and so import torch.
    """

    def __init__(self, path: Path) -> None:
        self.path = self.folder = path
        self.metadata = {}
        if not (path / "config.json").exists():
            raise CheckpointError(f"{path}: no config.json; needs a folder as the Hub has them")
        self._config = load_json(path / "config.json")
        generation = path / "generation_config.json"
        self._generation_config = load_json(generation) if generation.exists() else {}
        self._files: dict[str, SafetensorsFile] = {}
        try:
            self._file_of = self._open_files()
        except CheckpointError:
            self.close()
            raise
        self._read: tuple[str, np.ndarray] | None = None

    @property
    def config(self) -> dict[str, Any]:
        return self._config

    @property
    def generation_config(self) -> dict[str, Any]:
        return self._generation_config

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._tensors

    @cached_property
    def _tensors(self) -> Mapping[str, TensorInfo]:
        return {
            name: self._layout.info(name, file.tensors[stored])
            for name, (file, stored) in self._stored.items()
        }

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        file, stored = self._stored[name]
        if not self._layout.is_transposed(name):
            return file.read_rows(stored, start, stop)
        # The rows lie across the whole matrix: it is kept for those that are asked for next.
        if self._read is None or self._read[0] != stored:
            self._read = stored, file.read_rows(stored, 0, file.tensors[stored].shape[0])
        return np.ascontiguousarray(self._read[1][:, start:stop].T)

    def where(self, name: str) -> str:
        return self._stored[name][0].name

    @cached_property
    def _layout(self) -> HubLayout:
        """What the architecture's file says about its folders, where there is one."""
        model_type = model_type_of(self._config)
        module = architecture(model_type) if model_type in architectures() else None
        return getattr(module, "HUB", HubLayout())

    @cached_property
    def _stored(self) -> Mapping[str, tuple[SafetensorsFile, str]]:
        """The file, and the name in it, by the name in the module."""
        names = self._layout.names(self._file_of)
        stored = {name: (self._file_of[there], there) for name, there in names.items()}
        if model_type_of(self._config) in ENCODERS:
            for folder in dense_folders(self.path):
                if not (self.path / folder / _SINGLE).exists():
                    raise _no_weights(self.path / folder)
                file = self._open(f"{folder}/{_SINGLE}")
                stored |= {f"{folder}.{name}": (file, name) for name in file.tensors}
        return stored

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _open_files(self) -> dict[str, SafetensorsFile]:
        """The file of each tensor. A whole file goes before an index, as in transformers."""
        name = _SINGLE
        if not (self.path / name).exists():
            if (self.path / _INDEX).exists():
                return self._open_shards(_read_index(self.path / _INDEX))
            found = [path.name for path in self.path.glob("*.safetensors")]
            if len(found) != 1:
                raise _no_weights(self.path)
            name = found[0]
        return dict.fromkeys(self._open(name).tensors, self._files[name])

    def _open_shards(self, weight_map: Mapping[str, str]) -> dict[str, SafetensorsFile]:
        """The shard of each tensor; index and shards must have the same tensors."""
        for shard in sorted(set(weight_map.values())):
            for name in self._open(shard).tensors:
                if weight_map.get(name) != shard:
                    raise CheckpointError(
                        f"{shard}: holds {shown(name)}, which {_INDEX} does not place there"
                    )
        for name, shard in weight_map.items():
            if name not in self._files[shard].tensors:
                raise CheckpointError(f"{shard}: no {shown(name)}, which {_INDEX} places there")
        return {name: self._files[shard] for name, shard in weight_map.items()}

    def _open(self, name: str) -> SafetensorsFile:
        self._files[name] = SafetensorsFile(self.path / name)
        return self._files[name]


class GgufCheckpoint(Checkpoint):
    """A GGUF file. `config` and `tensors` need its architecture's file, and so import torch."""

    folder = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = GgufFile(path)
        self.metadata = self._file.metadata

    @cached_property
    def _translation(self) -> Translation:
        return translate(self._file)

    @property
    def config(self) -> dict[str, Any]:
        return self._translation.config

    @property
    def generation_config(self) -> dict[str, Any]:
        return token_ids(self.metadata)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._translation.tensors

    def read_rows(self, name: str, start: int, stop: int) -> np.ndarray:
        tensor = self._translation.tensors[name]
        values = self._file.read_rows(tensor.source, tensor.rows(start, stop))
        if tensor.offset:
            values += np.float32(tensor.offset)
        return values

    def where(self, name: str) -> str:
        return self._file.name

    def close(self) -> None:
        self._file.close()


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Opens a folder, a .gguf file, or a repository of the Hub by its `organization/name`.

    A local path goes before a repository of the same name. No pickle is ever loaded.
    Raises CheckpointError where there is no checkpoint, or not a sound one.
    """
    try:
        return _open(source)
    except OSError as error:
        raise CheckpointError(f"{shown(str(source))}: {error.strerror}") from error


def check_tensors(
    checkpoint: Checkpoint,
    expected: Mapping[str, tuple[int, ...]],
    needed_by: str,
    tied: Mapping[str, str] | None = None,
) -> None:
    """Raises CheckpointError unless the checkpoint's tensors are those of a model.

    expected: the model's parameters; needed_by: where they stand, for the message.
    tied: a parameter -> the one whose values it shares, both in `expected` or not. The checkpoint
    may hold it as well, with the very same values; others are refused, where transformers warns
    and keeps two tensors against config.json.
    """
    tied, tensors = tied or {}, checkpoint.tensors
    missing = [name for name in expected if name not in tensors and name not in tied]
    if missing:
        raise CheckpointError(
            f"{checkpoint.path}: no {_some(missing)}; {needed_by} needs "
            f"{'it' if len(missing) == 1 else 'them'}"
        )
    known = {**{name: expected[source] for name, source in tied.items()}, **expected}
    for name, info in tensors.items():
        if name in known and info.shape != known[name]:
            raise CheckpointError(
                f"{checkpoint.where(name)}: {name} is {list(info.shape)}; "
                f"{needed_by} needs {list(known[name])}"
            )
    left = [name for name in tensors if name not in known and generic(name) not in _IGNORED]
    if left:
        raise CheckpointError(
            f"{checkpoint.where(left[0])}: {_some(left)}: left over; {needed_by} has no use for "
            f"{'it' if len(left) == 1 else 'them'}"
        )
    for name, source in tied.items():
        if name in tensors and not _equal(checkpoint, name, source):
            raise CheckpointError(
                f"{checkpoint.where(name)}: {name} is not equal to {source}, which config.json "
                "ties it to; set tie_word_embeddings to false if both are meant"
            )


def _equal(checkpoint: Checkpoint, one: str, other: str) -> bool:
    """Whether two tensors of the same shape have the same values, bit for bit in float32."""
    rows, *rest = checkpoint.tensors[one].shape
    step = max(1, _COMPARED_VALUES // max(1, math.prod(rest)))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        a, b = (checkpoint.read_rows(name, start, stop) for name in (one, other))
        if not np.array_equal(a.view(np.uint32), b.view(np.uint32)):
            return False
    return True


def _some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(shown, names[:_NAMED])) + more


def _open(source: str | Path) -> Checkpoint:
    """Opens what is there; what is not may be on the Hub."""
    path = Path(source)
    if path.is_dir():
        return FolderCheckpoint(path)
    if path.exists():
        if path.suffix.lower() in _PICKLES:
            raise _pickle(path)
        if path.suffix == ".safetensors":
            raise CheckpointError(
                f"{path.name}: weights alone; give its folder, with config.json beside it"
            )
        return GgufCheckpoint(path)
    if isinstance(source, str) and _REPOSITORY.fullmatch(source):
        return FolderCheckpoint(_hub.fetch(source))
    raise CheckpointError(
        f"{shown(str(source))}: no such file or folder; needs a folder with config.json and "
        "*.safetensors, a .gguf file, or organization/name on the Hub"
    )


def _read_index(path: Path) -> dict[str, str]:
    """The file name of each tensor. Raises CheckpointError for one outside the folder."""
    weight_map = load_json(path).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{path.name}: no weight_map; needs tensor: file name")
    for name, file in weight_map.items():
        if not isinstance(file, str) or not _is_plain_name(file):
            raise CheckpointError(
                f"{path.name}: {shown(name)} is in {file!r:.120}; needs the plain name of a "
                ".safetensors file in the same folder"
            )
    return weight_map


def _is_plain_name(file: str) -> bool:
    plain = file.isprintable() and "\\" not in file and Path(file).name == file
    return plain and file.endswith(".safetensors")


def _no_weights(folder: Path) -> CheckpointError:
    """Says what the folder has in the place of weights that can be read."""
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    if found:
        return CheckpointError(
            f"{folder}: {_some(found)}, but no {_INDEX}; needs it to tell what belongs together"
        )
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _PICKLES:
            return _pickle(path)
    return CheckpointError(f"{folder}: no *.safetensors; needs {_SINGLE}, or shards and {_INDEX}")


def _pickle(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{shown(path.name)}: a pickle, which can run code and is never loaded; needs safetensors: "
        "from_pretrained(folder).save_pretrained(new_folder, safe_serialization=True) in "
        "transformers writes them, where you trust the file"
    )
