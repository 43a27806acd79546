"""Smoothing: the same function in exact arithmetic, a nearer one in 8 bits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from taskpress.converter.convert import plan_model, values_of
from taskpress.converter.graph import Graph, Op, Weight
from taskpress.converter.smooth import STRENGTH, Ranges
from taskpress.converter.trace import Signature, TensorSpec
from torch import Tensor, nn

TIME, HIDDEN, INNER, VOCABULARY = 6, 16, 24, 40
OUTLIERS = (3, 11)


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (HIDDEN,), self.weight, 1e-6)


class Block(nn.Module):
    """A layer of a transformer without its attention, a table before it and a head behind it."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, HIDDEN)
        self.first, self.second, self.last = Norm(), Norm(), Norm()
        self.q, self.k = (nn.Linear(HIDDEN, HIDDEN, bias=False) for _ in "qk")
        self.gate, self.up = (nn.Linear(HIDDEN, INNER, bias=False) for _ in "gu")
        self.down = nn.Linear(INNER, HIDDEN, bias=False)
        self.head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.table(tokens)
        y = self.first(x)
        x = x + self.q(y) * torch.tanh(self.k(y))
        y = self.second(x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.head(self.last(x))


def block(tied: bool = False) -> Block:
    """With activations 40 times as large in a few channels, and weights that make up for it."""
    torch.manual_seed(0)
    module = Block(tied)
    with torch.no_grad():
        for channel in OUTLIERS:
            for norm, layers in (
                (module.first, (module.q, module.k)),
                (module.second, (module.gate, module.up)),
            ):
                norm.weight[channel] = 40
                for layer in layers:
                    layer.weight[:, channel] /= 40
            module.up.weight[channel] *= 40
            module.down.weight[:, channel] /= 40
    return module.eval()


def signatures(module: Block) -> list[Signature]:
    specs = {n: {"tokens": TensorSpec((1, n), "int32")} for n in (TIME, 2)}
    return [
        Signature(f"run_{n}", inputs, lambda tokens: {"y": module(tokens)})
        for n, inputs in specs.items()
    ]


def ranges_of(module: Block) -> dict[str, Ranges]:
    """What the linear layers see of every token."""
    ranges = {}
    names = {id(parameter): name for name, parameter in module.named_parameters()}

    def observe(layer: nn.Linear, inputs: tuple[Tensor], output: Tensor) -> None:
        x = inputs[0].abs().flatten(0, -2).amax(0).detach().numpy()
        ranges[names[id(layer.weight)]] = Ranges(x, layer.weight.detach().abs().amax(0).numpy())

    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    hooks = [layer.register_forward_hook(observe) for layer in layers]
    module(torch.arange(VOCABULARY)[None])
    for hook in hooks:
        hook.remove()
    return ranges


def graphs(module: Block, ranges: Mapping[str, Ranges], recipe: str = "int8") -> list[Graph]:
    plan = plan_model(module, signatures(module), values_of(module), recipe, ranges)
    return list(plan.graphs)


def weights(graph: Graph) -> dict[str, Weight]:
    """Of the linear layers, by name."""
    found = [op.inputs[1] for op in graph.ops if op.code == "FULLY_CONNECTED"]
    return {x.weight.name: x.weight for x in found if x is not None and x.weight is not None}


def evaluate(graph: Graph, module: Block, tokens: np.ndarray) -> np.ndarray:
    """What a graph computes, in float64, with its weights' factors and without rounding them."""
    values = {id(graph.inputs["tokens"]): tokens}
    stored = dict(module.named_parameters())

    def value(tensor: Any) -> np.ndarray:
        if tensor.value is not None:
            return tensor.value.astype(np.float64)
        if tensor.weight is None:
            return values[id(tensor)]
        weight = stored[tensor.weight.name].detach().numpy().astype(np.float64)
        if tensor.weight.rows:
            weight = weight * np.frombuffer(tensor.weight.rows, np.float32)[:, None]
        if tensor.weight.columns:
            weight = weight * np.frombuffer(tensor.weight.columns, np.float32)
        return weight

    for op in graph.ops:
        operands = [value(x) for x in op.inputs if x is not None]
        values[id(op.output)] = COMPUTE[op.code](*operands).reshape(op.output.shape)
    return values[id(graph.outputs["y"])]


COMPUTE: dict[str, Callable[..., np.ndarray]] = {
    "ADD": np.add,
    "EMBEDDING_LOOKUP": lambda ids, table: table[ids.astype(int).ravel()],
    "FULLY_CONNECTED": lambda x, weight: x @ weight.T,
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "MEAN": lambda x, axes: x.mean(axis=int(axes[0]), keepdims=True),
    "MUL": np.multiply,
    "RESHAPE": lambda x, _: x,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "TANH": np.tanh,
}


@pytest.mark.parametrize("tied", [False, True])
def test_it_is_the_same_function_in_exact_arithmetic(tied: bool) -> None:
    module = block(tied)
    plain, smoothed = (graphs(module, ranges)[0] for ranges in ({}, ranges_of(module)))
    for tokens in np.arange(VOCABULARY // TIME * TIME).reshape(-1, 1, TIME):
        expected = evaluate(plain, module, tokens)
        torch_says = module(torch.from_numpy(tokens)).detach().numpy()
        np.testing.assert_allclose(expected, torch_says, rtol=1e-3, atol=1e-4)
        # the factors are float32: each product of one and its inverse is 1 within 1e-7
        error = np.abs(evaluate(smoothed, module, tokens) - expected).max()
        assert error <= 1e-6 * np.abs(expected).max()


def test_where_the_factors_go() -> None:
    module = block()
    found = weights(graphs(module, ranges_of(module))[0])
    sides = {name: (bool(w.rows), bool(w.columns)) for name, w in found.items()}
    assert sides == {
        "q.weight": (False, True),
        "k.weight": (False, True),
        "gate.weight": (False, True),
        "up.weight": (True, True),
        "down.weight": (False, True),
        "head.weight": (False, True),
    }
    assert found["q.weight"].columns == found["k.weight"].columns
    assert found["gate.weight"].columns == found["up.weight"].columns
    rows, columns = (
        np.frombuffer(side, np.float32)
        for side in (found["up.weight"].rows, found["down.weight"].columns)
    )
    np.testing.assert_allclose(rows * columns, 1, rtol=1e-6)


def test_the_factors_are_those_of_the_paper() -> None:
    module = block()
    ranges = ranges_of(module)
    found = np.frombuffer(weights(graphs(module, ranges)[0])["down.weight"].columns, np.float32)
    down = ranges["down.weight"]
    expected = down.inputs**STRENGTH / down.weights ** (1 - STRENGTH)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-5)
    assert set(np.argsort(found)[-2:]) == set(OUTLIERS)


def test_a_table_that_is_the_head_too_is_left_alone() -> None:
    module = block(tied=True)
    ranges = ranges_of(module)
    assert "table.weight" in ranges
    plan = plan_model(module, signatures(module), values_of(module), "int8", ranges)
    assert plan.offsets.keys() >= {Weight("table.weight", (VOCABULARY, HIDDEN), "int8")}
    assert len(plan.offsets) == 6


def test_all_signatures_agree() -> None:
    """Else the weights would be stored twice."""
    module = block()
    ranges = ranges_of(module)
    first, second = (weights(graph) for graph in graphs(module, ranges))
    assert first == second
    plan = plan_model(module, signatures(module), values_of(module), "int8", ranges)
    assert len(plan.offsets) == 7
    assert plan.size_bytes < 1.3 * plan_of(module, {}).size_bytes


def test_also_where_a_signature_does_not_need_the_head() -> None:
    """As prefill: what is dropped from one signature is smoothed before."""
    module = block()
    entry = Signature("prefill", {"tokens": TensorSpec((1, 3), "int32")}, hidden(module))
    both = [*signatures(module), entry]
    plan = plan_model(module, both, values_of(module), "int8", ranges_of(module))
    assert weights(plan.graphs[0]).items() >= weights(plan.graphs[2]).items()
    assert "head.weight" not in weights(plan.graphs[2])
    assert len(plan.offsets) == 7


def hidden(module: Block) -> Callable[..., Mapping[str, Tensor]]:
    def function(tokens: Tensor) -> Mapping[str, Tensor]:
        seen = []
        hook = module.last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        module(tokens)
        hook.remove()
        return {"hidden": seen[0]}

    return function


def plan_of(module: Block, ranges: Mapping[str, Ranges], recipe: str = "int8") -> Any:
    return plan_model(module, signatures(module), values_of(module), recipe, ranges)


@pytest.mark.parametrize("recipe", ["none", "fp16"])
def test_other_recipes_are_left_alone(recipe: str) -> None:
    module = block()
    for plain, with_ranges in zip(
        graphs(module, {}, recipe), graphs(module, ranges_of(module), recipe), strict=True
    ):
        assert [op.code for op in plain.ops] == [op.code for op in with_ranges.ops]
        assert weights(plain) == weights(with_ranges)


def test_what_was_not_seen_is_left_alone() -> None:
    module = block()
    ranges = ranges_of(module)
    del ranges["k.weight"], ranges["down.weight"]
    found = weights(graphs(module, ranges)[0])
    assert {name for name, w in found.items() if w.columns} == {
        "gate.weight", "up.weight", "head.weight",
    }  # fmt: skip
    assert not any(w.rows for w in found.values())


def test_channels_that_are_always_zero_stay_finite() -> None:
    module = block()
    with torch.no_grad():
        module.second.weight[5] = 0
        module.down.weight[:, 7] = 0
    ranges = ranges_of(module)
    for weight in weights(graphs(module, ranges)[0]).values():
        for side in (weight.rows, weight.columns):
            factors = np.frombuffer(side, np.float32)
            assert np.isfinite(factors).all()
            assert (factors > 0).all()
    nothing = {name: Ranges(r.inputs * 0, r.weights) for name, r in ranges.items()}
    plain, silent = graphs(module, {})[0], graphs(module, nothing)[0]
    tokens = np.arange(TIME)[None]
    np.testing.assert_array_equal(evaluate(silent, module, tokens), evaluate(plain, module, tokens))


def test_eight_bits_lose_less(written: Callable[..., Path]) -> None:
    module = block()

    def feed_forward(x: Tensor) -> dict[str, Tensor]:
        y = module.second(x)
        return {"y": module.down(F.silu(module.gate(y)) * module.up(y))}

    entry = Signature("run", {"x": TensorSpec((VOCABULARY, HIDDEN))}, feed_forward)
    x = module.table.weight.detach()
    expected = feed_forward(x)["y"].detach().numpy()
    errors = []
    for ranges in ({}, ranges_of(module)):
        runner: Any = Interpreter(
            str(written(module, [entry], "int8", ranges))
        ).get_signature_runner("run")
        errors.append(float(np.abs(runner(x=x.numpy())["y"] - expected).mean()))
    assert errors[1] < errors[0] / 5, errors


def test_operators_stay_in_order() -> None:
    module = block()
    for graph in graphs(module, ranges_of(module)):
        made: set[int] = set(map(id, graph.inputs.values()))
        for op in graph.ops:
            assert all(is_known(x, made) for x in op.inputs), op_name(op)
            made.add(id(op.output))


def is_known(tensor: Any, made: set[int]) -> bool:
    known = tensor is None or tensor.value is not None or tensor.weight is not None
    return known or id(tensor) in made


def op_name(op: Op) -> str:
    return f"{op.code} {op.output.shape}"
