"""Lowers aten operators to TFLite's: the table, and arithmetic.

A lowering is a function of the graph and the operator's own arguments (with aten's names and
defaults) that adds TFLite operators and returns the output tensor, or a list of them. It states the
output's shape itself: torch's shape functions are slow on tensors without storage. Integers are
int32 throughout, also where torch has int64, since TFLite's kernels are better at it; a constant
that does not fit is refused.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from . import ConversionError
from .graph import Graph, Parameter, Tensor

Operand = Tensor | Parameter
Scalar = int | float | bool
Lowering = Callable[..., Tensor | list[Tensor]]
ToOne = Callable[..., Tensor]
L = TypeVar("L", bound=Lowering)

LOWERINGS: dict[str, Lowering] = {}

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def lowers(*names: str) -> Callable[[L], L]:
    """Enters a function in the table under aten's operator names."""

    def enter(function: L) -> L:
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return enter


def dtype_of(x: Operand | Scalar) -> str:
    """float32, int32 or bool. Scalars have the weakest claim, see `alike`."""
    if isinstance(x, Tensor):
        return x.dtype
    if isinstance(x, Parameter):
        return "float32"
    return "bool" if isinstance(x, bool) else "int32" if isinstance(x, int) else "float32"


def cast(g: Graph, x: Operand, dtype: str) -> Tensor:
    """x in another dtype."""
    x = g.operand(x)
    if x.dtype == dtype:
        return x
    if x.value is not None:
        return g.constant(x.value.astype(dtype))
    return g.op("CAST", [x], x.shape, dtype)


def alike(g: Graph, x: Operand | Scalar, y: Operand | Scalar) -> tuple[Tensor, Tensor]:
    """Both operands as tensors of one dtype: float32 if any is, else int32, else bool."""
    order = ("bool", "int32", "float32")
    dtype = max(dtype_of(x), dtype_of(y), key=order.index)
    rank = min(1, max(len(o.shape) for o in (x, y) if isinstance(o, Tensor | Parameter)))

    def tensor(o: Operand | Scalar) -> Tensor:
        if isinstance(o, Tensor | Parameter):
            return cast(g, o, dtype)
        return g.constant(np.full((1,) * rank, o, dtype))

    return tensor(x), tensor(y)


def broadcast(*tensors: Tensor) -> tuple[int, ...]:
    """The common shape."""
    return np.broadcast_shapes(*(x.shape for x in tensors))


def axis_of(x: Tensor, dim: int) -> int:
    """A dimension counted from the front."""
    return dim % len(x.shape)


def _binary(code: str, result: str | None = None) -> ToOne:
    def lower(g: Graph, x: Any, y: Any, *, alpha: Scalar = 1) -> Tensor:
        if alpha != 1:
            y = _binary("MUL")(g, y, alpha)
        x, y = alike(g, x, y)
        return g.op(code, [x, y], broadcast(x, y), result or x.dtype)

    return lower


def _compare(code: str) -> ToOne:
    return _binary(code, "bool")


for _name, _code in {
    "add": "ADD",
    "sub": "SUB",
    "mul": "MUL",
    "minimum": "MINIMUM",
    "maximum": "MAXIMUM",
    "logical_and": "LOGICAL_AND",
    "logical_or": "LOGICAL_OR",
    "bitwise_and": "LOGICAL_AND",
    "bitwise_or": "LOGICAL_OR",
}.items():
    lowers(*(f"aten.{_name}.{overload}" for overload in ("Tensor", "Scalar", "default")))(
        _binary(_code)
    )

for _name, _code in {
    "eq": "EQUAL",
    "ne": "NOT_EQUAL",
    "lt": "LESS",
    "le": "LESS_EQUAL",
    "gt": "GREATER",
    "ge": "GREATER_EQUAL",
}.items():
    lowers(f"aten.{_name}.Tensor", f"aten.{_name}.Scalar")(_compare(_code))


@lowers("aten.rsub.Scalar", "aten.rsub.Tensor")
def rsub(g: Graph, x: Operand, y: Any, alpha: Scalar = 1) -> Tensor:
    if alpha != 1:
        raise ConversionError(f"alpha={alpha}; only 1 is lowered")
    y, x = alike(g, y, x)
    return g.op("SUB", [y, x], broadcast(x, y), x.dtype)


@lowers("aten.div.Tensor", "aten.div.Scalar")
def div(g: Graph, x: Any, y: Any) -> Tensor:
    """True division: of integers too it gives float32."""
    if isinstance(y, int | float):
        return _binary("MUL")(g, cast(g, x, "float32"), 1.0 / y)
    x, y = cast(g, x, "float32"), cast(g, y, "float32")
    return g.op("DIV", [x, y], broadcast(x, y))


@lowers("aten.pow.Tensor_Scalar")
def power(g: Graph, x: Operand, exponent: Scalar) -> Tensor:
    x = cast(g, x, "float32")
    codes = {0.5: "SQRT", -0.5: "RSQRT"}
    if exponent in codes:
        return g.op(codes[float(exponent)], [x], x.shape)
    if exponent in (2, 3):
        square = g.op("MUL", [x, x], x.shape)
        return square if exponent == 2 else g.op("MUL", [square, x], x.shape)
    x, y = alike(g, x, float(exponent))
    return g.op("POW", [x, y], x.shape)


def _unary(code: str, **options: Any) -> ToOne:
    def lower(g: Graph, x: Operand) -> Tensor:
        x = cast(g, x, "float32")
        return g.op(code, [x], x.shape, **options)

    return lower


for _name, _code in {
    "abs": "ABS",
    "cos": "COS",
    "exp": "EXP",
    "log": "LOG",
    "relu": "RELU",
    "rsqrt": "RSQRT",
    "sigmoid": "LOGISTIC",
    "sin": "SIN",
    "sqrt": "SQRT",
    "tanh": "TANH",
}.items():
    lowers(f"aten.{_name}.default")(_unary(_code))


@lowers("aten.neg.default")
def neg(g: Graph, x: Operand) -> Tensor:
    x = g.operand(x)
    return g.op("NEG", [x], x.shape, x.dtype)


@lowers("aten.logical_not.default", "aten.bitwise_not.default")
def logical_not(g: Graph, x: Operand) -> Tensor:
    x = g.operand(x)
    return g.op("LOGICAL_NOT", [x], x.shape, "bool")


@lowers("aten.silu.default")
def silu(g: Graph, x: Operand) -> Tensor:
    x = g.operand(x)
    return g.op("MUL", [x, g.op("LOGISTIC", [x], x.shape)], x.shape)


@lowers("aten.gelu.default")
def gelu(g: Graph, x: Operand, approximate: str = "none") -> Tensor:
    x = g.operand(x)
    return g.op("GELU", [x], x.shape, approximate=approximate == "tanh")


@lowers("aten.clamp.default", "aten.clamp_min.default", "aten.clamp_max.default")
def clamp(g: Graph, x: Operand, min: Scalar | None = None, max: Scalar | None = None) -> Tensor:
    y = g.operand(x)
    if min is not None:
        y = _binary("MAXIMUM")(g, y, min)
    if max is not None:
        y = _binary("MINIMUM")(g, y, max)
    return y


@lowers("aten.where.self", "aten.where.Scalar", "aten.where.ScalarSelf", "aten.where.ScalarOther")
def where(g: Graph, condition: Operand, x: Any, y: Any) -> Tensor:
    condition = g.operand(condition)
    if not isinstance(x, Tensor | Parameter) and not isinstance(y, Tensor | Parameter):
        dtype = "float32" if "float32" in (dtype_of(x), dtype_of(y)) else dtype_of(x)
        rank = (1,) * min(1, len(condition.shape))
        x, y = (g.constant(np.full(rank, value, dtype)) for value in (x, y))
    x, y = alike(g, x, y)
    return g.op("SELECT_V2", [condition, x, y], broadcast(condition, x, y), x.dtype)


@lowers("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(g: Graph, x: Operand, mask: Operand, value: Any) -> Tensor:
    return where(g, mask, value, x)


@lowers("aten.to.dtype", "aten._to_copy.default")
def to_dtype(g: Graph, x: Operand, dtype: torch.dtype | None = None, *_: Any, **__: Any) -> Tensor:
    if dtype is None:
        return g.operand(x)
    if dtype in INTEGERS:
        return cast(g, x, "int32")
    if dtype == torch.bool:
        return cast(g, x, "bool")
    if dtype != torch.float32:
        raise ConversionError(f"{dtype}; activations are float32, integers or bool")
    return cast(g, x, "float32")


def _reduce(code: str) -> ToOne:
    def lower(
        g: Graph,
        x: Operand,
        dim: int | Sequence[int] | None = None,
        keepdim: bool = False,
        *,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        x = cast(g, x, "float32") if code == "MEAN" or dtype == torch.float32 else g.operand(x)
        dims = list(range(len(x.shape))) if dim is None else [dim] if isinstance(dim, int) else dim
        axes = sorted(axis_of(x, d) for d in dims)
        kept = [1 if i in axes else n for i, n in enumerate(x.shape) if keepdim or i not in axes]
        axis = g.constant(np.array(axes, np.int32))
        return g.op(code, [x, axis], kept, x.dtype, keepDims=keepdim)

    return lower


lowers("aten.mean.dim", "aten.mean.default")(_reduce("MEAN"))
lowers("aten.sum.dim_IntList", "aten.sum.default")(_reduce("SUM"))
