"""OpenELM for the contract, since transformers has none: a whole text at once, head by head.

Written from Mehta et al. 2024, "OpenELM", and the config.json of apple/OpenELM-270M, and sharing
nothing with models/: complex rotation, a loop over heads, and no cache.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight


class Reference(nn.Module):
    """The parameters by the checkpoint's names; `reference(tokens).logits` as in transformers."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config
        dim, size, divisor = config["model_dim"], config["head_dim"], config["ffn_dim_divisor"]
        shapes = {
            "transformer.token_embeddings.weight": (config["vocab_size"], dim),
            "transformer.norm.weight": (dim,),
        }
        for i in range(config["num_transformer_layers"]):
            q, kv = config["num_query_heads"][i], config["num_kv_heads"][i]
            inner = round(config["ffn_multipliers"][i] * dim / divisor) * divisor
            shapes |= {
                f"transformer.layers.{i}.attn.qkv_proj.weight": ((q + 2 * kv) * size, dim),
                f"transformer.layers.{i}.attn.q_norm.weight": (size,),
                f"transformer.layers.{i}.attn.k_norm.weight": (size,),
                f"transformer.layers.{i}.attn.out_proj.weight": (dim, q * size),
                f"transformer.layers.{i}.attn_norm.weight": (dim,),
                f"transformer.layers.{i}.ffn.proj_1.weight": (2 * inner, dim),
                f"transformer.layers.{i}.ffn.proj_2.weight": (dim, inner),
                f"transformer.layers.{i}.ffn_norm.weight": (dim,),
            }
        self.names = {name.replace(".", "/"): name for name in shapes}
        for key, name in self.names.items():
            self.register_parameter(key, nn.Parameter(torch.ones(shapes[name])))

    def tensors(self) -> dict[str, Tensor]:
        return {self.names[key]: value.detach() for key, value in self.named_parameters()}

    def forward(self, tokens: Tensor) -> SimpleNamespace:
        w = self.tensors()
        x = w["transformer.token_embeddings.weight"][tokens[0]]
        for i in range(self.config["num_transformer_layers"]):
            prefix = f"transformer.layers.{i}."
            x = x + self.attention(i, rms(x, w[prefix + "attn_norm.weight"]), w)
            y = rms(x, w[prefix + "ffn_norm.weight"]) @ w[prefix + "ffn.proj_1.weight"].T
            gate, up = y.chunk(2, -1)
            x = x + (F.silu(gate) * up) @ w[prefix + "ffn.proj_2.weight"].T
        x = rms(x, w["transformer.norm.weight"]) @ w["transformer.token_embeddings.weight"].T
        return SimpleNamespace(logits=x[None])

    def attention(self, i: int, x: Tensor, w: Mapping[str, Tensor]) -> Tensor:
        prefix, size = f"transformer.layers.{i}.attn.", self.config["head_dim"]
        q, kv = self.config["num_query_heads"][i], self.config["num_kv_heads"][i]
        heads = (x @ w[prefix + "qkv_proj.weight"].T).split(size, -1)
        future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
        outputs = []
        for head in range(q):
            shared = head // (q // kv)
            query = self.turned(rms(heads[head], w[prefix + "q_norm.weight"]))
            key = self.turned(rms(heads[q + shared], w[prefix + "k_norm.weight"]))
            scores = (query @ key.T / size**0.5).masked_fill(future, -torch.inf)
            outputs.append(scores.softmax(-1) @ heads[q + kv + shared])
        return torch.cat(outputs, -1) @ w[prefix + "out_proj.weight"].T

    def turned(self, x: Tensor) -> Tensor:
        """Dimension j and j + half as one complex number, turned by its position."""
        half = x.shape[-1] // 2
        rate = self.config["rope_freq_constant"] ** -(torch.arange(half) / half)
        turn = torch.polar(torch.ones(()), torch.arange(len(x))[:, None] * rate)
        y = torch.complex(x[:, :half], x[:, half:]) * turn
        return torch.cat([y.real, y.imag], -1)
