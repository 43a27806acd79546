"""Runs a model of ours with LiteRT on the CPU, token by token."""

import atexit
import gc
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from . import BundleError


@contextmanager
def _native_log() -> Iterator[BinaryIO]:
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
def _silence_at_exit() -> None:
    """LiteRT logs once more when the process ends, after all that Python could redirect."""

    def silence() -> None:
        sys.stderr.flush()
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 2)

    atexit.register(silence)


def _complaints(log: BinaryIO) -> str:
    """The lines of a log that say what went wrong, as one."""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()
    return "; ".join(line for line in lines if line.startswith("ERROR")) or "it does not say why"


class Session:
    """One text, growing from its first token, and its key/value cache.

    The cache's buffers are given to each call both as its inputs and as its outputs, as phones do:
    the cache is updated in place and never copied.

    model: the path of a .tflite file, or its bytes. Raises BundleError for a model that LiteRT
    refuses, or that lacks the signatures and tensors that LLM runtimes look for.
    """

    def __init__(self, model: Path | bytes, threads: int | None = None) -> None:
        from ai_edge_litert.compiled_model import CompiledModel, Options
        from ai_edge_litert.options import CpuOptions

        options = Options(cpu_options=CpuOptions(num_threads=threads or os.cpu_count() or 1))
        _silence_at_exit()
        with _native_log() as log:
            try:
                if isinstance(model, bytes):
                    self._model = CompiledModel.from_buffer(model, options=options)
                else:
                    self._model = CompiledModel.from_file(str(model), options=options)
            except RuntimeError as error:
                raise BundleError(f"LiteRT refuses the model: {_complaints(log)}") from error
            self._signatures = self._model.get_signature_list()
            self.prefill_lengths = self._check_signatures()
            self.context_length = self._shape("decode", "kv_cache_k_0")[2]
            logits = self._model.get_output_tensor_details("decode")["logits"]
            self.vocabulary = int(logits["shape"][-1])
            self._caches = {
                name: self._model.create_input_buffer_by_name("decode", name)
                for name in self._inputs("decode")
                if name.startswith("kv_cache_")
            }
            self._buffers: dict[tuple[str, str], Any] = {}
            self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with _native_log():
            self._buffers.clear()
            self._caches.clear()
            del self._model
            gc.collect()

    def reset(self) -> None:
        """Forgets the text."""
        self.position = 0
        for name, buffer in self._caches.items():
            buffer.write(np.zeros(self._shape("decode", name), np.float32))

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
        positions = np.arange(self.position, self.position + length, dtype=np.int32)
        inputs = {"tokens": padded, "input_pos": positions}
        if "mask" in self._inputs(signature):
            slots = np.arange(self.context_length)
            visible = slots <= positions[:, None]
            inputs["mask"] = np.where(visible, 0.0, -1e9).astype(np.float32)[None, None]
        buffers = dict(self._caches)
        for name, value in inputs.items():
            buffers[name] = self._buffer(signature, name)
            buffers[name].write(value)
        outputs = {
            name: self._caches.get(name) or self._buffer(signature, name)
            for name in self._outputs(signature)
        }
        self._model.run_by_name(signature, buffers, outputs)
        self.position += len(tokens)

    def _buffer(self, signature: str, name: str) -> Any:
        """The buffer of an input or output that is not a cache."""
        key = (signature, name)
        if key not in self._buffers:
            with _native_log():
                if name in self._inputs(signature):
                    buffer = self._model.create_input_buffer_by_name(signature, name)
                else:
                    buffer = self._model.create_output_buffer_by_name(signature, name)
            self._buffers[key] = buffer
        return self._buffers[key]

    def _check_signatures(self) -> list[int]:
        """The lengths of the prefill signatures. Raises BundleError where something lacks."""
        decode = self._signatures.get("decode", {"inputs": [], "outputs": []})
        lengths = [
            self._shape(name, "input_pos")[0]
            for name in self._signatures
            if name.startswith("prefill_")
        ]
        lacks = [n for n in ("tokens", "input_pos", "kv_cache_k_0") if n not in decode["inputs"]]
        lacks += ["logits"] if "logits" not in decode["outputs"] else []
        if lacks or not lengths:
            raise BundleError(
                f"the model has the signatures {', '.join(sorted(self._signatures)) or 'none'}"
                f"{f', and decode has no {lacks[0]}' if lacks else ''}; an LLM has prefill_N and "
                "decode with tokens, input_pos, kv_cache_k_0 and logits"
            )
        return sorted(lengths)

    def _inputs(self, signature: str) -> list[str]:
        return self._signatures[signature]["inputs"]

    def _outputs(self, signature: str) -> list[str]:
        return self._signatures[signature]["outputs"]

    def _shape(self, signature: str, name: str) -> tuple[int, ...]:
        return tuple(self._model.get_input_tensor_details(signature)[name]["shape"])
