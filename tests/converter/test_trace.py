"""Recording: what becomes a constant, what is refused, and how the message says where."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from taskpress.converter import ConversionError
from taskpress.converter.convert import parameters_of, plan_model, values_of
from taskpress.converter.graph import LARGEST_CONSTANT
from taskpress.converter.trace import Signature, TensorSpec
from torch import Tensor, nn

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
WITHOUT_VALUES = torch.zeros(4, device="meta")


class Inner(nn.Module):
    """Applies a function in a module that has a name."""

    def __init__(self, function: Callable[[Tensor], Tensor], size: int = 4) -> None:
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Outer(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Identity(), inner])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def signature(module: nn.Module, name: str = "run") -> Signature:
    return Signature(name, {"x": TensorSpec((2, 4))}, lambda x: {"y": module(x)})


def run(path: Path) -> np.ndarray:
    runner = Interpreter(str(path)).get_signature_runner("run")
    return runner(x=X.numpy())["y"]


@pytest.mark.parametrize("tracer", ["record", "export"])
def test_a_message_names_the_signature_the_module_and_the_operator(tracer: str) -> None:
    module = Outer(Inner(lambda x: x[:, ::2]))
    with pytest.raises(ConversionError, match=r"^run: .*aten\.slice\.Tensor: a slice with step 2"):
        plan_model(module, [signature(module)], values_of(module), tracer=tracer)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            torch.linalg.pinv,
            r"^run: layers\.1: aten\.linalg_.* on \[\[.*: not an operator that can",
        ),
        (lambda x: x[:, ::2], r"^run: layers\.1: aten\.slice\.Tensor: a slice with step 2"),
        (
            lambda x: x + WITHOUT_VALUES,
            r"^run: layers\.1: aten\.add\.Tensor: a tensor \[4\] without",
        ),
    ],
)
def test_a_message_names_the_module_by_its_path(
    function: Callable[[Tensor], Tensor], message: str
) -> None:
    module = Outer(Inner(function))
    with pytest.raises(ConversionError, match=message) as error:
        plan_model(module, [signature(module)], values_of(module))
    assert "\n" not in str(error.value)


def test_what_fails_outside_of_a_module_says_so() -> None:
    module = Outer(Inner(torch.cos))
    entry = Signature("run", {"x": TensorSpec((2, 4))}, lambda x: {"y": module(x)[:, ::2]})
    with pytest.raises(ConversionError, match=r"^run: the signature's function: aten"):
        plan_model(module, [entry], values_of(module))


def test_what_depends_on_no_input_is_computed(written: Callable[..., Path]) -> None:
    inner = Inner(lambda x: x * (inner.scale * 2 + torch.arange(4).cumsum(0)).exp().sort()[0])
    module = Outer(inner)
    path = written(module, [signature(module)])
    plan = plan_model(module, [signature(module)], values_of(module))
    assert [op.code for op in plan.graphs[0].ops] == ["MUL"]
    expected = X * (2 + torch.tensor([0.0, 1, 3, 6])).exp()
    np.testing.assert_allclose(run(path), expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64])
def test_constants_of_any_type(dtype: torch.dtype, written: Callable[..., Path]) -> None:
    constant = torch.tensor([1, 2, 3, 4]).to(dtype)
    module = Outer(Inner(lambda x: x * constant.clone()))
    module.register_buffer("constant", constant)
    path = written(module, [signature(module)])
    np.testing.assert_allclose(run(path), X.numpy() * [1, 2, 3, 4], rtol=1e-6)


def test_a_large_weight_may_be_an_operand(written: Callable[..., Path]) -> None:
    """It is streamed as float32, whatever the recipe."""
    inner = Inner(lambda x: (x @ inner.scale.reshape(4, -1)).sum(-1, keepdim=True), 4)
    large = Inner(lambda x: inner(x) + large.scale, LARGEST_CONSTANT + 4)
    module = nn.ModuleList([inner, large])
    entry = Signature("run", {"x": TensorSpec((2, 4))}, lambda x: {"y": large(x)})
    path = written(module, [entry], "int8")
    expected = large(X).detach().numpy()
    np.testing.assert_allclose(run(path), expected, rtol=1e-6)


def test_computing_with_a_large_weight_alone_is_refused() -> None:
    inner = Inner(lambda x: x + (inner.scale * 2)[:4], LARGEST_CONSTANT + 1)
    module = Outer(inner)
    message = (
        r"^run: layers\.1: aten\.mul\.Tensor on the weight layers\.1\.scale \[65537\]: a weight "
        "this large must go straight into a linear layer or an embedding$"
    )
    with pytest.raises(ConversionError, match=message):
        plan_model(module, [signature(module)], values_of(module))


def test_a_tied_parameter_is_there_once_by_its_first_name() -> None:
    module = nn.ModuleDict({"table": nn.Embedding(5, 4), "head": nn.Linear(4, 5, bias=False)})
    module["head"].weight = module["table"].weight
    found = list(parameters_of(module, values_of(module)).values())
    assert [(p.name, p.shape, p.part) for p in found] == [("table.weight", (5, 4), None)]
    np.testing.assert_array_equal(found[0].value, module["table"].weight.detach().numpy())

    tokens = Signature(
        "run",
        {"x": TensorSpec((1, 2), "int32")},
        lambda x: {"y": module["head"](module["table"](x))},
    )
    plan = plan_model(module, [tokens], values_of(module), "int8")
    assert [(w.name, w.dtype) for w in plan.offsets] == [("table.weight", "int8")]


def test_parts_are_those_of_the_nearest_block() -> None:
    module = Outer(nn.Linear(4, 4))
    module.part = "attention"  # type: ignore[assignment]
    inner = Outer(nn.Linear(4, 4))
    inner.part = "feed_forward"  # type: ignore[assignment]
    module.layers.append(inner)
    parts = {p.name: p.part for p in parameters_of(module, values_of(module)).values()}
    assert parts["layers.1.weight"] == parts["layers.1.bias"] == "attention"
    assert parts["layers.2.layers.1.weight"] == "feed_forward"


def test_a_parameter_that_is_not_finite_is_refused() -> None:
    module = Outer(Inner(torch.cos))
    inner = module.layers[1]
    assert isinstance(inner, Inner)
    with torch.no_grad():
        inner.scale[2] = torch.nan
    with pytest.raises(ConversionError, match=r"^layers\.1\.scale: a value is not finite; the ch"):
        plan_model(module, [signature(module)], values_of(module))


def test_a_module_on_the_meta_device_needs_no_memory() -> None:
    with torch.device("meta"):
        module = nn.Linear(1 << 20, 1 << 20, bias=False)
    entry = Signature("run", {"x": TensorSpec((1, 1 << 20))}, lambda x: {"y": module(x)})

    def never(name: str, start: int, stop: int, /) -> np.ndarray:
        raise AssertionError(f"{name} was read")

    plan = plan_model(module, [entry], never, "int8")
    assert plan.size_bytes > 1 << 40


def test_an_unknown_recipe_is_refused() -> None:
    module = Outer(nn.Identity())
    with pytest.raises(ConversionError, match=r"^recipe 'int5': needed one of none, fp16, int8$"):
        plan_model(module, [signature(module)], values_of(module), "int5")


def test_modules_that_the_recorder_cannot_follow_are_exported(written: Callable[..., Path]) -> None:
    """torch's own attention indexes a packed parameter, which tensors of inference mode refuse."""
    torch.manual_seed(0)
    module = nn.MultiheadAttention(4, 2).eval()
    entry = Signature("run", {"x": TensorSpec((2, 4))}, lambda x: {"y": module(x, x, x)[0]})
    with pytest.raises(RuntimeError, match="inference"):
        plan_model(module, [entry], values_of(module), tracer="record")
    path = written(module, [entry])
    expected = module(X, X, X)[0].detach().numpy()
    np.testing.assert_allclose(run(path), expected, rtol=1e-5, atol=1e-6)


def test_what_neither_can_trace_says_why() -> None:
    module = Outer(Inner(lambda x: torch.ones(2, 3) @ torch.ones(2, 3) + x))
    with pytest.raises(ConversionError, match=r"^run: torch cannot trace Outer: ") as error:
        plan_model(module, [signature(module)], values_of(module))
    assert "\n" not in str(error.value)
