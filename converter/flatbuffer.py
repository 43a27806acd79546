"""Packs graphs into a TFLite flatbuffer whose weights lie behind it.

A Buffer table with an offset and a size, and no data, names bytes outside the flatbuffer. Its
length does not depend on those numbers, so it is packed once with stand-ins, which are then
overwritten in place: the offsets when the layout is planned, the scales when weights are written.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .graph import Graph, Op, Tensor, Weight
from .schema import OPTIONS, TENSOR_TYPES, VERSIONS, builtin_code

# Buffer data must be aligned like this in the flatbuffer. Source: force_align in the schema.
BUFFER_ALIGNMENT = 16


@dataclass(frozen=True)
class Header:
    """A packed model without its weights.

    data: the flatbuffer; fields: for each weight the positions of its Buffer's offset and size
    (uint64 each); scales: for each int8 weight the position of its first scale (float32 a row).
    """

    data: bytearray
    fields: dict[Weight, tuple[int, int]]
    scales: dict[Weight, int]

    def place(self, weight: Weight, offset: int, size: int) -> None:
        """Says where a weight lies, in bytes from the beginning of the model."""
        for position, value in zip(self.fields[weight], (offset, size), strict=True):
            struct.pack_into("<Q", self.data, position, value)

    def set_scales(self, weight: Weight, row: int, scales: np.ndarray) -> None:
        """Fills in the scales of a weight's rows from `row` on."""
        start = self.scales[weight] + 4 * row
        self.data[start : start + scales.nbytes] = scales.astype("<f4").tobytes()


class Packer:
    """Packs one model. Whatever is equal is written once and shared: shapes, names, options."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(1 << 20)
        self.shared: dict[Any, int] = {}
        self.operator_codes: dict[str, int] = {}
        self.buffers: dict[Any, int] = {None: 0}
        self.buffer_tables: list[int] = []
        self.weight_tables: dict[Weight, int] = {}
        self.weight_scales: dict[Weight, int] = {}

    def once(self, key: Any, make: Callable[[], int]) -> int:
        """The place of something that may be there already."""
        if key not in self.shared:
            self.shared[key] = make()
        return self.shared[key]

    def string(self, text: str) -> int:
        return self.once(("string", text), lambda: self.builder.CreateString(text))

    def int32s(self, values: Sequence[int]) -> int:
        key = ("int32s", *values)
        array = np.array(values, np.int32)
        return self.once(key, lambda: self.builder.CreateNumpyVector(array))

    def offsets(self, tables: Sequence[int]) -> int:
        """A vector of tables."""
        self.builder.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.builder.PrependUOffsetTRelative(table)
        return self.builder.EndVector()

    def table(self, name: str, **fields: int | None) -> int:
        """A table of the schema, from the generated functions of its fields."""
        getattr(schema, f"{name}Start")(self.builder)
        for field, value in fields.items():
            if value is not None:
                getattr(schema, f"{name}Add{field}")(self.builder, value)
        return getattr(schema, f"{name}End")(self.builder)

    def buffer(self, tensor: Tensor) -> int:
        """The index of the buffer with a tensor's values; 0, the empty one, where it has none."""
        if tensor.weight is not None:
            key: Any = tensor.weight
        elif tensor.value is not None:
            key = (tensor.value.dtype.name, tensor.value.tobytes())
        else:
            return 0
        if key not in self.buffers:
            self.buffers[key] = len(self.buffers)
            if tensor.weight is None:
                self.buffer_tables.append(self.table("Buffer", Data=self.bytes(key[1])))
            else:
                # flatbuffers leaves out a field that equals its default, 0: stand-ins of 1.
                table = self.table("Buffer", Offset=1, Size=1)
                self.buffer_tables.append(table)
                self.weight_tables[tensor.weight] = table
        return self.buffers[key]

    def bytes(self, data: bytes) -> int:
        self.builder.StartVector(1, len(data), BUFFER_ALIGNMENT)
        self.builder.head = self.builder.head - len(data)
        self.builder.Bytes[self.builder.head : self.builder.head + len(data)] = data
        return self.builder.EndVector()

    def quantization(self, weight: Weight) -> int:
        """One table for all tensors of a weight. Zero points are mandatory although all are 0."""
        rows = weight.shape[0]

        def make() -> int:
            scales = self.builder.CreateNumpyVector(np.zeros(rows, np.float32))
            self.weight_scales[weight] = scales
            key = ("zero points", rows)
            zeros = np.zeros(rows, np.int64)
            points = self.once(key, lambda: self.builder.CreateNumpyVector(zeros))
            return self.table("QuantizationParameters", Scale=scales, ZeroPoint=points)

        return self.once(("quantization", weight), make)

    def tensor(self, tensor: Tensor, name: str) -> int:
        weight = tensor.weight
        quantized = weight is not None and weight.dtype == "int8"
        return self.table(
            "Tensor",
            Shape=self.int32s(tensor.shape),
            Type=TENSOR_TYPES[tensor.dtype],
            Buffer=self.buffer(tensor),
            Name=self.string(name),
            Quantization=self.quantization(weight) if weight and quantized else None,
        )

    def options(self, op: Op) -> tuple[int, int]:
        """The type and the place of an operator's options table; 0, 0 where it has none."""
        name = OPTIONS[op.code]
        if not name:
            return 0, 0

        def make() -> int:
            options = getattr(schema, f"{name}T")()
            for field, value in op.options.items():
                if not hasattr(options, field):
                    raise AttributeError(f"{name} has no {field}")
                setattr(options, field, value)
            return options.Pack(self.builder)

        place = self.once((name, repr(sorted(op.options.items()))), make)
        return getattr(schema.BuiltinOptions, name), place

    def operator(self, op: Op, index: dict[int, int]) -> int:
        code = self.operator_codes.setdefault(op.code, len(self.operator_codes))
        kind, options = self.options(op)
        return self.table(
            "Operator",
            OpcodeIndex=code,
            Inputs=self.int32s([-1 if x is None else index[id(x)] for x in op.inputs]),
            Outputs=self.int32s([index[id(op.output)]]),
            BuiltinOptionsType=kind or None,
            BuiltinOptions=options or None,
        )

    def subgraph(self, graph: Graph) -> tuple[int, dict[int, int]]:
        """Packs a graph; returns its place and the index of each tensor by id()."""
        names = {id(x): f"{graph.name}_{name}" for name, x in graph.inputs.items()}
        names |= {id(x): f"{graph.name}_{name}_output" for name, x in graph.outputs.items()}
        tensors = {id(x): x for x in graph.inputs.values()}
        for op in graph.ops:
            tensors |= {id(x): x for x in (*op.inputs, op.output) if x is not None}
        index = {key: i for i, key in enumerate(tensors)}
        packed = [self.tensor(x, names.get(key) or _name(x)) for key, x in tensors.items()]
        operators = [self.operator(op, index) for op in graph.ops]
        place = self.table(
            "SubGraph",
            Tensors=self.offsets(packed),
            Inputs=self.int32s([index[id(x)] for x in graph.inputs.values()]),
            Outputs=self.int32s([index[id(x)] for x in graph.outputs.values()]),
            Operators=self.offsets(operators),
            Name=self.string(graph.name),
        )
        return place, index

    def signature(self, graph: Graph, subgraph: int, index: dict[int, int]) -> int:
        def maps(tensors: Iterable[tuple[str, Tensor]]) -> int:
            made = [
                self.table("TensorMap", Name=self.string(name), TensorIndex=index[id(x)])
                for name, x in tensors
            ]
            return self.offsets(made)

        return self.table(
            "SignatureDef",
            Inputs=maps(graph.inputs.items()),
            Outputs=maps(graph.outputs.items()),
            SignatureKey=self.string(graph.name),
            SubgraphIndex=subgraph,
        )

    def model(self, graphs: Sequence[Graph], description: str) -> Header:
        """Packs all graphs as one model."""
        self.buffer_tables.append(self.table("Buffer"))
        subgraphs = [self.subgraph(graph) for graph in graphs]
        signatures = [
            self.signature(graph, i, index)
            for i, (graph, (_, index)) in enumerate(zip(graphs, subgraphs, strict=True))
        ]
        root = self.table(
            "Model",
            Version=3,
            OperatorCodes=self.offsets([self.operator_code(code) for code in self.operator_codes]),
            Subgraphs=self.offsets([place for place, _ in subgraphs]),
            Description=self.string(description),
            Buffers=self.offsets(self.buffer_tables),
            SignatureDefs=self.offsets(signatures),
        )
        self.builder.Finish(root, file_identifier=b"TFL3")
        data = self.builder.Output()
        # A place is counted from the end of what is packed.
        fields = {w: _buffer_fields(data, len(data) - t) for w, t in self.weight_tables.items()}
        scales = {w: len(data) - place + 4 for w, place in self.weight_scales.items()}
        return Header(bytearray(data), fields, scales)

    def operator_code(self, operator: str) -> int:
        code = builtin_code(operator)
        return self.table(
            "OperatorCode",
            # The old one-byte field; 127 sends the reader to the new one.
            DeprecatedBuiltinCode=min(code, 127),
            Version=VERSIONS.get(operator, 1),
            BuiltinCode=code,
        )


def _name(tensor: Tensor) -> str:
    if tensor.weight is not None:
        return tensor.weight.name
    return "constant" if tensor.producer is None else tensor.producer.code


def _buffer_fields(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """Where the offset and the size of the Buffer table at this position are stored."""
    table = flatbuffers.Table(data, position)
    return tuple(position + table.Offset(slot) for slot in (6, 8))  # type: ignore[return-value]
