"""From an encoder's hidden states to one embedding of the whole text."""

from torch import Tensor, nn

from .block import Block
from .feed_forward import Activation

# What sentence-transformers and torch divide by at least.
_FEWEST_TOKENS = 1e-9
_SHORTEST = 1e-12


class MeanPooling(nn.Module):
    """The mean over the tokens. Source: Reimers and Gurevych 2019, Sentence-BERT, section 3."""

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """x: [1, time, hidden]; present: [1, time], 1 for a token, 0 for padding: [1, hidden]."""
        count = present.sum(-1, keepdim=True).clamp(min=_FEWEST_TOKENS)
        # As a product, since the sum over time of a product would be two passes over x.
        return ((present / count)[:, None] @ x)[:, 0]


class FirstPooling(nn.Module):
    """The first token, which BERT calls CLS. Source: Devlin et al. 2018, section 3."""

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """x: [1, time, hidden]; returns [1, hidden]."""
        return x[:, 0]


class Dense(Block):
    """activation(linear(x)), [1, in_features] to [1, out_features]. Parts: a linear layer."""

    def __init__(self, parts: dict[str, nn.Module], activation: Activation) -> None:
        super().__init__(parts)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        (linear,) = self.children()
        return self.activation(linear(x))


class Normalize(nn.Module):
    """x / |x|, [1, dimensions]: embeddings whose product is their cosine."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x * x).sum(-1, keepdim=True).sqrt().clamp(min=_SHORTEST)
