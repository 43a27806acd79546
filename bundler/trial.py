"""Runs a model for a moment in a process of its own: one prefill and a few decode steps.

A damaged or hostile model can take down the process that runs it, although every number that we
read of it was checked: LiteRT believes more than we know of. `python -m taskpress.bundler.trial
FILE OFFSET SIZE` is the process; it prints a line of JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import engines
from .memory import available_memory_bytes, peak_memory_bytes

_SECONDS = 60.0
_BYTES_PER_SECOND = 10e6  # of the model: on a slow disk, with weights to be packed
_COPIES = 8  # of the model that LiteRT's interpreter may have: read, and packed by each signature
_LEAST_ADDRESSES = 8 << 30  # that a process of LiteRT's may have; it reserves more than it uses
_STEPS = 4
_LOG_BYTES = 1 << 16


@dataclass(frozen=True)
class Trial:
    """outcome: "ran", "not_finite", "refused", "crashed", "hung", or "skipped" for want of memory.

    said: the reason, LiteRT's where there is one.
    """

    outcome: str
    said: str = ""
    peak_bytes: int = 0


def try_model(file: Path, offset: int, size: int) -> Trial:
    """Runs the model that lies at these bytes of the file, within limits of time and memory."""
    available = available_memory_bytes()
    if available is not None and _COPIES * size > available:
        need = f"may take {_COPIES * size / 1e6:,.0f} MB; {available / 1e6:,.0f} MB are free"
        return Trial("skipped", f"was not run: {need}")
    command = [sys.executable, "-m", __spec__.name, str(file), str(offset), str(size)]
    seconds = _SECONDS + size / _BYTES_PER_SECOND
    with tempfile.TemporaryFile() as log:
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                timeout=seconds, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Trial("hung", f"did not end within {seconds:.0f} s")
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
        lines = log.read().decode(errors="replace").splitlines()
    if ended.returncode < 0:
        return Trial("crashed", f"signal {-ended.returncode}")
    try:
        told = json.loads(ended.stdout)
        return Trial(str(told["outcome"]), str(told["said"]), int(told["peak_bytes"]))
    except (ValueError, KeyError, TypeError):
        last = lines[-1][:300] if lines else "it printed nothing"
        return Trial("crashed", f"exit code {ended.returncode}: {last}")


def main() -> None:
    file, offset, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _limit_memory(size)
    try:
        outcome, said = _run(file, offset, size)
    except (RuntimeError, ValueError, MemoryError) as error:
        outcome, said = "refused", " ".join(str(error).split())[:300] or type(error).__name__
    told = {"outcome": outcome, "said": said, "peak_bytes": peak_memory_bytes()}
    sys.stdout.write(json.dumps(told))
    sys.stdout.flush()
    # what LiteRT still holds is not worth a crash at the end
    os._exit(0)


def _limit_memory(size: int) -> None:
    import resource

    most = _LEAST_ADDRESSES + _COPIES * size
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > most:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    # a crash is an answer here, and its dump would be as large as the model
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _run(file: Path, offset: int, size: int) -> tuple[str, str]:
    from ai_edge_litert.interpreter import Interpreter

    if offset == 0 and size == file.stat().st_size:
        interpreter = Interpreter(model_path=str(file))
    else:
        with file.open("rb") as opened:
            opened.seek(offset)
            interpreter = Interpreter(model_content=opened.read(size))
    return _Runner(interpreter).run()


class _Runner:
    """A text of a few tokens, whatever they mean, through the shortest prefill and decode."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._caches: dict[str, Any] = {}

    def run(self) -> tuple[str, str]:
        import numpy as np

        names = self._interpreter.get_signature_list()
        prefills = {name: self._length(name) for name in names if name.startswith("prefill")}
        name, length = min(prefills.items(), key=lambda item: item[1])
        self._call(name, np.arange(1, length + 1), 0)
        token = 1
        for step in range(_STEPS):
            logits = self._call("decode", np.array([token]), length + step)[engines.LOGITS]
            last = logits.reshape(-1, logits.shape[-1])[-1].astype(np.float32)
            if not np.isfinite(last).all():
                bad = int((~np.isfinite(last)).sum())
                return "not_finite", f"{bad} of {last.size} logits are no numbers, step {step}"
            token = int(last.argmax())
        return "ran", f"prefill of {length} and {_STEPS} decode steps"

    def _length(self, signature: str) -> int:
        details = self._interpreter.get_signature_runner(signature).get_input_details()
        return next(int(details[n]["shape"][-1]) for n in engines.POSITIONS if n in details)

    def _call(self, signature: str, tokens: Any, position: int) -> Mapping[str, Any]:
        """Runs a signature; keeps the caches that it gives."""
        runner = self._interpreter.get_signature_runner(signature)
        inputs = {
            name: self._input(name, details, tokens, position)
            for name, details in runner.get_input_details().items()
        }
        outputs = runner(**inputs)
        self._caches |= {n: v for n, v in outputs.items() if n.startswith(engines.CACHES)}
        return outputs

    def _input(self, name: str, details: Mapping[str, Any], tokens: Any, position: int) -> Any:
        import numpy as np

        shape, dtype = tuple(details["shape"]), details["dtype"]
        if name in self._caches:
            return self._caches[name]
        if name in engines.TOKENS:
            return np.broadcast_to(tokens.astype(dtype), shape)
        positions = np.arange(position, position + len(tokens))
        if name in engines.POSITIONS:
            return positions.astype(dtype).reshape(shape)
        if name in engines.MASKS:
            visible = np.arange(shape[-1]) <= positions[:, None]
            # float16's least number is -65504
            masked = visible if dtype == np.bool_ else np.where(visible, 0.0, -45824.0)
            return np.broadcast_to(masked.astype(dtype), shape)
        return np.zeros(shape, dtype)


if __name__ == "__main__":
    main()
