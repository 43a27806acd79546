"""Records what a module does, operator by operator, without computing anything.

The module runs once for each signature on tensors without storage, under a dispatch mode that sees
every aten operator and hands it to its lowering. In inference mode composite operators (linear,
rms_norm, softmax, ...) arrive whole, which is the level that TFLite's operators have. What depends
on no input is computed by torch itself and becomes a constant. `torch.export` gives operators of
the same level and feeds the same lowerings; it takes ten times as long, and is there for modules
that the mode cannot follow.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from . import ConversionError
from .graph import Graph, Parameter, Tensor
from .lower_layer import LOWERINGS
from .smooth import Ranges, smooth

TORCH_DTYPES = {"float32": torch.float32, "int32": torch.int32, "bool": torch.bool}


@dataclass(frozen=True)
class TensorSpec:
    """An input's shape, and its dtype: float32 or int32."""

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class Signature:
    """One entry point of the model.

    function takes tensors by the inputs' names and returns tensors by the outputs' names.
    smoothing: what is done about outliers where linear layers are int8, the same in all signatures
    of a module, since they share the weights.
    """

    name: str
    inputs: Mapping[str, TensorSpec]
    function: Callable[..., Mapping[str, torch.Tensor]]
    smoothing: Callable[[Graph, Mapping[str, Ranges]], None] = smooth


class Recorder(TorchDispatchMode):
    """Turns the aten operators that it sees into the operators of a graph."""

    def __init__(self, graph: Graph, module: nn.Module, parameters: Mapping[int, Parameter]):
        super().__init__()
        self.graph = graph
        self.module = module
        self.parameters = parameters
        # By id(); the torch tensor is kept too, so that no other takes its id.
        self.traced: dict[int, tuple[torch.Tensor, Tensor]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # True, the default, imports torch's compiler at the first operator: 2.6 s, 70 MB.
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self.call(func, args, kwargs or {})

    def input(self, spec: TensorSpec) -> tuple[torch.Tensor, Tensor]:
        """A new input of the graph, as the module and as the graph see it."""
        tensor = Tensor(spec.shape, spec.dtype)
        return self.outside(tensor), tensor

    def outside(self, tensor: Tensor) -> torch.Tensor:
        """The storage-less torch tensor that stands for a traced tensor."""
        dtype = TORCH_DTYPES[tensor.dtype]
        # Indexing counts versions of what it returns, which tensors of inference mode refuse.
        with torch.inference_mode(False):
            stand_in = torch.empty(tensor.shape, dtype=dtype, device="meta")
        self.traced[id(stand_in)] = (stand_in, tensor)
        return stand_in

    def inside(self, x: torch.Tensor) -> Tensor | Parameter:
        """What a torch tensor is in the graph."""
        if id(x) in self.traced:
            return self.traced[id(x)][1]
        if id(x) in self.parameters:
            return self.parameters[id(x)]
        if x.device.type == "meta":
            raise ConversionError(
                f"a tensor {list(x.shape)} without values; a module's constants must be made with "
                "device='cpu', or be parameters"
            )
        # numpy has no bfloat16
        return self.graph.constant((x.float() if x.dtype == torch.bfloat16 else x).numpy())

    def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Lowers one operator, or computes it where it depends on no input."""
        tensors = [x for x in leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if not any(id(x) in self.traced for x in tensors) and not self.is_streamed_table(
            func, args
        ):
            return self.fold(func, args, kwargs)
        lower = LOWERINGS.get(str(func))
        if lower is None:
            return self.decompose(func, args, kwargs)
        try:
            result = lower(
                self.graph, *replace(args, self.inside), **replace(dict(kwargs), self.inside)
            )
        except ConversionError as error:
            raise ConversionError(f"{self.graph.name}: {self.where()}: {func}: {error}") from error
        if isinstance(result, Tensor):
            return self.outside(result)
        return [self.outside(tensor) for tensor in result]

    def is_streamed_table(self, func: Any, args: Sequence[Any]) -> bool:
        """Whether this looks up rows of a large table, by ids that may well be constant."""
        table = self.parameters.get(id(args[0])) if args else None
        lookup = func is torch.ops.aten.embedding.default
        return lookup and table is not None and table.value is None

    def fold(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Lets torch compute an operator on constants and small parameters."""

        def value(x: torch.Tensor) -> torch.Tensor:
            parameter = self.parameters.get(id(x))
            if parameter is None:
                return x
            if parameter.value is None:
                raise ConversionError(
                    f"{self.graph.name}: {self.where()}: {func} on the weight {parameter.name} "
                    f"{list(parameter.shape)}: a weight this large must go straight into a "
                    "linear layer or an embedding"
                )
            return torch.from_numpy(parameter.value)

        if isinstance(kwargs.get("device"), torch.device):
            kwargs = {**kwargs, "device": torch.device("cpu")}
        return func(*replace(args, value), **replace(dict(kwargs), value))

    def decompose(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Tries an operator without a lowering as the simpler ones that torch makes it of."""
        with self:
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            shapes = [list(x.shape) for x in leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
            raise ConversionError(
                f"{self.graph.name}: {self.where()}: {func} on {shapes}: not an operator that can "
                "be lowered; see LOWERINGS in converter/lower.py for those that can"
            )
        return result

    def where(self) -> str:
        """The name of the innermost module that is running, for messages."""
        names = {id(module): name for name, module in self.module.named_modules()}
        frame = sys._getframe(1)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in names:
                return names[id(owner)] or type(owner).__name__
            frame = frame.f_back
        return "the signature's function"


def leaves(x: Any) -> list[Any]:
    """All that lies in nested tuples, lists and dicts."""
    if isinstance(x, dict):
        return [leaf for value in x.values() for leaf in leaves(value)]
    if isinstance(x, tuple | list):
        return [leaf for value in x for leaf in leaves(value)]
    return [x]


def replace(x: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """x with each torch tensor in it changed."""
    if isinstance(x, torch.Tensor):
        return change(x)
    if isinstance(x, dict):
        return {key: replace(value, change) for key, value in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(replace(value, change) for value in x)
    return x


def record(
    module: nn.Module,
    signature: Signature,
    parameters: Mapping[int, Parameter],
    recipe: Mapping[str, str],
) -> Graph:
    """The graph of one signature, from one run of it under the recording mode."""
    graph = Graph(signature.name, recipe)
    recorder = Recorder(graph, module, parameters)
    inputs = {}
    for name, spec in signature.inputs.items():
        inputs[name], graph.inputs[name] = recorder.input(spec)
    with torch.inference_mode(), recorder:
        outputs = signature.function(**inputs)
    return finished(recorder, outputs)


def finished(recorder: Recorder, outputs: Mapping[str, torch.Tensor]) -> Graph:
    """The recorder's graph, with its outputs named."""
    graph = recorder.graph
    for name, output in outputs.items():
        try:
            graph.outputs[name] = graph.operand(recorder.inside(output))
        except ConversionError as error:
            raise ConversionError(f"{graph.name}: output {name}: {error}") from error
    return graph


class _Entry(nn.Module):
    """A module whose forward is a signature's function, for torch.export."""

    def __init__(self, module: nn.Module, signature: Signature) -> None:
        super().__init__()
        self.inner = module
        self.signature = signature

    def forward(self, *inputs: torch.Tensor) -> Mapping[str, torch.Tensor]:
        return self.signature.function(**dict(zip(self.signature.inputs, inputs, strict=True)))


class _ExportRunner(torch.fx.Interpreter):
    """Runs an exported graph through a recorder's lowerings."""

    def __init__(self, graph_module: torch.fx.GraphModule, recorder: Recorder) -> None:
        super().__init__(graph_module)
        self.recorder = recorder

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is torch.ops.aten._assert_tensor_metadata.default:
            return None  # torch.export's own notes on dtypes
        if isinstance(target, torch._ops.OpOverload):
            return self.recorder.call(target, args, kwargs)
        return super().call_function(target, args, kwargs)


def export(
    module: nn.Module,
    signature: Signature,
    parameters: Mapping[int, Parameter],
    recipe: Mapping[str, str],
) -> Graph:
    """As `record`, by way of torch.export."""
    with _allocated(module, parameters) as allocated:
        recorder = Recorder(Graph(signature.name, recipe), module, allocated)
        stand_ins = [
            torch.empty(spec.shape, dtype=TORCH_DTYPES[spec.dtype])
            for spec in signature.inputs.values()
        ]
        entry = _Entry(module, signature)
        program = torch.export.export(entry, tuple(stand_ins), strict=False)
        known = {**dict(entry.named_parameters(remove_duplicate=False)), **program.constants}
        known |= dict(entry.named_buffers())
        inputs = iter(signature.inputs.items())
        arguments = []
        for placeholder in program.graph_signature.input_specs:
            if placeholder.target in known:
                arguments.append(known[placeholder.target])
            else:
                name, spec = next(inputs)
                outside, recorder.graph.inputs[name] = recorder.input(spec)
                arguments.append(outside)
        outputs = _ExportRunner(program.graph_module, recorder).run(*arguments)
        assert program.call_spec.out_spec is not None
        names = program.call_spec.out_spec.context
        return finished(recorder, dict(zip(names, outputs, strict=True)))


@contextmanager
def _allocated(
    module: nn.Module, parameters: Mapping[int, Parameter]
) -> Iterator[dict[int, Parameter]]:
    """Gives parameters on the meta device memory on the CPU meanwhile, where torch.export has all.

    The memory is never touched, so the system does not provide it. Yields `parameters` anew.
    """
    replaced: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}
    places = []
    for inner in module.modules():
        for name, parameter in inner.named_parameters(recurse=False, remove_duplicate=False):
            if parameter.device.type == "meta":
                new = nn.Parameter(torch.empty(parameter.shape), requires_grad=False)
                old, new = replaced.setdefault(id(parameter), (parameter, new))
                places.append((inner, name, old, new))
    try:
        for inner, name, _, new in places:
            setattr(inner, name, new)
        yield {id(replaced[key][1]) if key in replaced else key: p for key, p in parameters.items()}
    finally:
        for inner, name, old, _ in places:
            setattr(inner, name, old)


def trace(
    module: nn.Module,
    signature: Signature,
    parameters: Mapping[int, Parameter],
    recipe: Mapping[str, str],
    tracer: str | None = None,
) -> Graph:
    """The graph of one signature of a module.

    parameters: by id() of the module's. tracer: "record" or "export"; None: the first, and the
    second where torch itself fails under the recording mode. Raises ConversionError.
    """
    try:
        if tracer != "export":
            return record(module, signature, parameters, recipe)
    except RuntimeError:
        if tracer == "record":
            raise
    try:
        return export(module, signature, parameters, recipe)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ConversionError(
            f"{signature.name}: torch cannot trace {type(module).__name__}: {reason}"
        ) from error
