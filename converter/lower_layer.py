"""Lowerings of the operators that layers are made of: products, tables, norms, the cache.

Importing this module fills the whole table LOWERINGS.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from . import ConversionError
from .graph import Graph, Parameter, Tensor
from .lower import LOWERINGS, Operand, axis_of, cast, lowers
from .lower_shape import reshape_to


def stored(g: Graph, weight: Parameter, part: str) -> Tensor:
    """A matrix as the recipe has it for its part of the model: float32, float16 or int8."""
    return g.weight(weight, g.recipe[part])


@lowers("aten.linear.default")
def linear(g: Graph, x: Operand, weight: Operand, bias: Operand | None = None) -> Tensor:
    """FULLY_CONNECTED: with an int8 weight the runtime quantizes x's rows as it goes."""
    x = g.operand(x)
    # What lies in no attention or feed-forward block projects to the output: the head.
    is_parameter = isinstance(weight, Parameter)
    matrix = stored(g, weight, weight.part or "head") if is_parameter else weight
    if matrix.value is None and matrix.weight is None:
        raise ConversionError("a linear layer whose weight depends on an input; use matmul")
    if matrix.dtype == "float16":
        # XNNPACK takes the pair as one; it is the only form of float16 weights that all read.
        matrix = g.op("DEQUANTIZE", [matrix], matrix.shape)
    shape = (*x.shape[:-1], matrix.shape[0])
    return g.op("FULLY_CONNECTED", [x, matrix, bias], shape, keepNumDims=True)


@lowers("aten.embedding.default")
def embedding(g: Graph, weight: Operand, indices: Operand, *_: Any, **__: Any) -> Tensor:
    """Rows of a table. A float16 one must not feed EMBEDDING_LOOKUP, which reads it as garbage."""
    indices = g.operand(indices)
    flat = reshape_to(g, indices, [-1])
    table = stored(g, weight, "embedding") if isinstance(weight, Parameter) else weight
    shape = (*flat.shape, table.shape[1])
    if table.dtype == "float16":
        rows = g.op("GATHER", [table, flat], shape, "float16", axis=0)
        rows = g.op("CAST", [rows], shape)
    else:
        rows = g.op("EMBEDDING_LOOKUP", [flat, table], shape)
    return reshape_to(g, rows, [*indices.shape, table.shape[1]])


def _untransposed(x: Tensor) -> tuple[Tensor, bool]:
    """x before a transposition of its last two dimensions, if that is what made it."""
    op = x.producer
    if op is None or op.code != "TRANSPOSE":
        return x, False
    source, order = op.inputs
    assert source is not None
    assert order is not None
    assert order.value is not None
    rank = len(x.shape)
    swapped = order.value.tolist() == [*range(rank - 2), rank - 1, rank - 2]
    return (source, True) if swapped else (x, False)


@lowers("aten.matmul.default", "aten.bmm.default", "aten.mm.default")
def matmul(g: Graph, x: Operand, y: Operand) -> Tensor:
    x, y = g.operand(x), g.operand(y)
    if min(len(x.shape), len(y.shape)) < 2:
        raise ConversionError(f"matmul of {list(x.shape)} and {list(y.shape)}; unsqueeze vectors")
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    shape = (*batch, x.shape[-2], y.shape[-1])
    (x, adj_x), (y, adj_y) = _untransposed(x), _untransposed(y)
    return g.op("BATCH_MATMUL", [x, y], shape, adjX=adj_x, adjY=adj_y)


@lowers("aten.softmax.int", "aten._softmax.default", "aten._safe_softmax.default")
def softmax(g: Graph, x: Operand, dim: int, dtype: torch.dtype | bool | None = None) -> Tensor:
    x = cast(g, x, "float32")
    if axis_of(x, dim) != len(x.shape) - 1:
        raise ConversionError(f"softmax over dimension {dim} of {list(x.shape)}; only the last")
    return g.op("SOFTMAX", [x], x.shape, beta=1.0)


def _mean_of_last(g: Graph, x: Tensor) -> Tensor:
    axis = g.constant(np.array([len(x.shape) - 1], np.int32))
    return g.op("MEAN", [x, axis], (*x.shape[:-1], 1), keepDims=True)


def _scaled(
    g: Graph, x: Tensor, eps: float, weight: Operand | None, bias: Operand | None
) -> Tensor:
    """x / sqrt(mean(x * x) + eps) * weight + bias."""
    mean = _mean_of_last(g, g.op("MUL", [x, x], x.shape))
    epsilon = g.constant(np.full((1,), eps, np.float32))
    root = g.op("RSQRT", [g.op("ADD", [mean, epsilon], mean.shape)], mean.shape)
    x = g.op("MUL", [x, root], x.shape)
    if weight is not None:
        x = g.op("MUL", [x, weight], x.shape)
    return x if bias is None else g.op("ADD", [x, bias], x.shape)


def _only_last(x: Tensor, shape: Sequence[int]) -> None:
    if len(shape) != 1:
        raise ConversionError(f"a norm over {len(shape)} dimensions of {list(x.shape)}; only one")


@lowers("aten.rms_norm.default")
def rms_norm(
    g: Graph,
    x: Operand,
    normalized_shape: Sequence[int],
    weight: Operand | None = None,
    eps: float | None = None,
) -> Tensor:
    x = g.operand(x)
    _only_last(x, normalized_shape)
    return _scaled(g, x, torch.finfo(torch.float32).eps if eps is None else eps, weight, None)


@lowers("aten.layer_norm.default")
def layer_norm(
    g: Graph,
    x: Operand,
    normalized_shape: Sequence[int],
    weight: Operand | None = None,
    bias: Operand | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    x = g.operand(x)
    _only_last(x, normalized_shape)
    centered = g.op("SUB", [x, _mean_of_last(g, x)], x.shape)
    return _scaled(g, centered, eps, weight, bias)


@lowers("aten.index_select.default")
def index_select(g: Graph, x: Operand, dim: int, index: Operand) -> Tensor:
    x, index = g.operand(x), g.operand(index)
    axis = axis_of(x, dim)
    shape = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return g.op("GATHER", [x, index], shape, x.dtype, axis=axis)


def _run_start(g: Graph, index: Tensor) -> Tensor:
    """The first of the consecutive indices that an int32 [length] tensor is known to hold."""
    if index.shape == (1,):
        return index
    if index.value is not None and np.all(np.diff(index.value) == 1):
        return g.constant(index.value[:1].astype(np.int32))
    op = index.producer
    if op is not None and op.code == "ADD":
        for start, rows in (op.inputs, op.inputs[::-1]):
            assert start is not None
            assert rows is not None
            if (
                start.shape == (1,)
                and rows.value is not None
                and np.array_equal(rows.value, np.arange(*index.shape))
            ):
                return start
    raise ConversionError(
        "index_copy at indices that are not start + arange(length), start of shape [1]; only a "
        "consecutive run can be written"
    )


@lowers("aten.index_copy.default")
def index_copy(g: Graph, x: Operand, dim: int, index: Operand, source: Operand) -> Tensor:
    """DYNAMIC_UPDATE_SLICE, which writes a run of consecutive indices."""
    x, index, source = g.operand(x), g.operand(index), g.operand(source)
    axis = axis_of(x, dim)
    zeros = [np.zeros(n, np.int32) for n in (axis, len(x.shape) - axis - 1)]
    begin = [*map(g.constant, zeros[:1] if axis else []), _run_start(g, index)]
    begin += map(g.constant, zeros[1:] if axis < len(x.shape) - 1 else [])
    starts = begin[0]
    if len(begin) > 1:
        starts = g.op("CONCATENATION", begin, (len(x.shape),), "int32", axis=0)
    return g.op("DYNAMIC_UPDATE_SLICE", [x, source, starts], x.shape, x.dtype)


__all__ = ["LOWERINGS"]
