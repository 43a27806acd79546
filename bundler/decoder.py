"""What a session needs of a model's signatures, checked before native code sees the model."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import BundleError
from .summary import summarize
from .tflite import ModelSummary, SignatureSummary, TensorSummary

_PREFILL = re.compile(r"prefill_([1-9]\d{0,8})")


@dataclass(frozen=True)
class Decoder:
    """An LLM's signatures: `decode`, and `prefill_N` for each of the lengths, in rising order.

    All of them take and give the caches: [1, kv_heads, slots, head_dim], float32, where slots is
    the context length, or fewer in sliding layers that keep no more.
    """

    prefill_lengths: tuple[int, ...]
    context_length: int
    vocabulary: int
    caches: tuple[TensorSummary, ...]


def check_model(path: Path) -> int:
    """The tokens that the model's cache holds; 0 for one that is laid out in another way than ours.

    Raises BundleError for a file that is no TFLite model, or not one of an LLM at all. More is not
    asked of models that others converted: runtimes differ in the names they look for.
    """
    model = summarize(path).model
    if model is None:
        raise BundleError(f"{path}: is no TFLite model; make one with taskpress convert")
    names = [signature.name for signature in model.signatures]
    prefill = any(name.startswith("prefill") for name in names)
    # With `encode`, the decoder's other inputs are what an encoder makes of another text.
    if "decode" not in names or not prefill or "encode" in names:
        raise _no_llm(str(path), names)
    return context_length_of(path)


def context_length_of(path: Path) -> int:
    """The tokens that the cache of a model, or of a bundle's, holds; 0 where we cannot tell.

    Raises BundleError for a file that has no model.
    """
    model = summarize(path).model
    if model is None:
        raise BundleError(f"{path}: has no TFLite model; needs one")
    try:
        return decoder_of(model, str(path)).context_length
    except BundleError:
        return 0


def _no_llm(where: str, names: Iterable[str]) -> BundleError:
    return BundleError(
        f"{where}: has the signatures {', '.join(sorted(names)) or 'none'}; an LLM has decode and "
        "prefill_N, and no encode"
    )


def decoder_of(model: ModelSummary, where: str) -> Decoder:
    """Raises BundleError where the signatures are not those that a conversion of ours gives."""
    signatures = {signature.name: signature for signature in model.signatures}
    lengths = sorted(int(match[1]) for match in map(_PREFILL.fullmatch, signatures) if match)
    if "decode" not in signatures or not lengths:
        raise _no_llm(where, signatures)
    decode = signatures["decode"]
    caches = tuple(t for t in decode.inputs if t.name.startswith("kv_cache_"))
    logits = [t for t in decode.outputs if t.name == "logits"]
    if not caches or any(len(t.shape) != 4 or min(t.shape) < 1 for t in caches) or not logits:
        raise BundleError(
            f"{where}: decode has {len(caches)} caches and {len(logits)} logits; caches of 4 "
            "dimensions and logits are needed"
        )
    context_length = max(cache.shape[2] for cache in caches)
    vocabulary = logits[0].shape[-1] if logits[0].shape else 0
    found = Decoder(tuple(lengths), context_length, vocabulary, caches)
    for time, name in [(1, "decode"), *((n, f"prefill_{n}") for n in lengths)]:
        _check_signature(signatures[name], time, found, f"{where}: {name}")
    return found


def _check_signature(signature: SignatureSummary, time: int, decoder: Decoder, where: str) -> None:
    takes = [
        TensorSummary("tokens", "int32", (1, time)),
        TensorSummary("input_pos", "int32", (time,)),
    ]
    if any(tensor.name == "mask" for tensor in signature.inputs):
        takes.append(TensorSummary("mask", "float32", (1, 1, time, decoder.context_length)))
    _check_tensors(signature.inputs, [*takes, *decoder.caches], f"{where}: input")
    gives = list(decoder.caches)
    if any(tensor.name == "logits" for tensor in signature.outputs) or signature.name == "decode":
        gives.append(TensorSummary("logits", "float32", (1, time, decoder.vocabulary)))
    _check_tensors(signature.outputs, gives, f"{where}: output")


def _check_tensors(
    found: Iterable[TensorSummary], needed: Iterable[TensorSummary], where: str
) -> None:
    rest = {tensor.name: tensor for tensor in found}
    for tensor in needed:
        other = rest.pop(tensor.name, None)
        if other != tensor:
            raise BundleError(f"{where} {tensor.name}: {_shown(other)}; needs {_shown(tensor)}")
    for name in rest:
        raise BundleError(f"{where} {name}: not one that taskpress runs")


def _shown(tensor: TensorSummary | None) -> str:
    return "is not there" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"
