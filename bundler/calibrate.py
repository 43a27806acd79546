"""What a model's linear layers take, seen on a short text: for the converter's `smooth`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from ..converter.smooth import Ranges
from ..models._checkpoint import Checkpoint
from ..models._model import streamed_logits

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

    with _one_thread():
        streamed_logits(checkpoint, tokens, observe)
    return ranges


def _begin(checkpoint: Checkpoint) -> list[int]:
    """The id of the bos token, where the checkpoint names one."""
    begin = checkpoint.generation_config.get("bos_token_id", checkpoint.config.get("bos_token_id"))
    vocabulary = int(checkpoint.config["vocab_size"])
    return [begin] if type(begin) is int and 0 <= begin < vocabulary else []


@contextmanager
def _one_thread() -> Iterator[None]:
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
