"""A bundle of either format, opened: where its parts lie, and what its metadata says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from . import BundleError, archive, hf_tokenizer, litertlm, llm_metadata, metadata
from .litertlm import HF_TOKENIZER, Header
from .llm_metadata import LlmMetadata
from .metadata import BundleParameters
from .parts import METADATA, MODEL, TOKENIZER, Extent, opened, part_bytes
from .task import read_entries
from .tokenizer import load_tokenizer

TASK, LITERTLM = "task", "litertlm"
MAX_TOKENIZER_BYTES = 256 << 20
_MAX_METADATA_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """kind: TASK or LITERTLM. parameters: the text format, by the metadata that LiteRT-LM takes.

    llm_metadata: what LiteRT-LM's metadata says besides; None where the bundle has LlmParameters.
    mediapipe: the text format by LlmParameters, where METADATA holds both messages. header: of a
    `.litertlm`.
    """

    path: Path
    kind: str
    entries: Mapping[str, Extent]
    parameters: BundleParameters
    llm_metadata: LlmMetadata | None = None
    mediapipe: BundleParameters | None = None
    header: Header | None = None

    def read(self, name: str) -> bytes:
        """The data of one part, its CRC-32 checked where there is one. Raises BundleError."""
        return _read(self.path, self.entries, name)


def kind_of(path: Path) -> str | None:
    """TASK or LITERTLM by the first bytes, which no extension can belie; None for neither."""
    with opened(path) as file:
        start = file.read(len(litertlm.MAGIC))
    if start == litertlm.MAGIC:
        return LITERTLM
    return TASK if b"PK" in (start[:2], start[4:6]) else None


def entries_of(path: Path) -> dict[str, Extent]:
    """Where the parts of a bundle lie, by name, whatever it is of; nothing else is read.

    Raises BundleError for a file that is not there, is no bundle, or is damaged.
    """
    kind = kind_of(path)
    if kind is None:
        raise BundleError(f"{path}: is no .task and no .litertlm; needs one")
    if kind == LITERTLM:
        return litertlm.read_header(path).entries()
    with opened(path) as file:
        return archive.read_directory(file, str(path))


def read_bundle(path: Path) -> Bundle:
    """Reads what lies where, and the metadata; the model is not touched.

    Raises BundleError for a file that is not there, is no bundle, is damaged, or lacks a part.
    """
    kind = kind_of(path)
    if kind is None:
        raise BundleError(f"{path}: is no .task and no .litertlm; needs one")
    header = litertlm.read_header(path) if kind == LITERTLM else None
    entries = header.entries() if header else read_entries(path)
    if missing := [name for name in (MODEL, METADATA) if name not in entries]:
        raise BundleError(
            f"{path}: there is no {', '.join(missing)}, only {', '.join(entries) or 'nothing'}; "
            "a bundle of an LLM is needed"
        )
    where = f"{path}: {METADATA}"
    data = _read(path, entries, METADATA, _MAX_METADATA_BYTES)
    if kind == TASK and not llm_metadata.is_llm_metadata(data):
        return Bundle(path, kind, entries, metadata.decode(data, where))
    texts = _Texts(path, entries)
    parameters, described = llm_metadata.decode(data, where, texts.of)
    mediapipe = None
    if kind == TASK and metadata.is_llm_parameters(data):
        mediapipe = metadata.decode(data, where)
        if mediapipe.start_token_id is not None:
            start = texts.of(mediapipe.start_token_id)
            mediapipe = replace(mediapipe, start_token=start, start_token_id=None)
    return Bundle(path, kind, entries, parameters, described, mediapipe, header)


class _Texts:
    """The texts of ids, by the bundle's tokenizer, which is loaded when the first one is asked."""

    def __init__(self, path: Path, entries: Mapping[str, Extent]) -> None:
        self._path, self._entries = path, entries

    def of(self, token: int) -> str:
        count, text = hf_tokenizer.texts_of(self._tokenizer)
        if not 0 <= token < count:
            raise BundleError(
                f"{self._path}: {METADATA}: names the token {token}; the tokenizer has {count}"
            )
        return text(token) or ""

    @cached_property
    def _tokenizer(self) -> hf_tokenizer.AnyTokenizer:
        names = [name for name in (TOKENIZER, HF_TOKENIZER) if name in self._entries]
        if not names:
            raise BundleError(f"{self._path}: has no tokenizer; one is needed")
        where = f"{self._path}: {names[0]}"
        data = _read(self._path, self._entries, names[0], MAX_TOKENIZER_BYTES)
        load = load_tokenizer if names[0] == TOKENIZER else hf_tokenizer.load
        return load(data, where)


def _read(path: Path, entries: Mapping[str, Extent], name: str, most: int | None = None) -> bytes:
    where, extent = f"{path}: {name}", entries[name]
    if most is not None and extent.size > most:
        raise BundleError(f"{where}: {extent.size} bytes; at most {most} are read")
    with opened(path) as file:
        return part_bytes(file, extent, where)
