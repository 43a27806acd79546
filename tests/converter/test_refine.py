"""Refinement: the same function in exact arithmetic, a nearer one in 8 bits."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from taskpress.converter.convert import plan_model, values_of
from taskpress.converter.graph import Graph
from taskpress.converter.refine import OUTLIERS, refine
from taskpress.converter.smooth import Ranges, int8_weight
from taskpress.converter.trace import Signature, TensorSpec
from torch import Tensor, nn

TIME, HIDDEN, INNER = 12, 16, 32
LAYERS = ("q", "k", "down", "out")


class Block(nn.Module):
    """Linear layers that have nothing free in front of them; outliers have small weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.q, self.k = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.down = nn.Linear(INNER, HIDDEN)
        self.out = nn.Linear(HIDDEN, 4, bias=False)
        with torch.no_grad():
            self.q.weight[:, 3] /= 40
            self.k.weight[:, 3] /= 40
            self.down.weight[:, [7, 9]] /= 4

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        y = torch.tanh(self.q(x)) * torch.sigmoid(self.k(x)) + self.down(z)
        return self.out(torch.tanh(y))


@pytest.fixture(scope="module")
def block() -> Block:
    return Block().eval()


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    """x has one channel that a product can take; z has two that reach far, in few positions."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, TIME, HIDDEN, generator=generator)
    z = torch.randn(1, TIME, INNER, generator=generator)
    x[..., 3] *= 40
    z[:, 2, 7], z[:, 5, 9] = 150, -130
    return {"x": x, "z": z}


@pytest.fixture(scope="module")
def ranges(block: Block, inputs: dict[str, Tensor]) -> dict[str, Ranges]:
    found = {}

    def observe(name: str) -> Callable[..., None]:
        def hook(layer: nn.Linear, taken: tuple[Tensor], _: Tensor) -> None:
            largest = taken[0].abs().flatten(0, -2).amax(0).detach().numpy()
            found[f"{name}.weight"] = Ranges(largest, layer.weight.detach().abs().amax(0).numpy())

        return hook

    hooks = [getattr(block, name).register_forward_hook(observe(name)) for name in LAYERS]
    block(**inputs)
    for hook in hooks:
        hook.remove()
    return found


def signature(block: Block, **smoothing: Any) -> Signature:
    specs = {"x": TensorSpec((1, TIME, HIDDEN)), "z": TensorSpec((1, TIME, INNER))}
    return Signature("run", specs, lambda x, z: {"y": block(x, z)}, **smoothing)


def refined(block: Block, ranges: dict[str, Ranges], recipe: str = "int8") -> Graph:
    plan = plan_model(block, [signature(block, smoothing=refine)], values_of(block), recipe, ranges)
    return plan.graphs[0]


def evaluate(graph: Graph, block: Block, inputs: dict[str, Tensor]) -> np.ndarray:
    """What a graph computes, in float64, with its weights' factors and without rounding them."""
    values = {id(graph.inputs[name]): x.double().numpy() for name, x in inputs.items()}
    stored = dict(block.named_parameters())

    def value(tensor: Any) -> Any:
        if tensor is None:
            return 0.0
        if tensor.value is not None:
            return tensor.value if tensor.value.dtype == np.int32 else tensor.value.astype("f8")
        if tensor.weight is None:
            return values[id(tensor)]
        weight = stored[tensor.weight.name].detach().double().numpy()
        columns = np.frombuffer(tensor.weight.columns or np.ones(1, "f4").tobytes(), np.float32)
        return weight * columns

    for op in graph.ops:
        values[id(op.output)] = COMPUTE[op.code](*map(value, op.inputs))
        assert values[id(op.output)].shape == op.output.shape, op.code
    return values[id(graph.outputs["y"])]


COMPUTE: dict[str, Callable[..., np.ndarray]] = {
    "ADD": np.add,
    "CONCATENATION": lambda x, y: np.concatenate([x, y]),
    "FULLY_CONNECTED": lambda x, weight, bias: x @ weight.T + bias,
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "MUL": np.multiply,
    "SLICE": lambda x, begin, size: x[
        tuple(slice(b, b + n) for b, n in zip(begin, size, strict=True))
    ],
    "SUB": np.subtract,
    "TANH": np.tanh,
}


def test_it_is_the_same_function_in_exact_arithmetic(
    block: Block, inputs: dict[str, Tensor], ranges: dict[str, Ranges]
) -> None:
    expected = evaluate(refined(block, {}), block, inputs)
    torch_says = block(**inputs).detach().numpy()
    np.testing.assert_allclose(expected, torch_says, rtol=1e-4, atol=1e-5)
    found = evaluate(refined(block, ranges), block, inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_which_layers_get_what(block: Block, ranges: dict[str, Ranges]) -> None:
    layers: dict[str, Any] = {}
    for op in refined(block, ranges).ops:
        weight = int8_weight(op)
        if weight is not None:
            layers[weight.name] = op
            largest = ranges[weight.name].inputs / np.frombuffer(weight.columns, np.float32)
            in_rows = largest.max() >= OUTLIERS * np.median(largest)
            assert in_rows == (weight.name == "down.weight")
    before = {name: layer.inputs[0].producer.code for name, layer in layers.items()}
    assert before == {
        "q.weight": "MUL",
        "k.weight": "MUL",
        "down.weight": "CONCATENATION",
        "out.weight": "MUL",
    }
    assert layers["q.weight"].inputs[0] is layers["k.weight"].inputs[0]


def test_what_was_not_seen_and_other_recipes_are_left_alone(
    block: Block, ranges: dict[str, Ranges]
) -> None:
    plain = Counter(op.code for op in refined(block, {}).ops)
    for recipe in ("none", "fp16"):
        found = Counter(op.code for op in refined(block, ranges, recipe).ops)
        found.pop("DEQUANTIZE", None)
        assert found == plain
    few = refined(block, {"out.weight": ranges["out.weight"]})
    assert Counter(op.code for op in few.ops) - plain == Counter({"MUL": 1})


def test_channels_that_are_always_zero_stay_finite(
    block: Block, inputs: dict[str, Tensor], ranges: dict[str, Ranges]
) -> None:
    nothing = {name: Ranges(r.inputs * 0, r.weights) for name, r in ranges.items()}
    expected = evaluate(refined(block, {}), block, inputs)
    np.testing.assert_allclose(
        evaluate(refined(block, nothing), block, inputs), expected, rtol=1e-5
    )


def test_eight_bits_lose_less(
    block: Block, inputs: dict[str, Tensor], ranges: dict[str, Ranges], written: Callable[..., Path]
) -> None:
    expected = block(**inputs).detach().numpy()
    values = {name: value.numpy() for name, value in inputs.items()}
    errors = []
    for smoothing in ({}, {"smoothing": refine}):
        path = written(block, [signature(block, **smoothing)], "int8", ranges)
        runner: Any = Interpreter(str(path)).get_signature_runner("run")
        errors.append(float(np.abs(runner(**values)["y"] - expected).mean()))
    assert errors[1] < errors[0] / 2, errors
