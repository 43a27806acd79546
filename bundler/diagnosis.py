"""Examines a file for everything that would keep a phone's engine from running it right."""

import mmap
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tokenizers import Tokenizer as JsonTokenizer

from . import BundleError, check_model, check_text, llm_metadata
from .bundle import MAX_TOKENIZER_BYTES
from .check_archive import check_archive
from .check_json_tokenizer import (
    check_json_tokens,
    check_json_vocabulary,
    read_json_tokenizer,
)
from .check_sections import check_sections
from .engines import ENGINE_OPERATORS, LOGITS, MEDIAPIPE, RUNTIMES, Runtime, default_runtime
from .files import open_file, unreadable
from .findings import ERROR, Finding, finding
from .known_faults import FILE, KNOWN
from .known_model_faults import MODEL_KNOWN
from .litertlm import HF_TOKENIZER, MAGIC
from .operators import read_codes, read_dense_layers
from .parts import METADATA, MODEL, TOKENIZER, Extent
from .tflite import IDENTIFIER, ModelSummary, summarize_model
from .tokenizer import Tokenizer
from .trial import try_model

_SNIFFED_BYTES = 8
_MAX_METADATA_BYTES = 1 << 20
_EXTENSIONS = {".task": "task", ".litertlm": "litertlm", ".tflite": "tflite"}


@dataclass(frozen=True)
class Diagnosis:
    """kind: "task", "litertlm", "tflite" or "unknown", by the file's first bytes."""

    file: str
    kind: str
    runtime: str
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        return any(each.level == ERROR for each in self.findings)


def diagnose(path: Path, runtime: str | None = None, *, trial: bool = True) -> Diagnosis:
    """All that can be found in the file, the layout first, then the text, then the model.

    runtime: a name of RUNTIMES; None for the one that this kind of file is for. trial: also run
    the model for a moment, in a process of its own.
    Raises BundleError for a file that cannot be read at all.
    """
    try:
        with open_file(path) as file:
            start = file.read(_SNIFFED_BYTES)
            kind = _kind(start)
            if kind == "unknown" and zipfile.is_zipfile(file):
                kind = "task"  # a zip is known by its end, whatever stands before it
            chosen = RUNTIMES[runtime] if runtime else default_runtime(kind)
            if not start:
                findings = [finding(FILE, "file.empty", path.name, "has no bytes")]
            else:
                findings = list(_check_kind(path, kind, start, chosen))
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    findings += _Examined(path, data, chosen, trial=trial).examine(kind, file)
    except OSError as error:
        raise unreadable(path, error) from error
    return Diagnosis(str(path), kind, chosen.name, tuple(findings))


def _kind(start: bytes) -> str:
    if start[4:] == IDENTIFIER:
        return "tflite"
    if start == MAGIC:
        return "litertlm"
    return "task" if b"PK" in (start[:2], start[4:6]) else "unknown"


def _check_kind(path: Path, kind: str, start: bytes, runtime: Runtime) -> Iterator[Finding]:
    named = _EXTENSIONS.get(path.suffix)
    if kind == "unknown" or (named is not None and named != kind):
        what = f"begins with {start!r}: is {f'a .{kind}' if kind != 'unknown' else 'no bundle'}"
        yield finding(FILE, "file.kind", path.name, what)
    elif kind not in runtime.kinds:
        what = f"is a .{kind}; {runtime.name} is for {', '.join(runtime.kinds)}"
        yield finding(FILE, "file.runtime", path.name, what)


@dataclass
class _Examined:
    """A file that is being examined: one part after the other, each as far as it can be read."""

    path: Path
    data: mmap.mmap
    runtime: Runtime
    trial: bool
    findings: list[Finding] = field(default_factory=list)

    def examine(self, kind: str, file: BinaryIO) -> list[Finding]:
        match kind:
            case "tflite":
                self._model(Extent(0, len(self.data)), str(self.path))
            case "task":
                self.findings, entries = check_archive(file, str(self.path))
                self._bundle(entries, kind)
            case "litertlm":
                self.findings, entries = check_sections(self.data, str(self.path))
                self._bundle(entries, kind)
        return self.findings

    def _bundle(self, entries: Mapping[str, Extent], kind: str) -> None:
        tokenizer = json = None
        if (data := self._read(entries, TOKENIZER, MAX_TOKENIZER_BYTES, "tokenizer")) is not None:
            found, tokenizer = check_text.read_tokenizer(data, f"{self.path}: {TOKENIZER}")
            self.findings += found
        if data := self._read(entries, HF_TOKENIZER, MAX_TOKENIZER_BYTES, "tokenizer"):
            found, json = read_json_tokenizer(data, f"{self.path}: {HF_TOKENIZER}")
            self.findings += found
        if (data := self._read(entries, METADATA, _MAX_METADATA_BYTES, "metadata")) is not None:
            self._text(data, kind, tokenizer, json)
        if MODEL in entries and entries[MODEL].size:
            self._model(entries[MODEL], f"{self.path}: {MODEL}", tokenizer, json)

    def _text(
        self, data: bytes, kind: str, tokenizer: Tokenizer | None, json: JsonTokenizer | None
    ) -> None:
        where = f"{self.path}: {METADATA}"
        theirs = kind == "litertlm" or llm_metadata.is_llm_metadata(data)
        found, text = [], None
        if not theirs or (self.runtime is MEDIAPIPE and kind == "task"):
            found, text = check_text.read_parameters(data, where, tokenizer)
        if theirs and (text is None or not check_text.begins(text, tokenizer)):
            # One message may be both, and then MediaPipe's start token is one of the tokenizer.
            # Else it is none, or what LlmMetadata has in that field: the type of the model.
            found, text = check_text.read_llm_metadata(data, where, tokenizer or json)
            if self.runtime is MEDIAPIPE and kind == "task":
                found.append(check_text.not_for_mediapipe())
        self.findings += found
        if text is not None:
            self.findings += check_text.check_format(text, self.runtime)
            if tokenizer is not None:
                self.findings += check_text.check_tokens(text, tokenizer)
            elif json is not None:
                self.findings += check_json_tokens(text, json)

    def _read(self, entries: Mapping[str, Extent], name: str, most: int, code: str) -> bytes | None:
        """The bytes of a part; None, and a finding, where there are too many to be one."""
        extent = entries.get(name)
        if extent is None or not extent.size:
            return None
        if extent.size > most:
            what = f"has {extent.size} bytes; at most {most} are read"
            self.findings.append(finding(KNOWN, f"{code}.unreadable", name, what))
            return None
        return self.data[extent.offset : extent.offset + extent.size]

    def _model(
        self,
        extent: Extent,
        where: str,
        tokenizer: Tokenizer | None = None,
        json: JsonTokenizer | None = None,
    ) -> None:
        place = (self.data, extent.offset, extent.size, where)
        before = len(self.findings)
        try:
            model = summarize_model(*place)
            layers = read_dense_layers(*place)
            self.findings += check_model.check_signatures(model, self.runtime)
            codes = read_codes(*place)
            self.findings += check_model.check_codes(codes, self.runtime)
            self.findings += check_model.check_layers(layers)
        except BundleError as error:
            what = str(error).removeprefix(f"{where}: ")
            self.findings.append(finding(MODEL_KNOWN, "model.damaged", MODEL, what))
            return
        vocabulary = _vocabulary(model)
        if tokenizer is not None and vocabulary:
            self.findings += check_text.check_vocabulary(tokenizer, vocabulary)
        elif json is not None and vocabulary:
            self.findings += check_json_vocabulary(json, vocabulary)
        self.findings += check_model.check_memory(model, layers)
        if self.trial:
            foreign = [code.custom for code in codes if code.custom in ENGINE_OPERATORS]
            self.findings.append(self._try(extent, self.findings[before:], foreign))

    def _try(self, extent: Extent, found: Sequence[Finding], foreign: Sequence[str]) -> Finding:
        """foreign: the custom operators that the engines have, and LiteRT alone has not."""
        # a tokenizer that is another model's does not keep this one from running
        faults = [
            each.code
            for each in found
            if each.level == ERROR and each.code.startswith(("model.", "operator.", "weights."))
        ]
        if faults or foreign:
            what = f"was not run, because of {', '.join(dict.fromkeys([*faults, *foreign]))}"
            return finding(MODEL_KNOWN, "trial.skipped", MODEL, what)
        trial = try_model(self.path, extent.offset, extent.size)
        peak = f", with {trial.peak_bytes / 1e6:,.0f} MB" if trial.outcome == "ran" else ""
        return finding(MODEL_KNOWN, f"trial.{trial.outcome}", MODEL, f"{trial.said}{peak}")


def _vocabulary(model: ModelSummary) -> int:
    """The last dimension of decode's logits; 0 where there are none."""
    for signature in model.signatures:
        for tensor in signature.outputs:
            if signature.name == "decode" and tensor.name == LOGITS and tensor.shape:
                return tensor.shape[-1]
    return 0
