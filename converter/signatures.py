"""The signatures: `prefill_{N}` and `decode`, as LLM runtimes look for them, and `encode`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from . import ConversionError
from .refine import refine
from .trace import Signature, TensorSpec

# Positions are constants of the graph: far more than any model's context, and little memory.
LONGEST_CONTEXT = 1 << 20
# A text's mask is a constant of length * length: 64 MB.
LONGEST_TEXT = 1 << 12


class DecoderModule(Protocol):
    """A decoder with an external key/value cache, as `decoder_signatures` takes it."""

    def empty_cache(self, context_length: int, /) -> Sequence[tuple[Tensor, Tensor]]:
        """The cache of each layer: two [1, kv_heads, context_length, head_dim]."""
        ...

    def __call__(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Sequence[tuple[Tensor, Tensor]],
        mask: Tensor | None,
        /,
    ) -> tuple[Tensor, Sequence[tuple[Tensor, Tensor]]]:
        """Logits [1, time, vocabulary] for tokens [1, time] at positions [time]; the new cache."""
        ...


def decoder_signatures(
    module: DecoderModule,
    prefill_lengths: Sequence[int],
    context_length: int,
    mask_input: bool = False,
    prefill_logits: bool = False,
) -> list[Signature]:
    """One `prefill_{N}` for each length, in rising order, and `decode`.

    Inputs are tokens, input_pos, kv_cache_k_{i}, kv_cache_v_{i}, and with mask_input a mask
    [1, 1, time, context_length] that is added to the scores; else the graph computes it from
    input_pos. Outputs are the caches, and logits in decode only, since a runtime
    feeds the last token of the prompt through decode; in all with prefill_logits.
    Source of the names: what LiteRT-LM and MediaPipe look for in a model.
    """
    if not 1 <= context_length <= LONGEST_CONTEXT:
        raise ConversionError(f"context length {context_length}: needed 1 to {LONGEST_CONTEXT}")
    if not prefill_lengths or not all(1 <= n <= context_length for n in prefill_lengths):
        raise ConversionError(
            f"prefill lengths {list(prefill_lengths)} with context length {context_length}: needed "
            "at least one, each from 1 to the context length"
        )
    with torch.device("meta"):
        empty = module.empty_cache(context_length)
    cache = {
        f"kv_cache_{kind}_{i}": TensorSpec(tuple(tensor.shape))
        for i, layer in enumerate(empty)
        for kind, tensor in zip("kv", layer, strict=True)
    }
    signatures = []
    for time, name in [(n, f"prefill_{n}") for n in sorted(set(prefill_lengths))] + [(1, "decode")]:
        inputs = {
            "tokens": TensorSpec((1, time), "int32"),
            "input_pos": TensorSpec((time,), "int32"),
        }
        if mask_input:
            inputs["mask"] = TensorSpec((1, 1, time, context_length))
        function = _step(module, logits=prefill_logits or name == "decode")
        signatures.append(Signature(name, {**inputs, **cache}, function))
    return signatures


class EncoderModule(Protocol):
    """An encoder, as `encoder_signature` takes it."""

    def __call__(self, tokens: Tensor, mask: Tensor, /) -> Mapping[str, Tensor]:
        """The outputs by name, for tokens [1, time]; mask: [1, time], 0 for padding, else 1."""
        ...


def encoder_signature(module: EncoderModule, length: int) -> Signature:
    """`encode`, for a text of up to `length` tokens, padded to that.

    Inputs: tokens, [1, length], int32, padded with any id; mask, [1, length], int32, 1 for a token
    and 0 for padding, as tokenizers give it. Outputs: the module's. It runs once a text, and its
    output is compared as a whole: precision goes before the last bit of speed.
    """
    if not 1 <= length <= LONGEST_TEXT:
        raise ConversionError(f"encode length {length}: needed 1 to {LONGEST_TEXT}")
    ids = TensorSpec((1, length), "int32")
    inputs = {"tokens": ids, "mask": ids}
    return Signature("encode", inputs, lambda tokens, mask: module(tokens, mask), refine)


def _step(module: DecoderModule, logits: bool) -> Callable[..., Mapping[str, Tensor]]:
    def step(
        tokens: Tensor, input_pos: Tensor, mask: Tensor | None = None, **cache: Any
    ) -> dict[str, Tensor]:
        layers = len(cache) // 2
        pairs = [(cache[f"kv_cache_k_{i}"], cache[f"kv_cache_v_{i}"]) for i in range(layers)]
        scores, written = module(tokens, input_pos, pairs, mask)
        outputs = {
            f"kv_cache_{kind}_{i}": tensor
            for i, layer in enumerate(written)
            for kind, tensor in zip("kv", layer, strict=True)
        }
        return {**outputs, "logits": scores} if logits else outputs

    return step
