"""Lowerings of the operators that move values without changing them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ConversionError
from .graph import Graph, Tensor
from .lower import Operand, axis_of, lowers


def reshape_to(g: Graph, x: Tensor, shape: Sequence[int]) -> Tensor:
    """x with another shape; a reshape of a reshape is one, and one to its own shape is none."""
    shape = list(shape)
    if -1 in shape:
        shape[shape.index(-1)] = int(np.prod(x.shape)) // -int(np.prod(shape))
    if x.producer is not None and x.producer.code == "RESHAPE":
        source = x.producer.inputs[0]
        assert source is not None
        x = source
    if x.shape == tuple(shape):
        return x
    if x.value is not None:
        return g.constant(x.value.reshape(shape))
    new = g.constant(np.array(shape, np.int32))
    return g.op("RESHAPE", [x, new], shape, x.dtype, newShape=tuple(shape))


@lowers("aten.view.default", "aten.reshape.default", "aten._unsafe_view.default")
def reshape(g: Graph, x: Operand, shape: Sequence[int]) -> Tensor:
    return reshape_to(g, g.operand(x), shape)


@lowers("aten.unflatten.int")
def unflatten(g: Graph, x: Operand, dim: int, sizes: Sequence[int]) -> Tensor:
    x = g.operand(x)
    axis = axis_of(x, dim)
    known = int(np.prod([n for n in sizes if n != -1]))
    whole = [x.shape[axis] // known if n == -1 else n for n in sizes]
    return reshape_to(g, x, [*x.shape[:axis], *whole, *x.shape[axis + 1 :]])


@lowers("aten.flatten.using_ints")
def flatten(g: Graph, x: Operand, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    x = g.operand(x)
    start, end = axis_of(x, start_dim), axis_of(x, end_dim)
    return reshape_to(g, x, [*x.shape[:start], -1, *x.shape[end + 1 :]])


@lowers("aten.unsqueeze.default")
def unsqueeze(g: Graph, x: Operand, dim: int) -> Tensor:
    x = g.operand(x)
    axis = dim % (len(x.shape) + 1)
    return reshape_to(g, x, [*x.shape[:axis], 1, *x.shape[axis:]])


@lowers("aten.squeeze.dim", "aten.squeeze.dims")
def squeeze(g: Graph, x: Operand, dim: int | Sequence[int]) -> Tensor:
    x = g.operand(x)
    axes = {axis_of(x, d) for d in ([dim] if isinstance(dim, int) else dim)}
    return reshape_to(g, x, [n for i, n in enumerate(x.shape) if i not in axes or n != 1])


@lowers(
    "aten.alias.default",
    "aten.clone.default",
    "aten.contiguous.default",
    "aten.detach.default",
    "aten.lift_fresh_copy.default",
)
def identity(g: Graph, x: Operand, **_: Any) -> Tensor:
    return g.operand(x)


@lowers("aten.dropout.default")
def dropout(g: Graph, x: Operand, p: float, train: bool) -> Tensor:
    if train and p:
        raise ConversionError(f"dropout p={p} in training mode; call .eval() on the module first")
    return g.operand(x)


@lowers("aten.permute.default")
def permute(g: Graph, x: Operand, dims: Sequence[int]) -> Tensor:
    x = g.operand(x)
    order = [axis_of(x, d) for d in dims]
    shape = [x.shape[i] for i in order]
    # Only dimensions of size 1 move: the values stay where they are.
    if [i for i in order if x.shape[i] != 1] == [i for i, n in enumerate(x.shape) if n != 1]:
        return reshape_to(g, x, shape)
    if x.value is not None:
        return g.constant(x.value.transpose(order))
    return g.op("TRANSPOSE", [x, g.constant(np.array(order, np.int32))], shape, x.dtype)


@lowers("aten.transpose.int")
def transpose(g: Graph, x: Operand, dim0: int, dim1: int) -> Tensor:
    x = g.operand(x)
    order = list(range(len(x.shape)))
    a, b = axis_of(x, dim0), axis_of(x, dim1)
    order[a], order[b] = b, a
    return permute(g, x, order)


@lowers("aten.t.default", "aten.numpy_T.default", "aten.mT.default")
def last_two(g: Graph, x: Operand) -> Tensor:
    x = g.operand(x)
    return x if len(x.shape) < 2 else transpose(g, x, -1, -2)


def cut(g: Graph, x: Tensor, axis: int, start: int, length: int) -> Tensor:
    """x[..., start : start + length, ...] along one axis."""
    if length == x.shape[axis]:
        return x
    shape = [length if i == axis else n for i, n in enumerate(x.shape)]
    begin = np.array([start if i == axis else 0 for i in range(len(shape))], np.int32)
    operands = [x, g.constant(begin), g.constant(np.array(shape, np.int32))]
    return g.op("SLICE", operands, shape, x.dtype)


@lowers("aten.slice.Tensor")
def slice_(
    g: Graph,
    x: Operand,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    x = g.operand(x)
    if step != 1:
        raise ConversionError(f"a slice with step {step}; only 1 is lowered")
    axis = axis_of(x, dim)
    first, last, _ = slice(start, end).indices(x.shape[axis])
    if last <= first:
        raise ConversionError(f"an empty slice [{start}:{end}] of dimension {dim} of {x.shape}")
    return cut(g, x, axis, first, last - first)


@lowers("aten.narrow.default")
def narrow(g: Graph, x: Operand, dim: int, start: int, length: int) -> Tensor:
    x = g.operand(x)
    return cut(g, x, axis_of(x, dim), start % x.shape[axis_of(x, dim)], length)


@lowers("aten.select.int")
def select(g: Graph, x: Operand, dim: int, index: int) -> Tensor:
    x = g.operand(x)
    axis = axis_of(x, dim)
    one = cut(g, x, axis, index % x.shape[axis], 1)
    return reshape_to(g, one, [*x.shape[:axis], *x.shape[axis + 1 :]])


@lowers("aten.split_with_sizes.default", "aten.split.sizes")
def split_sizes(g: Graph, x: Operand, sizes: Sequence[int], dim: int = 0) -> list[Tensor]:
    x = g.operand(x)
    starts = np.cumsum([0, *sizes])
    axis = axis_of(x, dim)
    return [cut(g, x, axis, int(s), n) for s, n in zip(starts, sizes, strict=False)]


@lowers("aten.split.Tensor")
def split(g: Graph, x: Operand, size: int, dim: int = 0) -> list[Tensor]:
    x = g.operand(x)
    length = x.shape[axis_of(x, dim)]
    return split_sizes(g, x, [min(size, length - s) for s in range(0, length, size)], dim)


@lowers("aten.chunk.default")
def chunk(g: Graph, x: Operand, chunks: int, dim: int = 0) -> list[Tensor]:
    x = g.operand(x)
    return split(g, x, -(-x.shape[axis_of(x, dim)] // chunks), dim)


@lowers("aten.unbind.int")
def unbind(g: Graph, x: Operand, dim: int = 0) -> list[Tensor]:
    x = g.operand(x)
    return [select(g, x, dim, i) for i in range(x.shape[axis_of(x, dim)])]


@lowers("aten.cat.default")
def cat(g: Graph, tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    operands = [g.operand(x) for x in tensors]
    first = operands[0]
    if len(operands) == 1:
        return first
    axis = axis_of(first, dim)
    total = sum(x.shape[axis] for x in operands)
    shape = [total if i == axis else n for i, n in enumerate(first.shape)]
    return g.op("CONCATENATION", operands, shape, first.dtype, axis=axis)


@lowers("aten.stack.default")
def stack(g: Graph, tensors: Sequence[Operand], dim: int = 0) -> Tensor:
    return cat(g, [unsqueeze(g, x, dim) for x in tensors], dim)


@lowers("aten.expand.default")
def expand(g: Graph, x: Operand, size: Sequence[int], *, implicit: bool = False) -> Tensor:
    x = g.operand(x)
    old = [1] * (len(size) - len(x.shape)) + list(x.shape)
    shape = [o if n == -1 else n for o, n in zip(old, size, strict=True)]
    x = reshape_to(g, x, old)
    if x.shape == tuple(shape):
        return x
    return g.op("BROADCAST_TO", [x, g.constant(np.array(shape, np.int32))], shape, x.dtype)


@lowers("aten.repeat.default")
def repeat(g: Graph, x: Operand, repeats: Sequence[int]) -> Tensor:
    x = g.operand(x)
    x = reshape_to(g, x, [1] * (len(repeats) - len(x.shape)) + list(x.shape))
    for axis, times in enumerate(repeats):
        x = cat(g, [x] * times, axis)
    return x
