"""The intermediate form: one flat list of TFLite operators for each signature.

Every operator here has one output, so a tensor knows the operator that makes it. Values of weights
are never here: a tensor that stands for a weight only names it, and the writer streams it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import ConversionError

# The largest parameter whose values a graph may hold and compute with, in elements: norms, biases
# and small tables. Beyond it a parameter is a weight, which is streamed.
LARGEST_CONSTANT = 65536

INT32 = np.iinfo(np.int32)


@dataclass(frozen=True)
class Weight:
    """A parameter as the file stores it.

    name: the module's; shape: as in PyTorch; dtype: float32, float16 or int8 (one scale a row).
    rows, columns: float32 factors by which its rows and columns are multiplied first, as bytes, so
    that weights can be compared; empty: by 1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    rows: bytes = b""
    columns: bytes = b""


@dataclass(frozen=True)
class Parameter:
    """A parameter of the module, before it is known how the file will store it.

    part: attention or feed_forward where it lies in such a block, else None.
    value: its values where it has no more than LARGEST_CONSTANT elements.
    """

    name: str
    shape: tuple[int, ...]
    part: str | None
    value: np.ndarray | None


@dataclass(eq=False)
class Tensor:
    """An input, a constant, a weight, or what an operator makes."""

    shape: tuple[int, ...]
    dtype: str
    value: np.ndarray | None = None
    weight: Weight | None = None
    producer: "Op | None" = None


@dataclass(eq=False)
class Op:
    """A TFLite operator. code and options: the schema's names; None: an optional input left out."""

    code: str
    inputs: tuple[Tensor | None, ...]
    output: Tensor
    options: dict[str, Any]


@dataclass(eq=False)
class Graph:
    """One signature's inputs, outputs and operators, in the order of execution.

    Building it shares what is equal: the same operator on the same inputs is there once, so
    a block may compute masks or angles anew in each layer at no cost.
    """

    name: str
    recipe: Mapping[str, str]
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    _made: dict[Any, Tensor] = field(default_factory=dict)

    def constant(self, value: Any, dtype: str | None = None) -> Tensor:
        """A constant; numbers become 32-bit, which is all that most of TFLite's kernels take."""
        array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
        if array.dtype.kind in "iu":
            if array.size and (array.min() < INT32.min or array.max() > INT32.max):
                raise ConversionError(
                    f"a constant of {array.min()}..{array.max()}; TFLite needs int32"
                )
            array = array.astype(np.int32, copy=False)
        elif array.dtype.kind == "f":
            array = array.astype(np.float32, copy=False)
        elif array.dtype.kind != "b":
            raise ConversionError(f"a constant of {array.dtype}; needs real numbers")
        key = ("constant", array.dtype.name, array.shape, array.tobytes())
        if key not in self._made:
            self._made[key] = Tensor(array.shape, array.dtype.name, value=array)
        return self._made[key]

    def weight(self, parameter: Parameter, dtype: str) -> Tensor:
        """A parameter as stored in dtype."""
        weight = Weight(parameter.name, parameter.shape, dtype)
        if weight not in self._made:
            self._made[weight] = Tensor(weight.shape, dtype, weight=weight)
        return self._made[weight]

    def operand(self, x: "Tensor | Parameter") -> Tensor:
        """A float32 tensor for an operator that does not take quantized weights."""
        if isinstance(x, Tensor):
            return x
        if x.value is not None:
            return self.constant(x.value)
        return self.weight(x, "float32")

    def op(
        self,
        code: str,
        inputs: Iterable["Tensor | Parameter | None"],
        shape: Iterable[int],
        dtype: str = "float32",
        **options: Any,
    ) -> Tensor:
        """Adds an operator, or finds the equal one; returns its output of this shape and dtype."""
        operands = tuple(None if x is None else self.operand(x) for x in inputs)
        shape = tuple(int(n) for n in shape)
        key = (code, tuple(map(id, operands)), shape, dtype, repr(sorted(options.items())))
        if key not in self._made:
            output = Tensor(shape, dtype)
            output.producer = Op(code, operands, output, options)
            self.ops.append(output.producer)
            self._made[key] = output
        return self._made[key]

    def finish(self) -> None:
        """Drops what no output needs, and makes the outputs distinct from inputs and each other."""
        taken = set(map(id, self.inputs.values()))
        for name, tensor in self.outputs.items():
            if id(tensor) in taken or tensor.producer is None:
                shape = self.constant(np.array(tensor.shape, np.int32))
                copy = Tensor(tensor.shape, tensor.dtype)
                copy.producer = Op("RESHAPE", (tensor, shape), copy, {"newShape": tensor.shape})
                self.ops.append(copy.producer)
                self.outputs[name] = copy
            taken.add(id(self.outputs[name]))
        needed = set(map(id, self.outputs.values()))
        live = []
        for op in reversed(self.ops):
            if id(op.output) in needed:
                needed.update(id(x) for x in op.inputs if x is not None)
                live.append(op)
        self.ops = live[::-1]
