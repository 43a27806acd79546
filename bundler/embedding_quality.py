"""How far a converted encoder's embeddings are from those of the checkpoint it was made from."""

import gc
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..models._checkpoint import Checkpoint
from . import BundleError
from .progress import Progress
from .quality import sample_text
from .rebuild import Encode
from .session import compiled, complaints, native_log, silence_at_exit


@dataclass(frozen=True)
class EmbeddingQuality:
    """Cosines over the sentences of a text, between the checkpoint's output in float32 and the
    model's: the mean and the least."""

    texts: int
    mean_cosine: float
    least_cosine: float


def measure_encoder(
    checkpoint: Checkpoint, model: Path | bytes, encode: Encode, progress: Progress
) -> EmbeddingQuality:
    """Compares a model's `encode` with its checkpoint on the sentences of the sample text.

    Of hidden states, those of the tokens are compared as one vector. Raises BundleError where
    LiteRT refuses the model.
    """
    from ..models._model import streamed_outputs
    from .calibrate import encoder_tokens

    def read(length: int) -> list[list[int]]:
        return [encoder_tokens(checkpoint, encode, text, length) for text in sentences()]

    silence_at_exit()
    with native_log() as log:
        try:
            texts, outputs = _run(model, read, progress)
        except RuntimeError as error:
            # Its frames hold the model, which logs once more when it goes: that must be now.
            error.with_traceback(None)
            raise BundleError(f"LiteRT refuses the model: {complaints(log)}") from error
        finally:
            gc.collect()
    expected = [y.flatten().numpy() for y in streamed_outputs(checkpoint, texts)]
    cosines = [cosine(x[: y.size], y) for x, y in zip(outputs, expected, strict=True)]
    return EmbeddingQuality(len(texts), float(np.mean(cosines)), float(np.min(cosines)))


def sentences() -> list[str]:
    """Those of the sample text."""
    return re.split(r"(?<=[.!?])\s+", sample_text().strip())


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    """Of two vectors; 0 where one is 0, and NaN where one is not finite."""
    return float(x @ y / max(float(np.linalg.norm(x) * np.linalg.norm(y)), 1e-12))


def _run(
    model: Path | bytes, read: Callable[[int], list[list[int]]], progress: Progress
) -> tuple[list[list[int]], list[np.ndarray]]:
    """The tokens of each text, and what `encode` makes of them, flat.

    read: gives the texts for a length.
    """
    runner: Any = compiled(model, 1)
    takes = runner.get_input_tensor_details("encode")
    ((name, gives),) = runner.get_output_tensor_details("encode").items()
    inputs = {key: runner.create_input_buffer_by_name("encode", key) for key in takes}
    result = runner.create_output_buffer_by_name("encode", name)
    length = int(takes["tokens"]["shape"][-1])
    texts, outputs = read(length), []
    for i, tokens in enumerate(texts):
        padding = [0] * (length - len(tokens))
        inputs["tokens"].write(np.array([[*tokens, *padding]], np.int32))
        inputs["mask"].write(np.array([[*[1] * len(tokens), *padding]], np.int32))
        runner.run_by_name("encode", inputs, {name: result})
        outputs.append(result.read(int(np.prod(gives["shape"])), np.float32))
        progress(i + 1, len(texts))
    return texts, outputs
