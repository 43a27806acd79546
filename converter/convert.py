"""Converts a module into a TFLite model, from its signatures to the last byte."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from torch import nn

from . import ConversionError
from .flatbuffer import Header, Packer
from .graph import LARGEST_CONSTANT, Graph, Parameter, Weight
from .layout import plan
from .quantize import RECIPES, ReadRows, chunks, refuse_not_finite, size_bytes
from .smooth import Ranges
from .trace import Signature, trace

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """A model that is ready to be written: everything about it is known but the weights' values.

    offsets: where each weight goes; size_bytes: of the whole model.
    """

    graphs: Sequence[Graph]
    header: Header
    offsets: Mapping[Weight, int]
    size_bytes: int


def plan_model(
    module: nn.Module,
    signatures: Sequence[Signature],
    read_rows: ReadRows,
    recipe: str = "none",
    ranges: Mapping[str, Ranges] | None = None,
    tracer: str | None = None,
) -> Plan:
    """Records the signatures of a module and plans the file.

    module: on the meta device, or with values; only its structure and the values of its small
    parameters are looked at. read_rows: gives parameters by the module's names. recipe: a key of
    RECIPES. ranges: what linear layers were seen to take, by the names of their weights, for the
    signatures' smoothing. tracer: see `trace`. Raises ConversionError for what cannot be lowered.
    """
    if recipe not in RECIPES:
        raise ConversionError(f"recipe {recipe!r}: needed one of {', '.join(RECIPES)}")
    parameters = parameters_of(module, read_rows)
    graphs = [trace(module, s, parameters, RECIPES[recipe], tracer) for s in signatures]
    for graph, signature in zip(graphs, signatures, strict=True):
        signature.smoothing(graph, ranges or {})
        graph.finish()
    header = Packer().model(graphs, "taskpress")
    sizes = [size_bytes(weight) for weight in header.fields]
    places, end = plan(sizes, start=len(header.data))
    offsets = dict(zip(header.fields, places, strict=True))
    for weight, offset in offsets.items():
        header.place(weight, offset, size_bytes(weight))
    return Plan(graphs, header, offsets, end)


def write_model(
    plan: Plan, read_rows: ReadRows, out: BinaryIO, progress: Progress | None = None
) -> None:
    """Streams a planned model to a seekable file, from its present position on.

    The weights are read, quantized and written in pieces of about 1 MB; the header, with
    the scales that were found, comes last. progress: called with the bytes done and in all.
    """
    base = out.tell()
    for weight, offset in plan.offsets.items():
        out.seek(base + offset)
        for row, values, scales in chunks(weight, read_rows):
            out.write(values.data)
            if scales.size:
                plan.header.set_scales(weight, row, scales)
            if progress:
                progress(out.tell() - base, plan.size_bytes)
    out.seek(base)
    out.write(plan.header.data)
    out.seek(base + plan.size_bytes)


def parameters_of(module: nn.Module, read_rows: ReadRows) -> dict[int, Parameter]:
    """The parameters by id(); a tied one once, by its first name. Values of small ones are read.

    Raises ConversionError where such a value is not finite.
    """
    parts = dict(_parts(module, "", None))
    found = {}
    for name, parameter in module.named_parameters():
        value = None
        if parameter.numel() <= LARGEST_CONSTANT:
            value = np.ascontiguousarray(read_rows(name, 0, parameter.shape[0]), np.float32)
            refuse_not_finite(value, name)
        owner = name.rpartition(".")[0]
        found[id(parameter)] = Parameter(name, tuple(parameter.shape), parts[owner], value)
    return found


def _parts(module: nn.Module, name: str, part: str | None) -> list[tuple[str, str | None]]:
    """For each module inside, by name, the `part` that it or the nearest one around it declares."""
    part = getattr(module, "part", part)
    inside = [
        entry
        for child, inner in module.named_children()
        for entry in _parts(inner, f"{name}.{child}" if name else child, part)
    ]
    return [(name, part), *inside]


def values_of(module: nn.Module) -> ReadRows:
    """Reads the rows of a module's own parameters, for one that has its values."""
    parameters = dict(module.named_parameters(remove_duplicate=False))

    def read_rows(name: str, start: int, stop: int, /) -> np.ndarray:
        return parameters[name].detach()[start:stop].float().numpy()

    return read_rows
