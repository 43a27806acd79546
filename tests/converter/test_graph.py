"""The intermediate form: what is equal is there once, what is not needed goes."""

import numpy as np
import pytest
from taskpress.converter import ConversionError
from taskpress.converter.graph import Graph, Parameter, Tensor

SMALL = Parameter("norm", (3,), None, np.ones(3, np.float32))
LARGE = Parameter("matrix", (300, 300), "attention", None)


@pytest.fixture
def graph() -> Graph:
    graph = Graph("decode", {})
    graph.inputs["x"] = Tensor((2, 3), "float32")
    return graph


def test_equal_constants_are_one(graph: Graph) -> None:
    one = graph.constant([1.0, 2.0])
    assert one.dtype == "float32"
    assert graph.constant(np.array([1, 2], np.float32)) is one
    for other in ([1.0, 3.0], [[1.0, 2.0]], np.array([1, 2], np.int32), [-1.0, 2.0]):
        assert graph.constant(other) is not one
    assert graph.constant(0.0) is not graph.constant(-0.0)
    assert graph.constant(1.5).shape == ()


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31), 0])
def test_integers_become_int32(graph: Graph, value: int) -> None:
    constant = graph.constant(np.array([value]))
    assert constant.dtype == "int32"
    assert constant.value is not None
    assert constant.value.tolist() == [value]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16", "float64", "bool"])
def test_other_types_become_those_of_the_graph(graph: Graph, dtype: str) -> None:
    constant = graph.constant(np.ones(2, dtype))
    kinds = {"u": "int32", "i": "int32", "f": "float32", "b": "bool"}
    assert constant.dtype == kinds[np.dtype(dtype).kind]
    assert constant.value is not None
    assert constant.value.dtype == constant.dtype


def test_complex_numbers_are_refused(graph: Graph) -> None:
    with pytest.raises(ConversionError, match=r"^a constant of complex64; "):
        graph.constant(np.ones(2, np.complex64))


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_integers_that_do_not_fit_are_refused(graph: Graph, value: int) -> None:
    with pytest.raises(ConversionError, match=rf"^a constant of .*{value}.*; TFLite needs int32"):
        graph.constant(np.array([value, 5]))


def test_equal_operators_are_one(graph: Graph) -> None:
    x = graph.inputs["x"]
    cos = graph.op("COS", [x], x.shape)
    assert graph.op("COS", [x], [2, 3]) is cos
    others = [
        graph.op("SIN", [x], x.shape),
        graph.op("COS", [cos], x.shape),
        graph.op("COS", [x], (6,)),
        graph.op("COS", [x], x.shape, "int32"),
        graph.op("COS", [x], x.shape, axis=1),
        graph.op("COS", [x, None], x.shape),
    ]
    assert len({id(cos), *map(id, others)}) == 7
    assert [op.output for op in graph.ops] == [cos, *others]
    assert all(op.output.producer is op for op in graph.ops)


def test_a_parameter_is_a_constant_or_a_weight(graph: Graph) -> None:
    assert graph.operand(SMALL) is graph.constant(np.ones(3))
    weight = graph.operand(LARGE)
    assert weight.value is None
    assert weight.weight is not None
    assert (weight.weight.name, weight.weight.dtype, weight.shape) == (
        "matrix", "float32", (300, 300),
    )  # fmt: skip
    assert graph.weight(LARGE, "float32") is weight
    assert graph.weight(LARGE, "int8") is not weight
    assert graph.weight(SMALL, "int8").weight is not None


def test_finish_drops_what_no_output_needs(graph: Graph) -> None:
    x = graph.inputs["x"]
    first = graph.op("COS", [x], x.shape)
    graph.op("SIN", [graph.op("EXP", [first], x.shape)], x.shape)
    last = graph.op("ADD", [first, graph.op("ABS", [first], x.shape)], x.shape)
    graph.outputs["y"] = last
    graph.finish()
    assert [op.code for op in graph.ops] == ["COS", "ABS", "ADD"]
    assert graph.outputs == {"y": last}


def test_finish_makes_outputs_distinct(graph: Graph) -> None:
    """A runtime gives each output a buffer of its own, and none to constants."""
    x = graph.inputs["x"]
    y = graph.op("COS", [x], x.shape)
    graph.outputs = {"a": y, "b": y, "c": x, "d": x, "e": graph.constant(np.ones((2, 3)))}
    graph.finish()
    outputs = list(graph.outputs.values())
    assert outputs[0] is y
    assert len({id(x), *map(id, outputs)}) == 6
    assert [op.code for op in graph.ops] == ["COS", *["RESHAPE"] * 4]
    assert [output.producer for output in outputs] == graph.ops
    assert {output.shape for output in outputs} == {(2, 3)}
