"""From a checkpoint to its architecture's module: without weights, or reading them as it runs."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import ENCODERS, architecture, model_type_of
from ._checkpoint import Checkpoint, check_tensors
from ._config import read_config
from ._sentence import sentence

# Elements of a weight that are in memory at a time while a streamed model runs: 8 MB.
_PIECE = 1 << 21
# Parameters that a streamed model keeps: norms and biases.
_KEPT = 1 << 16

ReadRows = Callable[[str, int, int], np.ndarray]
Observe = Callable[[str, Tensor, Tensor], None]


def model_without_weights(checkpoint: Checkpoint) -> nn.Module:
    """The module that config.json describes, on the meta device, its tensors found and checked.

    Raises CheckpointError for a model_type or a key that is not implemented, and for a tensor that
    is missing, left over or of another shape.
    """
    config = checkpoint.config
    model_type = model_type_of(config)
    module = architecture(model_type)
    where = checkpoint.path.name if checkpoint.folder is None else "config.json"
    settings = read_config(config, module.Config, where)
    with torch.device("meta"):
        if model_type in ENCODERS:
            model = module.Model(settings, sentence(checkpoint.folder, settings.hidden_size))
        else:
            model = module.Model(settings)
    every = dict(model.named_parameters(remove_duplicate=False))
    own = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in own.items()}
    check_tensors(
        checkpoint,
        {name: tuple(parameter.shape) for name, parameter in own.items()},
        module.__name__,
        tied={name: names[id(p)] for name, p in every.items() if name not in own},
    )
    return model.eval()


def load_weights(model: nn.Module, read_rows: ReadRows) -> nn.Module:
    """Gives a model from `model_without_weights` all its weights, in float32; returns it."""
    for name, parameter in list(model.named_parameters()):
        values = torch.from_numpy(np.array(read_rows(name, 0, parameter.shape[0])))
        _replace(model, parameter, nn.Parameter(values, requires_grad=False))
    return model


def stream_weights(
    model: nn.Module, read_rows: ReadRows, observe: Observe | None = None
) -> nn.Module:
    """Makes a model from `model_without_weights` run with its weights left where they are.

    Its linear layers and tables read their weights piece by piece each time they are called: the
    reference for a converted model, in float32, at the memory of its activations. Returns it.
    observe: called by each streamed linear layer with its weight's name, its input and its weight's
    largest absolute value in each column: [in_features].
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for module in model.modules():
        for parameter in list(module.parameters(recurse=False)):
            if parameter.numel() <= _KEPT and parameter.device.type == "meta":
                values = read_rows(names[id(parameter)], 0, parameter.shape[0])
                values = torch.from_numpy(np.array(values))
                _replace(model, parameter, nn.Parameter(values, requires_grad=False))
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if weight is None or weight.device.type != "meta":
            continue
        name = names[id(weight)]
        if isinstance(module, nn.Linear):
            module.forward = _StreamedLinear(module, name, read_rows, observe)
        elif isinstance(module, nn.Embedding):
            module.forward = _StreamedEmbedding(name, read_rows)
        else:
            raise TypeError(f"{name}: {type(module).__name__} has no streamed form")
    return model


def streamed_logits(
    checkpoint: Checkpoint, tokens: Sequence[int], observe: Observe | None = None
) -> Tensor:
    """What the checkpoint itself says after each token of a text: [tokens, vocabulary], float32.

    Its weights are left where they are; observe: see `stream_weights`.
    """
    model: Any = stream_weights(model_without_weights(checkpoint), checkpoint.read_rows, observe)
    positions = torch.arange(len(tokens))
    with torch.inference_mode():
        logits, _ = model(torch.tensor([tokens]), positions, model.empty_cache(len(tokens)))
    return logits[0]


def streamed_outputs(
    checkpoint: Checkpoint, texts: Sequence[Sequence[int]], observe: Observe | None = None
) -> list[Tensor]:
    """What an encoder's checkpoint itself makes of each text's tokens: its one output, float32.

    Its weights are left where they are; observe: see `stream_weights`.
    """
    model: Any = stream_weights(model_without_weights(checkpoint), checkpoint.read_rows, observe)
    found = []
    for tokens in texts:
        ids = torch.tensor([tokens])
        with torch.inference_mode():
            (output,) = model(ids, torch.ones_like(ids)).values()
        found.append(output)
    return found


def streamed_answers(
    checkpoint: Checkpoint,
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
    observe: Observe | None = None,
) -> list[Tensor]:
    """What an encoder-decoder's checkpoint itself says: of each text [tokens, vocabulary], float32.

    texts: what the encoder takes, and what the decoder does, after each token of which it says
    something. Its weights are left where they are; observe: see `stream_weights`.
    """
    model: Any = stream_weights(model_without_weights(checkpoint), checkpoint.read_rows, observe)
    found = []
    for text, answer in texts:
        ids, cache = torch.tensor([text]), model.empty_cache(len(answer))
        mask, positions = torch.ones_like(ids), torch.arange(len(answer))
        with torch.inference_mode():
            memory = model.encode(ids, mask)
            logits, _ = model(torch.tensor([answer]), positions, cache, None, memory, mask)
        found.append(logits[0])
    return found


def _replace(model: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """Puts one parameter in the place of another, wherever it is tied to."""
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter is old:
                setattr(module, name, new)


class _StreamedLinear:
    """nn.Linear's forward, a band of output features at a time."""

    def __init__(
        self, module: nn.Linear, name: str, read_rows: ReadRows, observe: Observe | None
    ) -> None:
        self.observe = observe
        self.shape = tuple(module.weight.shape)
        self.bias = module.bias
        self.name = name
        self.read_rows = read_rows

    def __call__(self, input: Tensor) -> Tensor:
        rows = self.shape[0]
        step = max(1, _PIECE // self.shape[1])
        y = input.new_empty((*input.shape[:-1], rows))
        largest = torch.zeros(self.shape[1])
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            weight = torch.from_numpy(self.read_rows(self.name, start, stop))
            y[..., start:stop] = F.linear(input, weight)
            if self.observe:
                largest = torch.maximum(largest, weight.abs().amax(0))
        if self.observe:
            self.observe(self.name, input, largest)
        return y if self.bias is None else y + self.bias


class _StreamedEmbedding:
    """nn.Embedding's forward, a row for each token."""

    def __init__(self, name: str, read_rows: ReadRows) -> None:
        self.name = name
        self.read_rows = read_rows

    def __call__(self, input: Tensor) -> Tensor:
        ids = input.flatten().tolist()
        rows = np.concatenate([self.read_rows(self.name, i, i + 1) for i in ids])
        return torch.from_numpy(rows).reshape(*input.shape, math.prod(rows.shape[1:]))
