"""Moves the outliers of activations into weights, where 8 bits lose less.

In an int8 model the runtime quantizes a linear layer's input too, each position with one scale for
all channels: a few channels with large values cost all others their precision. Dividing channel i
by s_i where the input is made, and multiplying column i of the weights that take it by s_i, changes
nothing in exact arithmetic. s_i = (max |x_i|) ** STRENGTH / (max |W_i|) ** (1 - STRENGTH) leaves
both sides about equally hard. The division is free where the input is a product with a constant (a
norm's weight) or with the output of a linear layer (an up projection, whose rows take it).
Source: Xiao et al. 2022, "SmoothQuant", eq. 4; the second place is the same idea.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .graph import Graph, Op, Tensor, Weight

# Of 0.4 to 0.6, the best for SmolLM2 on prose and chat together; the differences are small.
STRENGTH = 0.45


@dataclass(frozen=True)
class Ranges:
    """What was seen of a linear layer: max |x| and max |W| of each input channel: [in_features]."""

    inputs: np.ndarray
    weights: np.ndarray


def smooth(graph: Graph, ranges: Mapping[str, Ranges]) -> None:
    """Scales a graph's int8 weights in place. ranges: by the names of the weights.

    Must come before unneeded operators are dropped, so that all signatures of a module, which
    share the weights, are scaled alike.
    """
    users: dict[int, list[Op]] = defaultdict(list)
    for op in graph.ops:
        for tensor in {id(x): x for x in op.inputs if x is not None}.values():
            users[id(tensor)].append(op)
    outputs = set(map(id, graph.outputs.values()))
    tables = tables_of(graph)
    for op in graph.ops:
        layers = users[id(op.output)]
        if op.code != "MUL" or id(op.output) in outputs or not layers:
            continue
        weights = [int8_weight(layer) for layer in layers]
        if any(w is None or w in tables or w.name not in ranges for w in weights):
            continue
        factors = factors_of([ranges[weight.name] for weight in weights if weight is not None])
        if _divide(op, factors, users):
            for layer in layers:
                scale(layer, columns=factors)


def tables_of(graph: Graph) -> set[Weight | None]:
    """What rows are looked up in: a table that is also the head would have to be stored twice."""
    return {op.inputs[1].weight for op in graph.ops if op.code == "EMBEDDING_LOOKUP"}  # type: ignore[union-attr]


def int8_weight(op: Op) -> Weight | None:
    """The int8 weight of a linear layer; None for any other operator."""
    if op.code != "FULLY_CONNECTED" or op.inputs[1] is None:
        return None
    weight = op.inputs[1].weight
    return weight if weight is not None and weight.dtype == "int8" else None


def factors_of(ranges: Sequence[Ranges]) -> np.ndarray:
    """What to divide each channel by, for linear layers that take the same input: [channels]."""
    inputs = np.maximum.reduce([r.inputs for r in ranges])
    weights = np.maximum.reduce([r.weights for r in ranges])
    # A channel that was always 0 must not get the largest factor of all.
    inputs = np.maximum(inputs, inputs.max() * 1e-4)
    weights = np.maximum(weights, weights.max() * 1e-4)
    if not (inputs.max() > 0 and weights.max() > 0):
        return np.ones_like(inputs)
    factors = inputs**STRENGTH / weights ** (1 - STRENGTH)
    # Each row of a weight has its own scale: only the factors' ratios matter.
    return (factors / np.exp(np.log(factors).mean())).astype(np.float32)


def _divide(op: Op, factors: np.ndarray, users: Mapping[int, Sequence[Op]]) -> bool:
    """Divides a product's channels by factors at no cost at run time, where that is possible."""
    for i, operand in enumerate(op.inputs):
        assert operand is not None
        if operand.value is not None and operand.shape == factors.shape:
            divided = Tensor(operand.shape, operand.dtype, value=operand.value / factors)
            op.inputs = (*op.inputs[:i], divided, *op.inputs[i + 1 :])
            return True
    for operand in op.inputs:
        layer = operand.producer if operand is not None else None
        if (
            layer is not None
            and int8_weight(layer) is not None
            and layer.inputs[2] is None
            and layer.output.shape[-1:] == factors.shape
            and len(users[id(layer.output)]) == 1
        ):
            scale(layer, rows=1 / factors)
            return True
    return False


def scale(layer: Op, **factors: np.ndarray) -> None:
    """Has a linear layer use its weight with rows or columns multiplied."""
    x, matrix, bias = layer.inputs
    assert matrix is not None
    assert matrix.weight is not None
    weight = replace(matrix.weight, **{side: f.tobytes() for side, f in factors.items()})
    layer.inputs = (x, Tensor(matrix.shape, matrix.dtype, weight=weight), bias)
