"""Checks a TFLite model against what the runtimes look for in an LLM's."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from . import engines
from .engines import Runtime
from .findings import WARNING, Finding, finding
from .known_model_faults import MODEL_KNOWN
from .operators import DenseLayer, OperatorCode
from .tflite import ModelSummary, SignatureSummary, TensorSummary

_PREFILL = re.compile(r"prefill_([1-9]\d{0,8})")
_DECODE = "decode"
_LARGE_BYTES = 4 << 30
_CUSTOM = "CUSTOM"
_XNNPACK_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
_SHOWN_WEIGHTS = 60


def check_signatures(model: ModelSummary, runtime: Runtime) -> Iterator[Finding]:
    """Names, shapes and types of what each signature takes and gives."""
    names = [signature.name for signature in model.signatures]
    shown = ", ".join(names) or "none"
    if "encode" in names:
        yield _found("model.encoder", "signatures", f"are {shown}")
        return
    for name, count in Counter(names).items():
        if count > 1:
            yield _found("model.signature_twice", name, f"is there {count} times")
    if _DECODE not in names:
        yield _found("model.no_decode", "signatures", f"are {shown}")
    if not any(name.startswith("prefill") for name in names):
        yield _found("model.no_prefill", "signatures", f"are {shown}")
    used = {s.name: s for s in model.signatures if s.name.startswith(("prefill", _DECODE))}
    for signature in used.values():
        yield from _check_inputs(signature)
        yield from _check_cache_outputs(signature)
    if _DECODE in used:
        yield from _check_logits(used[_DECODE], runtime)
    yield from _check_caches(list(used.values()))
    yield from _check_lengths(list(used.values()))


def check_codes(codes: Iterable[OperatorCode], runtime: Runtime) -> Iterator[Finding]:
    """Operators and their versions."""
    for code in codes:
        where = f"operator {code.custom or code.name}"
        if code.name == _CUSTOM or code.custom:
            if code.custom not in (*engines.ENGINE_OPERATORS, *engines.LITERT_OPERATORS):
                yield _found("operator.custom", where, "is a custom operator")
            continue
        newest = runtime.operators.get(code.name)
        early = runtime.early_operators.get(code.name, newest)
        if newest is None:
            yield _found("operator.unknown", where, f"is not known to {runtime.name}")
        elif code.version > newest:
            what = f"has version {code.version}; {runtime.name} knows {newest} at most"
            yield _found("operator.version", where, what)
        elif early is not None and code.version > early:
            what = f"has version {code.version}; the first releases of it knew {early or 'none'}"
            yield finding(MODEL_KNOWN, "operator.version", where, what, WARNING)


def check_layers(layers: Sequence[DenseLayer]) -> Iterator[Finding]:
    """Weights that XNNPACK would leave to slower kernels, or that no kernel takes.

    The rules were found by asking LiteRT 2.3.0 about a model with each form; a test asks again.
    """
    reasons: dict[tuple[str, str], list[str]] = {}
    for layer in layers:
        if reason := _reason(layer):
            reasons.setdefault(reason, []).append(layer.weights)
    for (code, what), weights in reasons.items():
        first = f"{weights[0][:_SHOWN_WEIGHTS]!r}" if weights[0] else "without a name"
        yield _found(code, f"weights {first}", f"{what}; {len(weights)} of {len(layers)} layers")


def check_memory(model: ModelSummary, layers: Sequence[DenseLayer]) -> Iterator[Finding]:
    """What a phone will need, measured on LiteRT-LM 0.18.1 with SmolLM2 (docs/doctor.md).

    XNNPACK packs the weights of layers, as many bytes once more, and once for each signature where
    the engine has no folder to keep them in. The caches are there twice, as inputs and as outputs.
    """
    packed, caches = sum(layer.size_bytes for layer in layers), 2 * model.cache_bytes
    copies = max(1, len(model.signatures))
    total = packed + caches
    what = (
        f"about {_megabytes(total)}, {_megabytes(packed)} of them packed weights and "
        f"{_megabytes(caches)} key/value caches, beside the model's "
        f"{_megabytes(model.size_bytes)}, which are mapped; without a cache folder up to "
        f"{_megabytes(copies * packed + caches)}"
    )
    yield _found("memory.large" if total > _LARGE_BYTES else "memory.needed", "memory", what)


def _found(code: str, where: str, what: str) -> Finding:
    return finding(MODEL_KNOWN, code, where, what)


def _named(tensors: Iterable[TensorSummary], names: Sequence[str]) -> TensorSummary | None:
    return next((tensor for tensor in tensors if tensor.name in names), None)


def _shown(tensor: TensorSummary) -> str:
    return f"is {tensor.dtype} {list(tensor.shape)}"


def _check_inputs(signature: SignatureSummary) -> Iterator[Finding]:
    inputs, where = signature.inputs, signature.name
    names = ", ".join(tensor.name for tensor in inputs if not _is_cache(tensor)) or "none"
    tokens, positions = _named(inputs, engines.TOKENS), _named(inputs, engines.POSITIONS)
    if tokens is None and _named(inputs, engines.EMBEDDINGS) is None:
        yield _found("model.no_tokens", where, f"takes {names}")
    if positions is None:
        yield _found("model.no_positions", where, f"takes {names}")
    for tensor in (tokens, positions):
        if tensor is not None and tensor.dtype != "int32":
            yield _found("model.tokens_type", f"{where}: {tensor.name}", _shown(tensor))
    for tensor in inputs:
        if tensor.name in engines.MASKS:
            if len(tensor.shape) != 4 or tensor.dtype not in engines.MASK_TYPES:
                yield _found("model.mask_shape", f"{where}: {tensor.name}", _shown(tensor))
        elif not _is_known(tensor) and tokens is not None and positions is not None:
            yield _found("model.input_unknown", f"{where}: {tensor.name}", _shown(tensor))


def _is_cache(tensor: TensorSummary) -> bool:
    return tensor.name.startswith(engines.CACHES)


def _is_known(tensor: TensorSummary) -> bool:
    known = (*engines.TOKENS, *engines.EMBEDDINGS, *engines.POSITIONS, *engines.OTHERS)
    return tensor.name in known or _is_cache(tensor) or tensor.name.startswith(engines.LORA)


def _check_cache_outputs(signature: SignatureSummary) -> Iterator[Finding]:
    given = {tensor.name: tensor for tensor in signature.outputs}
    missing = [t.name for t in signature.inputs if _is_cache(t) and t.name not in given]
    if missing:
        what = f"takes {missing[0]} and does not give it back ({len(missing)} caches)"
        yield _found("model.cache_outputs", signature.name, what)
    for tensor in filter(_is_cache, signature.inputs):
        if given.get(tensor.name, tensor) != tensor:
            what = f"{_shown(tensor)}; its output {_shown(given[tensor.name])}"
            yield _found("model.cache_shape", f"{signature.name}: {tensor.name}", what)
            return


def _check_logits(decode: SignatureSummary, runtime: Runtime) -> Iterator[Finding]:
    logits = _named(decode.outputs, (engines.LOGITS,))
    where = f"{decode.name}: {engines.LOGITS}"
    if logits is None:
        names = ", ".join(t.name for t in decode.outputs if not _is_cache(t)) or "caches alone"
        yield _found("model.no_logits", decode.name, f"gives {names}")
        return
    if logits.dtype not in runtime.logits:
        yield _found("model.logits_type", where, _shown(logits))
    if len(logits.shape) != 3 or logits.shape[-1] < 1:
        yield _found("model.logits_shape", where, _shown(logits))


def _check_caches(signatures: Sequence[SignatureSummary]) -> Iterator[Finding]:
    """That all signatures have the same caches."""
    if not any(_is_cache(tensor) for each in signatures for tensor in each.inputs):
        if signatures:
            names = ", ".join(tensor.name for tensor in signatures[-1].inputs)
            yield _found("model.no_cache", signatures[-1].name, f"takes {names[:200]}")
        return
    first: dict[str, tuple[str, TensorSummary]] = {}
    for signature in signatures:
        for tensor in filter(_is_cache, signature.inputs):
            name, known = first.setdefault(tensor.name, (signature.name, tensor))
            gives_itself = _named(signature.outputs, (tensor.name,)) in (None, tensor)
            if known != tensor and gives_itself:
                what = f"{_shown(tensor)}; in {name} it {_shown(known)}"
                yield _found("model.cache_shape", f"{signature.name}: {tensor.name}", what)
                return


def _check_lengths(signatures: Sequence[SignatureSummary]) -> Iterator[Finding]:
    for signature in signatures:
        match = _PREFILL.fullmatch(signature.name)
        positions = _named(signature.inputs, engines.POSITIONS)
        if match is None or positions is None or not positions.shape:
            continue
        length = positions.shape[-1]
        if length != int(match[1]):
            what = f"takes {length} positions"
            yield _found("model.prefill_length", signature.name, what)
        context = max((t.shape[2] for t in signature.inputs if _is_rank_4_cache(t)), default=length)
        if length > context:
            what = f"takes {length} tokens; the caches hold {context}"
            yield _found("model.prefill_larger", signature.name, what)


def _is_rank_4_cache(tensor: TensorSummary) -> bool:
    """Whether dimension 2 counts tokens: keys and values lie otherwise in others' models."""
    return _is_cache(tensor) and len(tensor.shape) == 4 and tensor.shape[2] > tensor.shape[3]


def _reason(layer: DenseLayer) -> tuple[str, str] | None:
    """The code of the finding, and what is the matter; None for a layer that XNNPACK takes."""
    if layer.input_dtype != "float32":
        return None
    if layer.dtype in ("int8", "int4"):
        if layer.zero_points:
            return "weights.zero_point", f"{layer.dtype} with zero points"
        if layer.block and layer.block % 32:
            return "weights.off_delegate", f"{layer.dtype} in blocks of {layer.block}"
        if layer.scales > 1 and layer.dimension:
            return "weights.off_delegate", f"{layer.dtype} with a scale a column, not a row"
    elif layer.dtype == "uint8":
        return "weights.off_delegate", "uint8"
    elif layer.dtype in ("float16", "bfloat16", "int16"):
        return "weights.type", layer.dtype
    if layer.activation not in _XNNPACK_ACTIVATIONS:
        return "weights.off_delegate", f"the layer ends in {layer.activation}"
    return None


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
