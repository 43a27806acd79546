"""What a model's linear layers take, seen on a short text: for the converter's `smooth`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..converter.smooth import Ranges
from ..models import ENCODER_DECODERS, CheckpointError, model_type_of
from ..models._checkpoint import Checkpoint
from ..models._model import streamed_answers, streamed_logits, streamed_outputs
from .rebuild import Encode

# Enough to see which channels have outliers: they are the same ones in every text.
_TOKENS = 128


def calibration_text() -> str:
    """Prose, code, a list, numbers and four languages, written for this purpose."""
    return Path(__file__).with_name("calibration.txt").read_text("utf-8")


def ranges_of(
    checkpoint: Checkpoint, tokens: list[int], progress: Callable[[int, int], None]
) -> dict[str, Ranges]:
    """Runs the checkpoint once, in float32, on the first of these tokens; by weights' names.

    The text begins with the checkpoint's bos token, as texts do in use: models put outliers of
    their own on the first position. progress: called with the linear layers done and the
    matrices in all.
    """
    tokens = [*_begin(checkpoint), *tokens][:_TOKENS]
    ranges: dict[str, Ranges] = {}
    matrices = sum(len(info.shape) == 2 for info in checkpoint.tensors.values())

    def observe(name: str, x: Tensor, weights: Tensor) -> None:
        ranges[name] = Ranges(x.abs().flatten(0, -2).amax(0).numpy(), weights.numpy())
        progress(len(ranges), matrices)

    with one_thread():
        streamed_logits(checkpoint, tokens, observe)
    return ranges


def encoder_ranges_of(
    checkpoint: Checkpoint, encode: Encode, length: int, progress: Callable[[int, int], None]
) -> dict[str, Ranges]:
    """As `ranges_of`, for an encoder: what it takes of each paragraph as a text by itself.

    A decoder beside it takes the same text, as the answer that it has given so far. encode: gives
    the special tokens too, which have outliers of their own; length: the most tokens that the
    encoder takes.
    """
    length = min(length, _TOKENS)
    paragraphs = calibration_text().strip().split("\n\n")
    texts = [encoder_tokens(checkpoint, encode, text, length) for text in paragraphs]
    ranges: dict[str, Ranges] = {}
    done = 0
    matrices = sum(len(info.shape) == 2 for info in checkpoint.tensors.values())

    def observe(name: str, x: Tensor, weights: Tensor) -> None:
        nonlocal done
        done += 1
        inputs = x.abs().flatten(0, -2).amax(0).numpy()
        if name in ranges:
            inputs = np.maximum(inputs, ranges[name].inputs)
        ranges[name] = Ranges(inputs, weights.numpy())
        progress(done // len(texts), matrices)

    with one_thread():
        if model_type_of(checkpoint.config) in ENCODER_DECODERS:
            streamed_answers(checkpoint, [(t, answer_to(checkpoint, t)) for t in texts], observe)
        else:
            streamed_outputs(checkpoint, texts, observe)
    return ranges


def answer_to(checkpoint: Checkpoint, text: list[int]) -> list[int]:
    """What a decoder takes while it repeats a text: the token that all answers start with first."""
    config = {**checkpoint.config, **checkpoint.generation_config}
    named = [config.get(key) for key in ("decoder_start_token_id", "pad_token_id")]
    vocabulary = int(checkpoint.config["vocab_size"])
    start = next((i for i in named if type(i) is int and 0 <= i < vocabulary), 0)
    return [start, *text[:-1]]


def encoder_tokens(checkpoint: Checkpoint, encode: Encode, text: str, length: int) -> list[int]:
    """The ids of a text, of which the last ones before the end are left out if it is too long.

    Raises CheckpointError where the model has no embedding for one.
    """
    tokens, vocabulary = encode(text), int(checkpoint.config["vocab_size"])
    if not tokens or max(tokens) >= vocabulary:
        raise CheckpointError(
            f"{checkpoint.path}: vocab_size={vocabulary}, and the tokenizer gives the ids "
            f"{tokens!r:.80}; it is another model's"
        )
    return tokens if len(tokens) <= length else [*tokens[: length - 1], tokens[-1]]


def _begin(checkpoint: Checkpoint) -> list[int]:
    """The id of the bos token, where the checkpoint names one."""
    begin = checkpoint.generation_config.get("bos_token_id", checkpoint.config.get("bos_token_id"))
    vocabulary = int(checkpoint.config["vocab_size"])
    return [begin] if type(begin) is int and 0 <= begin < vocabulary else []


@contextmanager
def one_thread() -> Iterator[None]:
    """Has torch use one thread meanwhile.

    The products are small: with more, on a machine that is busy, threads mostly wait for each
    other, and spin (measured: 17 s of CPU in the place of 1.4).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
