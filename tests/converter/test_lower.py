"""Every lowering: what LiteRT computes is what torch computes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from taskpress.converter import ConversionError
from taskpress.converter.lower_layer import LOWERINGS

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(2, 3, 4, generator=GENERATOR)
Y = torch.randn(2, 3, 4, generator=GENERATOR)
ROW = torch.randn(4, generator=GENERATOR)
POSITIVE = X.abs() + 0.1
IDS = torch.tensor([2, 0, 1], dtype=torch.int32)
START = torch.tensor([3], dtype=torch.int32)

CASES: dict[str, tuple[Callable[..., object], tuple[torch.Tensor, ...]]] = {
    "add": (lambda x, y: x + y, (X, Y)),
    "add alpha": (lambda x, y: torch.add(x, y, alpha=2.5), (X, Y)),
    "add broadcast": (lambda x, y: x + y, (X, ROW)),
    "add scalar": (lambda x: x + 2, (X,)),
    "add integers": (lambda x: x + 2, (IDS,)),
    "sub": (lambda x, y: x - y, (X, Y)),
    "rsub": (lambda x: 2 - x, (X,)),
    "mul": (lambda x, y: x * y, (X, Y)),
    "mul integer by float": (lambda x: x * 0.5, (IDS,)),
    "div": (lambda x, y: x / y, (X, POSITIVE)),
    "div scalar": (lambda x: x / 3, (X,)),
    "minimum": (torch.minimum, (X, Y)),
    "maximum": (torch.maximum, (X, Y)),
    "clamp": (lambda x: x.clamp(-0.5, 0.5), (X,)),
    "clamp max of integers": (lambda x: x.clamp(max=1), (IDS,)),
    "square": (lambda x: x**2, (X,)),
    "cube": (lambda x: x**3, (X,)),
    "root": (lambda x: x**0.5, (POSITIVE,)),
    "inverse root": (lambda x: x**-0.5, (POSITIVE,)),
    "power": (lambda x: x**1.7, (POSITIVE,)),
    "abs": (torch.abs, (X,)),
    "cos": (torch.cos, (X,)),
    "sin": (torch.sin, (X,)),
    "exp": (torch.exp, (X,)),
    "log": (torch.log, (POSITIVE,)),
    "relu": (torch.relu, (X,)),
    "rsqrt": (torch.rsqrt, (POSITIVE,)),
    "sqrt": (torch.sqrt, (POSITIVE,)),
    "sigmoid": (torch.sigmoid, (X,)),
    "tanh": (torch.tanh, (X,)),
    "neg": (torch.neg, (X,)),
    "silu": (F.silu, (X,)),
    "gelu": (F.gelu, (X,)),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), (X,)),
    "softmax": (lambda x: torch.softmax(x, -1), (X,)),
    "attention": (
        lambda x, y: F.scaled_dot_product_attention(x[:, None], y[:, None], x[:, None]),
        (X, Y),
    ),
    "mean": (lambda x: x.mean(-1, keepdim=True), (X,)),
    "mean of two": (lambda x: x.mean((0, 2)), (X,)),
    "sum": (lambda x: x.sum(1), (X,)),
    "rms_norm": (lambda x, w: F.rms_norm(x, (4,), w, 1e-5), (X, ROW)),
    "layer_norm": (lambda x, w: F.layer_norm(x, (4,), w, w, 1e-5), (X, ROW)),
    "layer_norm plain": (lambda x: F.layer_norm(x, (4,)), (X,)),
    "where": (lambda x, y: torch.where(x > y, x, y), (X, Y)),
    "where scalars": (lambda x: torch.where(x > 0, 1.0, -2.0), (X,)),
    "where scalar": (lambda x: torch.where(x > 0, x, 0.5), (X,)),
    "masked_fill": (lambda x: x.masked_fill(x > 0, -1.0), (X,)),
    "comparisons": (
        lambda x, y: ((x < y) & (x <= y) | (x == y) & ~(x != y)).float() + (x >= y).float(),
        (X, Y),
    ),
    "to float": (lambda x: x.float(), (IDS,)),
    "to integer": (lambda x: (x * 3).int(), (POSITIVE,)),
    "reshape": (lambda x: x.reshape(3, -1), (X,)),
    "flatten": (lambda x: x.flatten(1), (X,)),
    "unflatten": (lambda x: x.unflatten(-1, (2, -1)), (X,)),
    "unsqueeze": (lambda x: x[:, None] + x.unsqueeze(-1)[..., 0][:, None], (X,)),
    "squeeze": (lambda x: x[:, :1].squeeze(1), (X,)),
    "permute": (lambda x: x.permute(2, 0, 1), (X,)),
    "transpose": (lambda x: x.transpose(1, 2), (X,)),
    "transpose of ones": (lambda x: x[:1].transpose(0, 1), (X,)),
    "mT": (lambda x: x.mT, (X,)),
    "slice": (lambda x: x[:, 1:, :-1], (X,)),
    "select": (lambda x: x[:, -1], (X,)),
    "narrow": (lambda x: x.narrow(1, 1, 2), (X,)),
    "split": (lambda x: x.split(3, -1), (X,)),
    "split sizes": (lambda x: x.split([1, 3], -1), (X,)),
    "chunk": (lambda x: x.chunk(2, -1), (X,)),
    "unbind": (lambda x: x.unbind(1), (X,)),
    "cat": (lambda x, y: torch.cat([x, y, x], 1), (X, Y)),
    "stack": (lambda x, y: torch.stack([x, y], 1), (X, Y)),
    "expand": (lambda x: x[:, None].expand(-1, 5, -1, -1), (X,)),
    "repeat": (lambda x: x.repeat(1, 2, 3), (X,)),
    "matmul": (lambda x, y: x @ y.transpose(1, 2), (X, Y)),
    "matmul of transposed": (lambda x, y: x.mT @ y, (X, Y)),
    "matmul broadcast": (lambda x, y: x @ y[0].T, (X, Y)),
    "index_select": (lambda x, i: x.index_select(1, i), (X, IDS)),
    "index_copy": (
        lambda x, y, i: x.index_copy(1, i.long() + torch.arange(2), y[:, :2]),
        (X, Y, torch.tensor([1], dtype=torch.int32)),
    ),
    "index_copy of one": (lambda x, y, i: x.index_copy(0, i.long(), y[:1]), (X, Y, START - 2)),
    "index_copy of a known run": (
        lambda x, y: x.index_copy(1, torch.arange(1, 3), y[:, :2]),
        (X, Y),
    ),
    "an input as output": (lambda x: (x, x, x + 1), (X,)),
    "a constant as output": (lambda x: (x + 1, torch.arange(3)), (X,)),
    "clone, detach, dropout": (lambda x: F.dropout(x.clone().detach() + 1, training=False), (X,)),
}


@pytest.mark.parametrize("name", CASES)
def test_lowering_equals_torch(name: str, converted: Callable[..., list[np.ndarray]]) -> None:
    function, inputs = CASES[name]
    expected = function(*inputs)
    if isinstance(expected, torch.Tensor):
        expected = [expected]
    outputs = converted(function, *inputs)
    assert len(outputs) == len(expected)
    for output, tensor in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(output, tensor.numpy(), rtol=2e-5, atol=2e-6)


LINEAR = torch.nn.Linear(4, 6)
TABLE = torch.nn.Embedding(5, 4)


@pytest.mark.parametrize(("recipe", "tolerance"), [("none", 1e-6), ("fp16", 1e-3), ("int8", 3e-2)])
def test_linear_and_embedding(
    recipe: str, tolerance: float, converted: Callable[..., list[np.ndarray]]
) -> None:
    inner = torch.nn.ModuleList([LINEAR, TABLE])
    (output,) = converted(lambda i: LINEAR(TABLE(i)), IDS[None], inner=inner, recipe=recipe)
    expected = LINEAR(TABLE(IDS[None])).detach().numpy()
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() <= tolerance * np.abs(expected).max()


def test_same_operators_are_there_once(converted: Callable[..., list[np.ndarray]]) -> None:
    (output,) = converted(lambda x: torch.cos(x) * torch.cos(x), X)
    np.testing.assert_allclose(output, X.cos().numpy() ** 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: torch.linalg.inv(x[:, :, :3]),
            "linalg_inv.*not an operator that can be lowered",
        ),
        (lambda x: x[:, ::2], "step 2; only 1"),
        (lambda x: torch.softmax(x, 0), "softmax over dimension 0"),
        (lambda x: x.double(), "float64; activations are"),
        (lambda x: x[0, 0] @ x[0, 0], "unsqueeze vectors"),
        (lambda x: x.index_copy(1, (x[0, 0, :2]).long(), x[:, :2]), "consecutive run"),
        (lambda x: x.index_copy(1, torch.tensor([2, 0]), x[:, :2]), "consecutive run"),
        (lambda x: x + torch.full((1,), 2**40), "needs int32"),
        (lambda x: F.dropout(x, training=True), "call .eval"),
        (lambda x: x * 2 if x.sum() > 0 else x, "is_nonzero|_local_scalar_dense|item"),
        (lambda x: x.add_(1), "add_"),
    ],
)
def test_what_cannot_be_lowered_is_refused(
    function: Callable[..., object], message: str, converted: Callable[..., list[np.ndarray]]
) -> None:
    with pytest.raises(ConversionError, match=message):
        converted(function, X.clone())


def test_table_holds_aten_names_only() -> None:
    for name in LOWERINGS:
        namespace, operator, overload = name.split(".")
        assert namespace == "aten"
        packet = getattr(torch.ops.aten, operator, None)
        assert packet is not None, f"{name}: torch has no such operator"
        if overload not in packet.overloads():
            assert overload in ("Scalar", "default", "Tensor"), name


def test_export_gives_the_same_operators(converted: Callable[..., list[np.ndarray]]) -> None:
    def function(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.softmax(LINEAR(x) @ LINEAR(y).mT, -1)

    expected = converted(function, X, Y, inner=LINEAR)
    (output,) = converted(function, X, Y, inner=LINEAR, tracer="export")
    np.testing.assert_array_equal(output, expected[0])
