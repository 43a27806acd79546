"""The file, read back with the classes that LiteRT ships: nothing of ours."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from taskpress.converter.convert import plan_model, values_of, write_model
from taskpress.converter.trace import Signature, TensorSpec
from torch import Tensor, nn

ALIGNMENT = 64
DATA_ALIGNMENT = 16  # inside the flatbuffer


class Tiny(nn.Module):
    """A table that is also the head, a linear layer with a bias, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(37, 12)
        self.linear = nn.Linear(12, 12)
        self.norm = nn.Parameter(torch.linspace(0.5, 1.5, 12))
        self.head = nn.Linear(12, 37, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        x = self.linear(self.table(tokens)) * self.norm
        return {"hidden": x, "logits": self.head(x)}


@pytest.fixture(scope="module")
def module() -> Tiny:
    torch.manual_seed(0)
    return Tiny()


def signatures(module: Tiny) -> list[Signature]:
    return [
        Signature(f"run_{n}", {"tokens": TensorSpec((1, n), "int32")}, module) for n in (5, 2, 1)
    ]


def model_bytes(module: Tiny, recipe: str, before: bytes = b"") -> bytes:
    """The model, written behind other bytes."""
    read = values_of(module)
    plan = plan_model(module, signatures(module), read, recipe)
    file = io.BytesIO(before)
    file.seek(len(before))
    told: list[tuple[int, int]] = []
    write_model(plan, read, file, lambda done, total: told.append((done, total)))
    assert file.tell() == len(before) + plan.size_bytes == len(file.getvalue())
    assert told == sorted(told)
    assert told[-1] == (plan.size_bytes, plan.size_bytes)
    return file.getvalue()[len(before) :]


def tensors(model: Any) -> list[tuple[str, Any]]:
    """(signature, tensor) of all."""
    return [
        (graph.Name().decode(), graph.Tensors(i))
        for graph in map(model.Subgraphs, range(model.SubgraphsLength()))
        for i in range(graph.TensorsLength())
    ]


def external(model: Any) -> dict[int, tuple[int, int]]:
    """The buffers that lie behind the flatbuffer: offset and size by index."""
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    return {i: (b.Offset(), b.Size()) for i, b in enumerate(buffers) if b.Offset()}


@pytest.mark.parametrize(("recipe", "item"), [("none", 4), ("fp16", 2), ("int8", 1)])
def test_weights_lie_behind_the_flatbuffer_once_and_aligned(
    recipe: str, item: int, module: Tiny
) -> None:
    data = model_bytes(module, recipe)
    model = schema.Model.GetRootAs(data)
    places = sorted(external(model).values())
    assert [size for _, size in places] == [37 * 12 * item, 12 * 12 * item]
    plan = plan_model(module, signatures(module), values_of(module), recipe)
    for (offset, size), following in zip(places, [*places[1:], (len(data), 0)], strict=True):
        assert offset % ALIGNMENT == 0
        assert offset >= len(plan.header.data)
        assert 0 <= following[0] - (offset + size) < ALIGNMENT
    assert sum(places[-1]) == len(data)


def test_all_signatures_share_them(module: Tiny) -> None:
    model = schema.Model.GetRootAs(model_bytes(module, "int8"))
    outside = external(model)
    uses: dict[str, set[int]] = {}
    tables: dict[str, set[int]] = {}
    for _, tensor in tensors(model):
        if tensor.Buffer() in outside:
            name = tensor.Name().decode()
            uses.setdefault(name, set()).add(tensor.Buffer())
            tables.setdefault(name, set()).add(tensor.Quantization()._tab.Pos)
    assert {name: len(buffers) for name, buffers in uses.items()} == {
        "table.weight": 1,
        "linear.weight": 1,
    }
    assert [len(positions) for positions in tables.values()] == [1, 1]


def test_int8_values_scales_and_zero_points(module: Tiny) -> None:
    data = model_bytes(module, "int8")
    model = schema.Model.GetRootAs(data)
    expected = {"table.weight": module.table.weight, "linear.weight": module.linear.weight}
    seen = set()
    for _, tensor in tensors(model):
        name = tensor.Name().decode()
        if name not in expected:
            assert tensor.Quantization() is None
            continue
        values = expected[name].detach().numpy()
        quantization = tensor.Quantization()
        scales = quantization.ScaleAsNumpy()
        np.testing.assert_array_equal(scales, np.abs(values).max(1) / np.float32(127))
        assert quantization.QuantizedDimension() == 0
        np.testing.assert_array_equal(quantization.ZeroPointAsNumpy(), np.zeros(len(values)))
        assert tensor.Type() == schema.TensorType.INT8
        offset, size = external(model)[tensor.Buffer()]
        stored = np.frombuffer(data, np.int8, size, offset).reshape(values.shape)
        assert (np.abs(stored * scales[:, None] - values) <= scales[:, None] * 0.5001).all()
        seen.add(name)
    assert seen == expected.keys()


@pytest.mark.parametrize(("recipe", "dtype"), [("none", np.float32), ("fp16", np.float16)])
def test_values_of_the_other_recipes(recipe: str, dtype: type, module: Tiny) -> None:
    data = model_bytes(module, recipe)
    model = schema.Model.GetRootAs(data)
    (index,) = {t.Buffer() for _, t in tensors(model) if t.Name() == b"linear.weight"}
    offset, size = external(model)[index]
    expected = module.linear.weight.detach().numpy().astype(dtype)
    assert data[offset : offset + size] == expected.tobytes()


def test_constants_lie_inside_aligned_and_once(module: Tiny) -> None:
    data = model_bytes(module, "int8")
    model = schema.Model.GetRootAs(data)
    contents = []
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        if not buffer.DataIsNone():
            field = buffer._tab.Offset(4)
            assert buffer._tab.Vector(field) % DATA_ALIGNMENT == 0
            contents.append(buffer.DataAsNumpy().tobytes())
    assert len(contents) == len(set(contents))
    for constant in (module.norm, module.linear.bias):
        assert constant.detach().numpy().tobytes() in contents
    empty = model.Buffers(0)
    assert empty.DataIsNone()
    assert (empty.Offset(), empty.Size()) == (0, 0)


def test_the_model_and_its_signatures(module: Tiny) -> None:
    model = schema.Model.GetRootAs(model_bytes(module, "none"))
    assert schema.Model.ModelBufferHasIdentifier(model_bytes(module, "none"), 0)
    assert model.Version() == 3
    assert model.Description() == b"taskpress"
    assert model.SubgraphsLength() == model.SignatureDefsLength() == 3
    for i, time in enumerate((5, 2, 1)):
        signature, graph = model.SignatureDefs(i), model.Subgraphs(i)
        assert signature.SignatureKey() == graph.Name() == f"run_{time}".encode()
        assert signature.SubgraphIndex() == i
        (tokens,) = [signature.Inputs(j) for j in range(signature.InputsLength())]
        assert tokens.Name() == b"tokens"
        assert [tokens.TensorIndex()] == graph.InputsAsNumpy().tolist()
        assert graph.Tensors(tokens.TensorIndex()).ShapeAsNumpy().tolist() == [1, time]
        assert graph.Tensors(tokens.TensorIndex()).Type() == schema.TensorType.INT32
        outputs = [signature.Outputs(j) for j in range(signature.OutputsLength())]
        assert [output.Name() for output in outputs] == [b"hidden", b"logits"]
        assert [output.TensorIndex() for output in outputs] == graph.OutputsAsNumpy().tolist()
        shapes = [graph.Tensors(o.TensorIndex()).ShapeAsNumpy().tolist() for o in outputs]
        assert shapes == [[1, time, 12], [1, time, 37]]


def test_operators_read_what_was_made_before(module: Tiny) -> None:
    model = schema.Model.GetRootAs(model_bytes(module, "fp16"))
    for graph in map(model.Subgraphs, range(3)):
        buffers = [graph.Tensors(i).Buffer() for i in range(graph.TensorsLength())]
        known = {i for i, buffer in enumerate(buffers) if buffer} | {*graph.InputsAsNumpy()}
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            assert operator.OpcodeIndex() < model.OperatorCodesLength()
            assert {*operator.InputsAsNumpy()} <= {*known, -1}
            known |= {*operator.OutputsAsNumpy()}
        assert {*graph.OutputsAsNumpy()} <= known


@pytest.mark.parametrize("recipe", ["none", "fp16", "int8"])
def test_the_same_module_gives_the_same_bytes_anywhere_in_a_file(recipe: str, module: Tiny) -> None:
    """Offsets count from the beginning of the model: in a bundle it is not that of the file."""
    assert model_bytes(module, recipe) == model_bytes(module, recipe, before=b"x" * 57)


def test_exact_bytes_of_the_smallest_model() -> None:
    """Changes with what is written: look at the difference, then state the new digest."""
    module = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        module.weight[:] = torch.tensor([[1.0, -2.0]])
    entry = Signature("run", {"x": TensorSpec((1, 2))}, lambda x: {"y": module(x)})
    read = values_of(module)
    plan = plan_model(module, [entry], read, "int8")
    file = io.BytesIO()
    write_model(plan, read, file)
    data = file.getvalue()
    assert data[-2:] == bytes([64, 256 - 127])
    assert (len(data), hashlib.sha256(data).hexdigest()[:16]) == (642, "b7fdfdce9d4046ca")


@pytest.mark.parametrize("time", [5, 2, 1])
def test_litert_computes_what_torch_does(
    time: int, module: Tiny, written: Callable[..., Path]
) -> None:
    runner: Any = Interpreter(str(written(module, signatures(module)))).get_signature_runner(
        f"run_{time}"
    )
    tokens = np.arange(time, dtype=np.int32)[None] * 7
    outputs = runner(tokens=tokens)
    for name, expected in module(torch.from_numpy(tokens)).items():
        np.testing.assert_allclose(outputs[name], expected.detach().numpy(), rtol=1e-5, atol=1e-6)
