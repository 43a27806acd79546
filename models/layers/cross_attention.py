"""Attention of one text over another, of which keys and values are computed once."""

from torch import Tensor

from .attention import MASKED, AttentionBlock
from .kv_cache import KeyValue


def memory_mask(present: Tensor) -> Tensor:
    """0 for a token and MASKED for padding, to be added to all scores: [1, 1, 1, slots], float32.

    present: [1, slots], float32, 1 for a token of the other text and 0 for padding.
    """
    return (1 - present)[:, None, None] * MASKED


class CrossAttention(AttentionBlock):
    """Attention over the memory: the keys and values of another text, an encoder's output.

    Parts: q, hidden to heads * head_dim; k and v, the other text's hidden to heads * head_dim; o,
    heads * head_dim to hidden. Source: Vaswani et al. 2017, section 3.2.
    """

    def memory(self, states: Tensor) -> KeyValue:
        """states: [batch, slots, hidden]; returns two [batch, heads, slots, head_dim]."""
        _, k, v, _ = self.children()
        return KeyValue(
            self._in_heads(k(states)).transpose(1, 2), self._in_heads(v(states)).transpose(1, 2)
        )

    def forward(self, x: Tensor, memory: KeyValue, mask: Tensor) -> Tensor:
        """x: [batch, time, hidden], which is also what is returned; mask: from `memory_mask`."""
        q, _, _, output = self.children()
        return output(self.attend(self._in_heads(q(x)), memory.key, memory.value, mask))

    def _in_heads(self, x: Tensor) -> Tensor:
        """[batch, time, heads * head_dim] as [batch, time, heads, head_dim]."""
        return x.reshape(*x.shape[:2], -1, self.head_dim)
