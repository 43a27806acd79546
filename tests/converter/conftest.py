"""Converts plain functions of tensors, and modules, and runs them in LiteRT."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from taskpress.converter.convert import plan_model, values_of, write_model
from taskpress.converter.smooth import Ranges
from taskpress.converter.trace import Signature, TensorSpec

Run = Callable[..., list[np.ndarray]]


class Function(torch.nn.Module):
    """A module whose parameters are those of another and whose forward is a function."""

    def __init__(self, function: Callable[..., object], inner: torch.nn.Module | None) -> None:
        super().__init__()
        self.function = function
        if inner is not None:
            self.inner = inner


@pytest.fixture
def converted(tmp_path: Path) -> Run:
    """converted(function, *inputs, inner=module, recipe="none") gives the outputs of LiteRT."""

    def run(
        function: Callable[..., object],
        *inputs: torch.Tensor,
        inner: torch.nn.Module | None = None,
        recipe: str = "none",
        tracer: str = "record",
    ) -> list[np.ndarray]:
        names = [f"x{i}" for i in range(len(inputs))]
        module = Function(function, inner)

        def call(**kwargs: torch.Tensor) -> dict[str, torch.Tensor]:
            result = function(*(kwargs[name] for name in names))
            outputs = result if isinstance(result, tuple | list) else [result]
            return {f"y{i}": output for i, output in enumerate(outputs)}

        specs = {
            name: TensorSpec(tuple(x.shape), str(x.dtype).removeprefix("torch."))
            for name, x in zip(names, inputs, strict=True)
        }
        signature = Signature("run", specs, call)
        read = values_of(module)
        plan = plan_model(module, [signature], read, recipe, tracer=tracer)
        path = tmp_path / "model.tflite"
        with path.open("wb+") as file:
            write_model(plan, read, file)
        assert path.stat().st_size == plan.size_bytes
        runner = Interpreter(str(path)).get_signature_runner("run")
        values = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        outputs = runner(**values)
        return [outputs[f"y{i}"] for i in range(len(outputs))]

    return run


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """written(module, signatures, recipe="none", ranges=None) gives the path of the model."""

    def write(
        module: torch.nn.Module,
        signatures: Sequence[Signature],
        recipe: str = "none",
        ranges: Mapping[str, Ranges] | None = None,
    ) -> Path:
        read = values_of(module)
        plan = plan_model(module, signatures, read, recipe, ranges)
        path = tmp_path / "model.tflite"
        with path.open("wb+") as file:
            write_model(plan, read, file)
        assert path.stat().st_size == plan.size_bytes
        return path

    return write
