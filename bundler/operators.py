"""The operators of a TFLite model: their versions, and the weights of those that cost the time."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from .flatbuffer import Flatbuffer, Table
from .tflite import IDENTIFIER, OPERATORS, TYPES, TensorSummary

# Numbers of fields. Source: TFLite's schema.fbs, version 3
_MODEL_CODES, _MODEL_SUBGRAPHS = 1, 2
_CODE_OLD, _CODE_CUSTOM, _CODE_VERSION, _CODE = 0, 1, 2, 3
_GRAPH_TENSORS, _GRAPH_OPERATORS = 0, 3
_OPERATOR_CODE, _OPERATOR_INPUTS, _OPERATOR_OPTIONS = 0, 1, 4
_OPTIONS_ACTIVATION = 0  # of FullyConnectedOptions
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION = 0, 1, 2, 3, 4
_SCALES, _ZERO_POINTS, _DETAILS_TYPE, _DETAILS, _DIMENSION = 2, 3, 4, 5, 6
_BLOCK_SIZE = 2
_FULLY_CONNECTED = schema.BuiltinOperator.FULLY_CONNECTED
_BLOCKWISE = schema.QuantizationDetails.BlockwiseQuantization
_MAX_ZERO_POINTS = 1 << 20

_ACTIVATIONS = {
    n: name for name, n in vars(schema.ActivationFunctionType).items() if name.isupper()
}


@dataclass(frozen=True)
class OperatorCode:
    """custom: the name of an operator that TFLite does not have."""

    name: str
    version: int
    custom: str = ""


@dataclass(frozen=True)
class DenseLayer:
    """A FULLY_CONNECTED with constant weights: those, and what it is computed with.

    scales: how many; dimension: along which they lie; zero_points: whether any is not 0; block:
    the length of blocks with a scale each, or 0. size_bytes: of the weights.
    """

    weights: str
    input_dtype: str
    dtype: str
    scales: int
    dimension: int
    zero_points: bool
    block: int
    activation: str
    size_bytes: int


def read_codes(data: bytes | mmap.mmap, base: int, size: int, where: str) -> list[OperatorCode]:
    """The kinds of operators that a model uses. Raises BundleError for a damaged one."""
    return list(_codes(_root(data, base, size, where)))


def read_dense_layers(
    data: bytes | mmap.mmap, base: int, size: int, where: str
) -> list[DenseLayer]:
    """Of all subgraphs, those that share weights once. Raises BundleError for a damaged model."""
    buffer = Flatbuffer(data, base, size, where)
    model = buffer.root(IDENTIFIER)
    codes = [code.name for code in _codes(model)]
    found: dict[tuple[int, str, str], DenseLayer] = {}
    for graph in model.tables(_MODEL_SUBGRAPHS):
        tensors = list(graph.tables(_GRAPH_TENSORS))
        for operator in graph.tables(_GRAPH_OPERATORS):
            code = operator.number(_OPERATOR_CODE, "I")
            if code >= len(codes) or codes[code] != OPERATORS[_FULLY_CONNECTED]:
                continue
            inputs = operator.numbers(_OPERATOR_INPUTS, "i")
            if len(inputs) < 2 or not all(0 <= i < len(tensors) for i in inputs[:2]):
                raise buffer.damaged(f"has a FULLY_CONNECTED of the tensors {inputs[:2]}")
            weights = tensors[inputs[1]]
            layer = _dense_layer(operator, tensors[inputs[0]], weights)
            if number := weights.number(_TENSOR_BUFFER, "I"):
                found.setdefault((number, layer.input_dtype, layer.activation), layer)
    return list(found.values())


def _root(data: bytes | mmap.mmap, base: int, size: int, where: str) -> Table:
    return Flatbuffer(data, base, size, where).root(IDENTIFIER)


def _codes(model: Table) -> Iterator[OperatorCode]:
    for code in model.tables(_MODEL_CODES):
        number = max(code.number(_CODE_OLD, "b"), code.number(_CODE, "i"))
        name = OPERATORS.get(number, f"operator {number}")
        # a version that is left out is 1
        yield OperatorCode(name, code.number(_CODE_VERSION, "i", 1), code.text(_CODE_CUSTOM))


def _dense_layer(operator: Table, given: Table, weights: Table) -> DenseLayer:
    options = operator.table(_OPERATOR_OPTIONS)
    activation = options.number(_OPTIONS_ACTIVATION, "b") if options else 0
    quantization = weights.table(_TENSOR_QUANTIZATION)
    dtype = TYPES.get(weights.number(_TENSOR_TYPE, "b"), "?")
    scales = dimension = block = 0
    zero_points = False
    if quantization is not None:
        _, scales = quantization.vector(_SCALES)
        dimension = quantization.number(_DIMENSION, "i")
        _, count = quantization.vector(_ZERO_POINTS)
        if count <= _MAX_ZERO_POINTS:
            zero_points = any(quantization.numbers(_ZERO_POINTS, "q"))
        if quantization.number(_DETAILS_TYPE, "B") == _BLOCKWISE:
            details = quantization.table(_DETAILS)
            block = details.number(_BLOCK_SIZE, "i") if details else 0
    return DenseLayer(
        weights=weights.text(_TENSOR_NAME),
        input_dtype=TYPES.get(given.number(_TENSOR_TYPE, "b"), "?"),
        dtype=dtype,
        scales=scales,
        dimension=dimension,
        zero_points=zero_points,
        block=block,
        activation=_ACTIVATIONS.get(activation, "?"),
        size_bytes=TensorSummary("", dtype, weights.numbers(_TENSOR_SHAPE, "i")).size_bytes(),
    )
