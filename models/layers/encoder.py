"""The skeleton of an encoder: a text in one call, each position looking both ways."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .attention import Step, bidirectional_mask
from .block import Block
from .decoder import Kind


class Encoder(Block):
    """An encoder, and what makes a sentence's embedding of its hidden states.

    Parts: those that `hidden_states` takes. kinds: of each layer, in order. sentence: a pooling,
    then what is done with its output, by the names of their parameters; {} for an encoder whose
    hidden states are wanted.
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        kinds: Sequence[Kind],
        sentence: Mapping[str, nn.Module],
    ) -> None:
        super().__init__({**parts, **sentence})
        self.kinds = tuple(kinds)
        self.own_parts = len(parts)

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """tokens: [1, time], integers; mask: [1, time], integers, 1 for a token and 0 for padding.

        Returns `embedding`, [1, dimensions], or without sentence modules `hidden_states`,
        [1, time, hidden], whose rows of padding mean nothing.
        """
        children = list(self.children())
        parts, sentence = children[: self.own_parts], children[self.own_parts :]
        present = mask.float()
        steps = {kind: _step(kind, present) for kind in set(self.kinds)}
        x = self.hidden_states(tokens, [steps[kind] for kind in self.kinds], *parts)
        if not sentence:
            return {"hidden_states": x}
        pooling, *others = sentence
        x = pooling(x, present)
        for module in others:
            x = module(x)
        return {"embedding": x}

    def hidden_states(self, tokens: Tensor, steps: Sequence[Step], *parts: nn.Module) -> Tensor:
        """tokens: [1, time]; steps: of each layer; returns [1, time, hidden]."""
        raise NotImplementedError


def _step(kind: Kind, present: Tensor) -> Step:
    """What the layers of one kind need. present: [1, time], float32."""
    assert kind.bias is None, "a decoder's bias knows one direction only"
    time = present.shape[1]
    positions = torch.arange(time, device="cpu")
    rotation = None if kind.rope is None else kind.rope(time)(positions)
    return Step(None, bidirectional_mask(present, kind.reach), rotation)


def through(layers: nn.Module, x: Tensor, steps: Sequence[Step]) -> Tensor:
    """x after a ModuleList of layers: [batch, time, hidden]."""
    for layer, step in zip(layers.children(), steps, strict=True):
        x, _ = layer(x, step, None)
    return x
