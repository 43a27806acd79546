"""Runs a model of ours with LiteRT on the CPU, token by token."""

import atexit
import gc
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from . import BundleError
from .decoder import Decoder, decoder_of
from .summary import summarize
from .tflite import summarize_model


@contextmanager
def native_log() -> Iterator[BinaryIO]:
    """Sends to a file what native code writes to stderr meanwhile.

    LiteRT logs some twenty lines when a model is opened and closed, about accelerators that no
    one asked for; its reason for refusing a model is among them and nowhere else.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@cache
def silence_at_exit() -> None:
    """LiteRT logs once more when the process ends, after all that Python could redirect."""

    def silence() -> None:
        sys.stderr.flush()
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)

    atexit.register(silence)


def complaints(log: BinaryIO) -> str:
    """The lines of a log that say what went wrong, as one."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return "; ".join(line for line in lines if line.startswith("ERROR")) or "it does not say why"


class Session:
    """One text, growing from its first token, and its key/value cache.

    The cache's buffers are given to each call both as its inputs and as its outputs, as phones do:
    the cache is updated in place and never copied.

    model: the path of a .tflite file, or its bytes. Raises BundleError for a model that is damaged,
    that is not an LLM of ours by its signatures, or that LiteRT refuses.
    """

    def __init__(self, model: Path | bytes, threads: int | None = None) -> None:
        decoder = _decoder(model)
        self.prefill_lengths = decoder.prefill_lengths
        self.context_length = decoder.context_length
        self.vocabulary = decoder.vocabulary
        self._shapes = {cache.name: cache.shape for cache in decoder.caches}
        self._caches: dict[str, Any] = {}
        self._buffers: dict[tuple[str, str], Any] = {}
        self._ran: set[str] = set()
        silence_at_exit()
        with native_log() as log:
            try:
                self._model = compiled(model, threads or os.cpu_count() or 1)
                self._signatures = self._model.get_signature_list()
                for name in self._shapes:
                    buffer = self._model.create_input_buffer_by_name("decode", name)
                    self._caches[name] = buffer
                self.reset()
            except RuntimeError as error:
                raise self._refused(error, log) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with native_log():
            self._close()

    def reset(self) -> None:
        """Forgets the text."""
        self.position = 0
        for name, buffer in self._caches.items():
            buffer.write(np.zeros(self._shapes[name], np.float32))

    def prefill(self, tokens: Sequence[int]) -> None:
        """Appends tokens whose logits are not needed, in chunks of the signatures' lengths.

        The last chunk is padded; a padded chunk may reach past the end of the cache.
        """
        start = 0
        while start < len(tokens):
            rest = len(tokens) - start
            # The shortest signature that takes all the rest, else the longest.
            enough = [n for n in self.prefill_lengths if n >= rest]
            length = enough[0] if enough else self.prefill_lengths[-1]
            self._run(f"prefill_{length}", length, tokens[start : start + length])
            start += length

    def decode(self, token: int) -> np.ndarray:
        """Appends a token; returns the logits of the next one: [vocabulary], float32."""
        self._run("decode", 1, [token])
        return self._buffer("decode", "logits").read(self.vocabulary, np.float32)

    def _run(self, signature: str, length: int, tokens: Sequence[int]) -> None:
        if self.position + len(tokens) > self.context_length:
            raise BundleError(
                f"the text has {self.position + len(tokens)} tokens; the model's cache holds "
                f"{self.context_length}"
            )
        padded = np.zeros((1, length), np.int32)
        padded[0, : len(tokens)] = tokens
        if padded.max() >= self.vocabulary:
            raise BundleError(
                f"the text has the token {padded.max()}; the model knows {self.vocabulary}, so "
                "the tokenizer is another model's"
            )
        positions = np.arange(self.position, self.position + length, dtype=np.int32)
        inputs = {"tokens": padded, "input_pos": positions}
        if "mask" in self._signatures[signature]["inputs"]:
            slots = np.arange(self.context_length)
            visible = slots <= positions[:, None]
            inputs["mask"] = np.where(visible, 0.0, -1e9).astype(np.float32)[None, None]
        # The first call plans the memory, which may fail, and which LiteRT logs.
        with nullcontext() if signature in self._ran else native_log() as log:
            try:
                self._call(signature, inputs)
            except RuntimeError as error:
                raise self._refused(error, log) from error
        self._ran.add(signature)
        self.position += len(tokens)

    def _call(self, signature: str, inputs: Mapping[str, np.ndarray]) -> None:
        buffers = dict(self._caches)
        for name, value in inputs.items():
            buffers[name] = self._buffer(signature, name)
            buffers[name].write(value)
        outputs = {
            name: self._caches.get(name) or self._buffer(signature, name)
            for name in self._signatures[signature]["outputs"]
        }
        self._model.run_by_name(signature, buffers, outputs)

    def _buffer(self, signature: str, name: str) -> Any:
        """The buffer of an input or output that is not a cache."""
        key = (signature, name)
        if key not in self._buffers:
            if name in self._signatures[signature]["inputs"]:
                buffer = self._model.create_input_buffer_by_name(signature, name)
            else:
                buffer = self._model.create_output_buffer_by_name(signature, name)
            self._buffers[key] = buffer
        return self._buffers[key]

    def _refused(self, error: RuntimeError, log: BinaryIO | None) -> BundleError:
        """The error for a failure of LiteRT's."""
        # Its frames hold the model, which logs once more when it goes: that must be now.
        error.with_traceback(None)
        self._close()
        reason = complaints(log) if log is not None else str(error).partition("\n")[0]
        return BundleError(f"LiteRT refuses the model: {reason}")

    def _close(self) -> None:
        self._buffers.clear()
        self._caches.clear()
        self._model: Any = None
        gc.collect()


def compiled(model: Path | bytes, threads: int) -> Any:
    """LiteRT's CompiledModel of a .tflite file, or of its bytes."""
    from ai_edge_litert.compiled_model import CompiledModel, Options
    from ai_edge_litert.options import CpuOptions

    options = Options(cpu_options=CpuOptions(num_threads=threads))
    if isinstance(model, bytes):
        return CompiledModel.from_buffer(model, options=options)
    return CompiledModel.from_file(str(model), options=options)


def _decoder(model: Path | bytes) -> Decoder:
    """What the model's signatures say; read by us, as LiteRT believes what it should check."""
    if isinstance(model, bytes):
        return decoder_of(summarize_model(model, 0, len(model), "the model"), "the model")
    summary = summarize(model).model
    if summary is None:
        raise BundleError(f"{model}: is no TFLite model; needs one")
    return decoder_of(summary, str(model))
