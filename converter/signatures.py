"""The signatures: `prefill_{N}` and `decode`, as LLM runtimes look for them, and `encode`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from . import ConversionError
from .refine import refine
from .trace import Signature, TensorSpec

# Positions are constants of the graph: far more than any model's context, and little memory.
LONGEST_CONTEXT = 1 << 20
# A text's mask is a constant of length * length: 64 MB.
LONGEST_TEXT = 1 << 12

# Of each layer, keys and values.
Layers = Sequence[tuple[Tensor, Tensor]]


class DecoderModule(Protocol):
    """A decoder with an external key/value cache, as `decoder_signatures` takes it."""

    def empty_cache(self, context_length: int, longest: int | None = None, /) -> Layers:
        """The cache of each layer: two [1, kv_heads, slots, head_dim].

        slots: context_length; with longest fewer in some layers, where chunks of up to so many
        tokens need no more, but not in all.
        """
        ...

    def __call__(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Layers,
        mask: Tensor | None,
        /,
    ) -> tuple[Tensor, Layers]:
        """Logits [1, time, vocabulary] for tokens [1, time] at positions [time]; the new cache."""
        ...


def decoder_signatures(
    module: DecoderModule,
    prefill_lengths: Sequence[int],
    context_length: int,
    mask_input: bool = False,
    prefill_logits: bool = False,
    rings: bool = False,
) -> list[Signature]:
    """One `prefill_{N}` for each length, in rising order, and `decode`.

    Inputs are tokens, input_pos, kv_cache_k_{i}, kv_cache_v_{i}, and with mask_input a mask
    [1, 1, time, context_length] that is added to the scores; else the graph computes it from
    input_pos. Outputs are the caches, and logits in decode only, since a runtime
    feeds the last token of the prompt through decode; in all with prefill_logits. rings: sliding
    layers have caches of fewer slots, see `DecoderModule.empty_cache`, and the caches of other
    layers have the first numbers.
    Source of the names: what LiteRT-LM and MediaPipe look for in a model.
    """
    if not prefill_lengths:
        raise ConversionError(
            f"prefill lengths [] with context length {context_length}: needed at least one"
        )
    _check_lengths(prefill_lengths, context_length)
    if rings:
        module = _LongestFirst(module, context_length, max(prefill_lengths))
    with torch.device("meta"):
        cache = _specs("kv_cache", module.empty_cache(context_length))
    return _steps(module, prefill_lengths, context_length, mask_input, prefill_logits, cache)


class _LongestFirst:
    """A decoder some of whose caches are short, in another order: the longest ones first.

    LiteRT-LM 0.18.1 takes the slots of kv_cache_k_0 for the context length, and ends an answer
    there without a word; a model's first layer may be a sliding one.
    """

    def __init__(self, module: DecoderModule, context_length: int, longest: int) -> None:
        self.module, self.longest = module, longest
        with torch.device("meta"):
            slots = [key.shape[2] for key, _ in module.empty_cache(context_length, longest)]
        self.order = sorted(range(len(slots)), key=lambda layer: -slots[layer])

    def empty_cache(self, context_length: int, longest: int | None = None, /) -> Layers:
        return self._ordered(self.module.empty_cache(context_length, longest or self.longest))

    def __call__(
        self, tokens: Tensor, positions: Tensor, cache: Layers, mask: Tensor | None, /
    ) -> tuple[Tensor, Layers]:
        of_layers = dict(zip(self.order, cache, strict=True))
        cache = [of_layers[layer] for layer in range(len(cache))]
        scores, written = self.module(tokens, positions, cache, mask)
        return scores, self._ordered(written)

    def _ordered(self, layers: Layers) -> Layers:
        return [layers[layer] for layer in self.order]


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
    return Signature("encode", _text(length), lambda tokens, mask: module(tokens, mask), refine)


class EncoderDecoderModule(Protocol):
    """An encoder and a decoder, as `encoder_decoder_signatures` takes them."""

    def empty_cache(self, context_length: int, /) -> Layers:
        """As `DecoderModule.empty_cache`."""
        ...

    def empty_memory(self, length: int, /) -> Layers:
        """Zeros in the shape of what `encode` gives for so many tokens."""
        ...

    def encode(self, tokens: Tensor, mask: Tensor, /) -> Layers:
        """Keys and values of a text, for the cross-attention of each layer of the decoder."""
        ...

    def __call__(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Layers,
        mask: Tensor | None,
        memory: Layers,
        encoder_mask: Tensor,
        /,
    ) -> tuple[Tensor, Layers]:
        """As `DecoderModule`'s; memory: from `encode`; encoder_mask: what that took."""
        ...


def encoder_decoder_signatures(
    module: EncoderDecoderModule,
    encode_length: int,
    context_length: int,
    prefill_lengths: Sequence[int] = (),
    mask_input: bool = False,
    prefill_logits: bool = False,
) -> list[Signature]:
    """`encode`, for a text of up to `encode_length` tokens, and the signatures of a decoder.

    `encode` takes what an encoder's does, and gives cross_k_{i} and cross_v_{i} for each layer of
    the decoder: [1, heads, encode_length, head_dim]. The decoder takes these, and as encoder_mask
    the mask that `encode` took; all else as in `decoder_signatures`. A prompt is for `encode`: only
    what an answer must begin with is prefilled, so that there may be no such signature.
    """
    text = _text(encode_length)
    _check_lengths(prefill_lengths, context_length)
    with torch.device("meta"):
        cache = _specs("kv_cache", module.empty_cache(context_length))
        memory = _specs("cross", module.empty_memory(encode_length))

    def encode(tokens: Tensor, mask: Tensor) -> Mapping[str, Tensor]:
        return _named("cross", module.encode(tokens, mask))

    more = {**cache, **memory, "encoder_mask": text["mask"]}
    steps = _steps(module, prefill_lengths, context_length, mask_input, prefill_logits, more)
    return [Signature("encode", text, encode, refine), *steps]


def _text(length: int) -> dict[str, TensorSpec]:
    """The inputs of `encode`."""
    if not 1 <= length <= LONGEST_TEXT:
        raise ConversionError(f"encode length {length}: needed 1 to {LONGEST_TEXT}")
    ids = TensorSpec((1, length), "int32")
    return {"tokens": ids, "mask": ids}


def _check_lengths(prefill_lengths: Sequence[int], context_length: int) -> None:
    if not 1 <= context_length <= LONGEST_CONTEXT:
        raise ConversionError(f"context length {context_length}: needed 1 to {LONGEST_CONTEXT}")
    if not all(1 <= n <= context_length for n in prefill_lengths):
        raise ConversionError(
            f"prefill lengths {list(prefill_lengths)} with context length {context_length}: needed "
            "each from 1 to the context length"
        )


def _steps(
    module: DecoderModule | EncoderDecoderModule,
    prefill_lengths: Sequence[int],
    context_length: int,
    mask_input: bool,
    prefill_logits: bool,
    state: Mapping[str, TensorSpec],
) -> list[Signature]:
    """The signatures of a decoder. state: the inputs that all of them take besides the chunk."""
    signatures = []
    for time, name in [(n, f"prefill_{n}") for n in sorted(set(prefill_lengths))] + [(1, "decode")]:
        inputs = {
            "tokens": TensorSpec((1, time), "int32"),
            "input_pos": TensorSpec((time,), "int32"),
        }
        if mask_input:
            inputs["mask"] = TensorSpec((1, 1, time, context_length))
        function = _step(module, logits=prefill_logits or name == "decode")
        signatures.append(Signature(name, {**inputs, **state}, function))
    return signatures


def _step(
    module: Callable[..., tuple[Tensor, Layers]], logits: bool
) -> Callable[..., Mapping[str, Tensor]]:
    def step(
        tokens: Tensor,
        input_pos: Tensor,
        mask: Tensor | None = None,
        encoder_mask: Tensor | None = None,
        **layers: Tensor,
    ) -> dict[str, Tensor]:
        memory = () if encoder_mask is None else (_layers("cross", layers), encoder_mask)
        cache = _layers("kv_cache", layers)
        scores, written = module(tokens, input_pos, cache, mask, *memory)
        outputs = _named("kv_cache", written)
        return {**outputs, "logits": scores} if logits else outputs

    return step


def _named(prefix: str, layers: Layers) -> dict[str, Tensor]:
    """{prefix}_k_{i} and {prefix}_v_{i}, of each layer."""
    return {
        f"{prefix}_{kind}_{i}": tensor
        for i, layer in enumerate(layers)
        for kind, tensor in zip("kv", layer, strict=True)
    }


def _layers(prefix: str, tensors: Mapping[str, Tensor]) -> Layers:
    """The layers that `_named` gave these names."""
    count = sum(name.startswith(f"{prefix}_k_") for name in tensors)
    return [(tensors[f"{prefix}_k_{i}"], tensors[f"{prefix}_v_{i}"]) for i in range(count)]


def _specs(prefix: str, layers: Layers) -> dict[str, TensorSpec]:
    return {name: TensorSpec(tuple(x.shape)) for name, x in _named(prefix, layers).items()}
