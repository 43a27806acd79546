"""Bundles with a broken model: signatures, tensors, operators and weights that no engine takes."""

from collections.abc import Callable, Iterator
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from broken_archives import with_entry
from faults import Parts, fault
from taskpress.bundler.parts import MODEL

TYPE = schema.TensorType
OPERATOR = schema.BuiltinOperator


def edited_model(model: bytes, edit: Callable[[Any, list[bytes]], None]) -> bytes:
    """The model after `edit(its object tree, the bytes of its buffers)`.

    Weights are put behind the flatbuffer, on 64 bytes: Python's packer aligns none.
    """
    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    weights = [
        model[each.offset : each.offset + each.size]
        if each.offset > 1
        else bytes(each.data if each.data is not None else b"")
        for each in tree.buffers
    ]
    edit(tree, weights)

    def packed(offsets: list[int]) -> bytes:
        for buffer, data, offset in zip(tree.buffers, weights, offsets, strict=True):
            buffer.data, buffer.size = None, len(data)
            buffer.offset = offset if data else 0
        builder = flatbuffers.Builder()
        builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    # a field that is 0 is left out: 2 keeps its room, as the true offsets will take it
    end, offsets = len(packed([2] * len(weights))), []
    for data in weights:
        end += -end % 64
        offsets.append(end)
        end += len(data)
    out = bytearray(packed(offsets))
    for data, offset in zip(weights, offsets, strict=True):
        if data:
            out += bytes(offset - len(out)) + data
    return bytes(out)


Edit = Callable[[Any, list[bytes]], None]


def model_fault(code: str, title: str) -> Callable[[Edit], Edit]:
    def add(edit: Edit) -> Edit:
        def make(parts: Parts) -> bytes:
            return with_entry(parts, MODEL, data=edited_model(parts.model, edit))

        fault(code, title)(make)
        return edit

    return add


def signature(tree: Any, name: str) -> Any:
    return next(each for each in tree.signatureDefs if each.signatureKey == name.encode())


def maps(tree: Any, name: str, *signatures: str) -> Iterator[Any]:
    """The inputs and outputs of this name, of the signatures given or of all."""
    for each in tree.signatureDefs:
        if not signatures or each.signatureKey.decode() in signatures:
            for entry in [*each.inputs, *each.outputs]:
                if entry.name == name.encode():
                    yield entry


def rename(old: str, new: str) -> Edit:
    def edit(tree: Any, weights: list[bytes]) -> None:
        for entry in maps(tree, old):
            entry.name = new.encode()

    return edit


def code_of(tree: Any, operator: int, version: int = 1) -> int:
    """The index of the operator's code, which is added where there is none."""
    for index, code in enumerate(tree.operatorCodes):
        if (code.builtinCode, code.version) == (operator, version):
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = operator, min(operator, 127)
    code.version = version
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1


def cast(tree: Any, graph: Any, source: int, target: int, first: bool) -> None:
    """Adds CAST from a tensor to another, as the first or the last operator of the graph."""
    operator = schema.OperatorT()
    operator.opcodeIndex = code_of(tree, OPERATOR.CAST, 6)
    operator.inputs, operator.outputs = [source], [target]
    graph.operators.insert(0 if first else len(graph.operators), operator)


def like(graph: Any, tensor: int, kind: int) -> int:
    """A new tensor of the same shape and another type; its index."""
    made = schema.TensorT()
    made.name, made.type = graph.tensors[tensor].name + b"_as", kind
    made.shape = list(graph.tensors[tensor].shape)
    graph.tensors.append(made)
    return len(graph.tensors) - 1


@model_fault("model.no_decode", "there is no signature decode")
def _(tree: Any, weights: list[bytes]) -> None:
    tree.signatureDefs.remove(signature(tree, "decode"))


@model_fault("model.no_decode", "decode is named serving_default")
def _(tree: Any, weights: list[bytes]) -> None:
    signature(tree, "decode").signatureKey = b"serving_default"


@model_fault("model.no_prefill", "the prefill signatures are named run_4 and run_16")
def _(tree: Any, weights: list[bytes]) -> None:
    for length in (4, 16):
        signature(tree, f"prefill_{length}").signatureKey = f"run_{length}".encode()


model_fault("model.no_tokens", "the tokens are named input_ids")(rename("tokens", "input_ids"))
model_fault("model.no_positions", "the positions are named cache_position")(
    rename("input_pos", "cache_position")
)
model_fault("model.no_logits", "the logits are named output_0")(rename("logits", "output_0"))


@model_fault("model.no_cache", "the caches are named past_key_0 ...")
def _(tree: Any, weights: list[bytes]) -> None:
    for each in tree.signatureDefs:
        for entry in [*each.inputs, *each.outputs]:
            entry.name = entry.name.replace(b"kv_cache_", b"past_")


@model_fault("model.cache_outputs", "decode does not give the caches back")
def _(tree: Any, weights: list[bytes]) -> None:
    decode = signature(tree, "decode")
    decode.outputs = [entry for entry in decode.outputs if entry.name == b"logits"]
    graph = tree.subgraphs[decode.subgraphIndex]
    graph.outputs = [entry.tensorIndex for entry in decode.outputs]


@model_fault("model.cache_shape", "a cache of decode holds 40 tokens, those of prefill 48")
def _(tree: Any, weights: list[bytes]) -> None:
    graph = tree.subgraphs[signature(tree, "decode").subgraphIndex]
    for entry in maps(tree, "kv_cache_k_1", "decode"):
        graph.tensors[entry.tensorIndex].shape = [1, 2, 40, 16]


@model_fault("model.logits_type", "the logits are float16")
def _(tree: Any, weights: list[bytes]) -> None:
    graph = tree.subgraphs[signature(tree, "decode").subgraphIndex]
    for entry in maps(tree, "logits"):
        half = like(graph, entry.tensorIndex, TYPE.FLOAT16)
        cast(tree, graph, entry.tensorIndex, half, first=False)
        graph.outputs = [half if each == entry.tensorIndex else each for each in graph.outputs]
        entry.tensorIndex = half


@model_fault("model.tokens_type", "the tokens are int64")
def _(tree: Any, weights: list[bytes]) -> None:
    for each in tree.signatureDefs:
        graph = tree.subgraphs[each.subgraphIndex]
        for entry in maps(tree, "tokens", each.signatureKey.decode()):
            wide = like(graph, entry.tensorIndex, TYPE.INT64)
            cast(tree, graph, wide, entry.tensorIndex, first=True)
            graph.inputs = [wide if i == entry.tensorIndex else i for i in graph.inputs]
            entry.tensorIndex = wide


@model_fault("model.logits_shape", "the logits have the shape [1, 512]")
def _(tree: Any, weights: list[bytes]) -> None:
    graph = tree.subgraphs[signature(tree, "decode").subgraphIndex]
    for entry in maps(tree, "logits"):
        flat = like(graph, entry.tensorIndex, TYPE.FLOAT32)
        graph.tensors[flat].shape = [1, 512]
        made = schema.TensorT()
        made.name, made.type, made.shape = b"flat", TYPE.INT32, [2]
        made.buffer = add_buffer(tree, weights, np.array([1, 512], np.int32))
        graph.tensors.append(made)
        operator = schema.OperatorT()
        operator.opcodeIndex = code_of(tree, OPERATOR.RESHAPE)
        operator.inputs = [entry.tensorIndex, len(graph.tensors) - 1]
        operator.outputs = [flat]
        graph.operators.append(operator)
        graph.outputs = [flat if each == entry.tensorIndex else each for each in graph.outputs]
        entry.tensorIndex = flat


def add_buffer(tree: Any, weights: list[bytes], values: np.ndarray) -> int:
    tree.buffers.append(schema.BufferT())
    weights.append(values.tobytes())
    return len(tree.buffers) - 1


def add_input(tree: Any, name: str, shape: Callable[[int], list[int]]) -> None:
    """An input that no operator reads; shape: of the number of tokens."""
    for each in tree.signatureDefs:
        graph = tree.subgraphs[each.subgraphIndex]
        (tokens,) = (e for e in each.inputs if e.name == b"tokens")
        index = like(graph, tokens.tensorIndex, TYPE.FLOAT32)
        graph.tensors[index].shape = shape(graph.tensors[tokens.tensorIndex].shape[1])
        graph.inputs = [*graph.inputs, index]
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        each.inputs.append(entry)


@model_fault("model.mask_shape", "the mask has 3 dimensions")
def _(tree: Any, weights: list[bytes]) -> None:
    add_input(tree, "mask", lambda time: [1, time, 48])


@model_fault("model.input_unknown", "there is an input token_type_ids")
def _(tree: Any, weights: list[bytes]) -> None:
    add_input(tree, "token_type_ids", lambda time: [1, time])


@model_fault("operator.version", "FULLY_CONNECTED has version 99")
def _(tree: Any, weights: list[bytes]) -> None:
    for code in tree.operatorCodes:
        if code.builtinCode == OPERATOR.FULLY_CONNECTED:
            code.version = 99


@model_fault("operator.custom", "an operator is custom")
def _(tree: Any, weights: list[bytes]) -> None:
    for code in tree.operatorCodes:
        if code.builtinCode == OPERATOR.LOGISTIC:
            code.builtinCode = code.deprecatedBuiltinCode = OPERATOR.CUSTOM
            code.customCode = b"my.swish"


def layers(tree: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(graph, operator, weights' tensor) of each FULLY_CONNECTED, but for the logits' one."""
    for graph in tree.subgraphs:
        for operator in graph.operators:
            code = tree.operatorCodes[operator.opcodeIndex].builtinCode
            if code == OPERATOR.FULLY_CONNECTED:
                tensor = graph.tensors[operator.inputs[1]]
                if tensor.shape[0] != 512:
                    yield graph, operator, tensor


@model_fault("weights.off_delegate", "int8 weights have a scale a column instead of a row")
def _(tree: Any, weights: list[bytes]) -> None:
    for _, _, tensor in layers(tree):
        columns = tensor.shape[1]
        tensor.quantization.quantizedDimension = 1
        tensor.quantization.scale = [0.01] * columns
        tensor.quantization.zeroPoint = [0] * columns


@model_fault("weights.off_delegate", "weights are uint8")
def _(tree: Any, weights: list[bytes]) -> None:
    for _, _, tensor in layers(tree):
        tensor.type = TYPE.UINT8
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.01], [0]


@model_fault("weights.off_delegate", "int4 weights are in blocks of 16")
def _(tree: Any, weights: list[bytes]) -> None:
    for code in tree.operatorCodes:
        if code.builtinCode == OPERATOR.FULLY_CONNECTED:
            code.version = 13
    for graph, _, tensor in layers(tree):
        rows, columns = tensor.shape
        weights[tensor.buffer] = bytes(rows * columns // 2)
        scales = schema.TensorT()
        scales.name, scales.type, scales.shape = b"scales", TYPE.FLOAT16, [rows, columns // 16]
        scales.buffer = add_buffer(tree, weights, np.full((rows, columns // 16), 0.01, np.float16))
        graph.tensors.append(scales)
        tensor.type = TYPE.INT4
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.detailsType = schema.QuantizationDetails.BlockwiseQuantization
        tensor.quantization.details = details = schema.BlockwiseQuantizationT()
        details.blockSize, details.scales, details.zeroPoints = 16, len(graph.tensors) - 1, -1


@model_fault("weights.zero_point", "int8 weights have zero points")
def _(tree: Any, weights: list[bytes]) -> None:
    for _, _, tensor in layers(tree):
        tensor.quantization.zeroPoint = [3] * len(tensor.quantization.scale)


@model_fault("weights.type", "float16 weights go into FULLY_CONNECTED as they are")
def _(tree: Any, weights: list[bytes]) -> None:
    for _, _, tensor in layers(tree):
        tensor.type, tensor.quantization = TYPE.FLOAT16, None
        weights[tensor.buffer] = bytes(2 * tensor.shape[0] * tensor.shape[1])


@model_fault("trial.not_finite", "a weight is NaN")
def _(tree: Any, weights: list[bytes]) -> None:
    for graph in tree.subgraphs:
        for tensor in graph.tensors:
            if tensor.type == TYPE.FLOAT32 and len(weights[tensor.buffer]) == 4 * 64:
                weights[tensor.buffer] = np.full(64, np.nan, np.float32).tobytes()


@fault("model.damaged", "the model's last 10 kB of weights are not there")
def _(parts: Parts) -> bytes:
    return with_entry(parts, MODEL, data=parts.model[:-10_000])


@fault("model.damaged", "the model's first table points past its end")
def _(parts: Parts) -> bytes:
    return with_entry(parts, MODEL, data=b"\xff\xff\xff\x7f" + parts.model[4:])


@fault("model.damaged", "the model is 200 kB of zeros")
def _(parts: Parts) -> bytes:
    return with_entry(parts, MODEL, data=bytes(200_000))
