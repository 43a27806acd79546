"""What a TFLite model holds, read from its flatbuffer: the weights are not touched."""

import math
import mmap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ai_edge_litert import schema_py_generated as schema

from .flatbuffer import Flatbuffer, Table

IDENTIFIER = b"TFL3"

_CACHE_PREFIXES = ("kv_cache_", "k_cache_", "v_cache_")  # as runtimes look for them
_MAX_RANK = 32

# type number -> name; name -> bits of an element, for those that have a size
TYPES = {number: name.lower() for name, number in vars(schema.TensorType).items() if name.isupper()}
_BITS = {
    **dict.fromkeys(("int2",), 2),
    **dict.fromkeys(("int4", "uint4"), 4),
    **dict.fromkeys(("bool", "int8", "uint8", "float8_e4m3fn", "float8_e5m2"), 8),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 16),
    **dict.fromkeys(("int32", "uint32", "float32"), 32),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 64),
    "complex128": 128,
}
OPERATORS = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()
}


@dataclass(frozen=True)
class TensorSummary:
    name: str
    dtype: str
    shape: tuple[int, ...]

    def size_bytes(self) -> int:
        """0 for a type without a fixed size, and for a shape with an open dimension."""
        if min(self.shape, default=0) < 0:
            return 0
        return (math.prod(self.shape) * _BITS.get(self.dtype, 0) + 7) // 8


@dataclass(frozen=True)
class SignatureSummary:
    """A signature by the names that a runtime uses, in the names' order."""

    name: str
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]

    def cache_bytes(self) -> int:
        return sum(t.size_bytes() for t in self.inputs if t.name.startswith(_CACHE_PREFIXES))


@dataclass(frozen=True)
class WeightsSummary:
    """Constants of one kind, such as "int8 per channel": how many buffers, and their bytes."""

    kind: str
    count: int
    size_bytes: int


@dataclass(frozen=True)
class ModelSummary:
    """signatures, in the file's order; weights, the largest first; operators, how many of each.

    cache_bytes: what the key/value cache takes, by the signature that has the largest.
    """

    size_bytes: int
    signatures: tuple[SignatureSummary, ...]
    weights: tuple[WeightsSummary, ...]
    operators: Mapping[str, int]
    cache_bytes: int


def summarize_model(data: bytes | mmap.mmap, base: int, size: int, where: str) -> ModelSummary:
    """Reads the model that lies at bytes `base` to `base + size` of `data`.

    Raises BundleError for what is no TFLite model, is damaged, or lacks the end of its weights.
    """
    buffer = Flatbuffer(data, base, size, where)
    model = buffer.root(IDENTIFIER)
    graphs = list(model.tables(_MODEL_SUBGRAPHS))
    tensors = [[_tensor(t, buffer) for t in graph.tables(_SUBGRAPH_TENSORS)] for graph in graphs]
    signatures = tuple(_signature(s, tensors, buffer) for s in model.tables(_MODEL_SIGNATURES))
    return ModelSummary(
        size_bytes=size,
        signatures=signatures,
        weights=_weights(model, graphs, buffer),
        operators=_operators(model, graphs, buffer),
        cache_bytes=max((each.cache_bytes() for each in signatures), default=0),
    )


# Numbers of fields. Source: TFLite's schema.fbs, version 3
_MODEL_OPERATOR_CODES, _MODEL_SUBGRAPHS, _MODEL_BUFFERS, _MODEL_SIGNATURES = 1, 2, 4, 7
_CODE_OLD, _CODE_CUSTOM, _CODE = 0, 1, 3
_SUBGRAPH_TENSORS, _SUBGRAPH_OPERATORS = 0, 3
_TENSOR_SHAPE, _TENSOR_TYPE, _TENSOR_BUFFER, _TENSOR_NAME, _TENSOR_QUANTIZATION = 0, 1, 2, 3, 4
_QUANTIZATION_SCALE, _QUANTIZATION_DETAILS_TYPE, _QUANTIZATION_DETAILS = 2, 4, 5
_BLOCKWISE_SIZE = 2
_BUFFER_DATA, _BUFFER_OFFSET, _BUFFER_SIZE = 0, 1, 2
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS, _SIGNATURE_KEY, _SIGNATURE_SUBGRAPH = 0, 1, 2, 4
_MAP_NAME, _MAP_TENSOR = 0, 1


def _tensor(table: Table, buffer: Flatbuffer) -> TensorSummary:
    shape = table.numbers(_TENSOR_SHAPE, "i")
    number = table.number(_TENSOR_TYPE, "b")
    if len(shape) > _MAX_RANK or number not in TYPES:
        raise buffer.damaged(f"has a tensor of {len(shape)} dimensions and type number {number}")
    return TensorSummary(table.text(_TENSOR_NAME), TYPES[number], shape)


def _signature(
    table: Table, tensors: list[list[TensorSummary]], buffer: Flatbuffer
) -> SignatureSummary:
    name = table.text(_SIGNATURE_KEY)
    graph = table.number(_SIGNATURE_SUBGRAPH, "I")
    if graph >= len(tensors):
        raise buffer.damaged(f"{name:.80}: is of subgraph {graph}, there are {len(tensors)}")

    def named(field: int) -> tuple[TensorSummary, ...]:
        found = []
        for entry in table.tables(field):
            number = entry.number(_MAP_TENSOR, "I")
            if number >= len(tensors[graph]):
                raise buffer.damaged(f"{name:.80}: is of tensor {number}, of {len(tensors[graph])}")
            tensor = tensors[graph][number]
            found.append(TensorSummary(entry.text(_MAP_NAME), tensor.dtype, tensor.shape))
        return tuple(sorted(found, key=lambda each: _in_order(each.name)))

    return SignatureSummary(name, named(_SIGNATURE_INPUTS), named(_SIGNATURE_OUTPUTS))


def _in_order(name: str) -> tuple[str, int]:
    """kv_cache_k_2 stands before kv_cache_k_10."""
    digits = len(name) - len(name.rstrip("0123456789"))
    return name[: len(name) - digits], int(name[len(name) - digits :][:9] or 0)


def _weights(model: Table, graphs: list[Table], buffer: Flatbuffer) -> tuple[WeightsSummary, ...]:
    sizes = [_buffer_bytes(each, buffer) for each in model.tables(_MODEL_BUFFERS)]
    kinds: dict[int, str] = {}  # by buffer: signatures share them
    for graph in graphs:
        for tensor in graph.tables(_SUBGRAPH_TENSORS):
            number = tensor.number(_TENSOR_BUFFER, "I")
            if number >= len(sizes):
                raise buffer.damaged(f"has a tensor in buffer {number}, there are {len(sizes)}")
            if sizes[number]:
                kinds.setdefault(number, _kind(tensor))
    counts = Counter(kinds.values())
    total = Counter[str]()
    for number, kind in kinds.items():
        total[kind] += sizes[number]
    return tuple(
        WeightsSummary(kind, counts[kind], size_bytes) for kind, size_bytes in total.most_common()
    )


def _buffer_bytes(table: Table, buffer: Flatbuffer) -> int:
    """Of a constant, inside the flatbuffer or behind it; 0 of one that is computed."""
    inside_at, inside = table.vector(_BUFFER_DATA)
    offset, size = table.number(_BUFFER_OFFSET, "Q"), table.number(_BUFFER_SIZE, "Q")
    # an offset of 0 or 1 stands for none: 1 is written by converters that patch it later
    at, size = (offset, size) if offset > 1 else (inside_at, inside)
    if at + size > buffer.size:
        raise buffer.damaged(
            f"has weights at bytes {at} to {at + size}, and ends at byte {buffer.size}"
        )
    return size


def _kind(tensor: Table) -> str:
    dtype = TYPES.get(tensor.number(_TENSOR_TYPE, "b"), "?")
    quantization = tensor.table(_TENSOR_QUANTIZATION)
    if quantization is None:
        return dtype
    if quantization.number(_QUANTIZATION_DETAILS_TYPE, "B") == (
        schema.QuantizationDetails.BlockwiseQuantization
    ):
        blocks = quantization.table(_QUANTIZATION_DETAILS)
        size = blocks.number(_BLOCKWISE_SIZE, "i") if blocks else 0
        return f"{dtype} in blocks of {size}"
    _, scales = quantization.vector(_QUANTIZATION_SCALE)
    if not scales:
        return dtype
    return f"{dtype} per {'channel' if scales > 1 else 'tensor'}"


def _operators(model: Table, graphs: list[Table], buffer: Flatbuffer) -> dict[str, int]:
    names = []
    for code in model.tables(_MODEL_OPERATOR_CODES):
        # numbers up to 127 were written into the old field, larger ones stand in the new one
        number = max(code.number(_CODE_OLD, "b"), code.number(_CODE, "i"))
        names.append(code.text(_CODE_CUSTOM) or OPERATORS.get(number, f"operator {number}"))
    counts = Counter[str]()
    for graph in graphs:
        for operator in graph.tables(_SUBGRAPH_OPERATORS):
            number = operator.number(0, "I")
            if number >= len(names):
                raise buffer.damaged(f"has an operator of code {number}, there are {len(names)}")
            counts[names[number]] += 1
    return dict(sorted(counts.items()))
