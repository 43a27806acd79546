"""The ways in which attention and a feed-forward make a layer.

x is [batch, time, hidden] throughout; each layer returns that shape, and its cache. cache is None
in an encoder.
"""

from torch import Tensor

from .attention import Step
from .block import Block
from .kv_cache import KeyValue


class PreNormLayer(Block):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    Parts: norm, attention, norm, feed-forward. Source: Xiong et al. 2020, "On Layer Normalization
    in the Transformer Architecture", figure 1 (b).
    """

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        norm, attention, second_norm, feed_forward = self.children()
        y, written = attention(norm(x), step, cache)
        x = x + y
        return x + feed_forward(second_norm(x)), written


class PostNormLayer(Block):
    """x + norm(attention(x)), then x + norm(feed_forward(x)).

    Parts: attention, norm, feed-forward, norm. Source: OLMo 2's report, 2024, section 3.2.
    """

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        attention, norm, feed_forward, second_norm = self.children()
        y, written = attention(x, step, cache)
        x = x + norm(y)
        return x + second_norm(feed_forward(x)), written


class SandwichLayer(Block):
    """x + norm(attention(norm(x))), then x + norm(feed_forward(norm(x))).

    Parts: norm, attention, norm, norm, feed-forward, norm. Source: Gemma 2's report, 2024, section
    2, "Post-norm and pre-norm".
    """

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        before, attention, after, second_before, feed_forward, second_after = self.children()
        y, written = attention(before(x), step, cache)
        x = x + after(y)
        return x + second_after(feed_forward(second_before(x))), written


class ParallelLayer(Block):
    """x + attention(norm(x)) + feed_forward(norm(x)), the norm computed once.

    Parts: norm, attention, feed-forward. Source: Wang and Komatsuzaki 2021, GPT-J; Chowdhery et
    al. 2022, PaLM, section 2.
    """

    def forward(self, x: Tensor, step: Step, cache: KeyValue | None) -> tuple[Tensor, KeyValue]:
        norm, attention, feed_forward = self.children()
        normed = norm(x)
        y, written = attention(normed, step, cache)
        return x + y + feed_forward(normed), written
