"""The parts of GGUF tables that llama.cpp writes alike for most decoders.

Source: the key and tensor names of `gguf.constants`; llama.cpp's convert_hf_to_gguf.py.
"""

from collections.abc import Mapping

from ._gguf_mapping import GgufTensor

Tensors = Mapping[str, str | GgufTensor]

KEYS: Mapping[str, str] = {
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
HEAD_DIM: Mapping[str, str] = {
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.dimension_count": "head_dim",
}
RMS_NORM_EPS: Mapping[str, str] = {"attention.layer_norm_rms_epsilon": "rms_norm_eps"}
# What llama.cpp writes of models that have no experts.
NO_EXPERTS: Mapping[str, tuple[int, ...]] = {"expert_count": (0,), "expert_used_count": (0,)}


def weights_and_biases(modules: Mapping[str, str]) -> dict[str, str | GgufTensor]:
    """The tensors of modules, by GGUF's and the Hub's names; a file need not have all of them."""
    return {
        f"{ours}.{kind}": f"{theirs}.{kind}"
        for ours, theirs in modules.items()
        for kind in ("weight", "bias")
    }


TENSORS: Tensors = weights_and_biases(
    {
        "token_embd": "model.embed_tokens",
        "blk.{i}.attn_norm": "model.layers.{i}.input_layernorm",
        "blk.{i}.attn_q": "model.layers.{i}.self_attn.q_proj",
        "blk.{i}.attn_k": "model.layers.{i}.self_attn.k_proj",
        "blk.{i}.attn_v": "model.layers.{i}.self_attn.v_proj",
        "blk.{i}.attn_q_norm": "model.layers.{i}.self_attn.q_norm",
        "blk.{i}.attn_k_norm": "model.layers.{i}.self_attn.k_norm",
        "blk.{i}.attn_output": "model.layers.{i}.self_attn.o_proj",
        "blk.{i}.ffn_norm": "model.layers.{i}.post_attention_layernorm",
        "blk.{i}.ffn_gate": "model.layers.{i}.mlp.gate_proj",
        "blk.{i}.ffn_up": "model.layers.{i}.mlp.up_proj",
        "blk.{i}.ffn_down": "model.layers.{i}.mlp.down_proj",
        "output_norm": "model.norm",
        "output": "lm_head",
    }
)


def interleaved(tensors: Tensors) -> dict[str, str | GgufTensor]:
    """A table of an architecture that turns neighbours: the rows of q's and k's heads alternate."""
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    changed = dict(tensors)
    for part, key in heads.items():
        for kind in ("weight", "bias"):
            name = f"blk.{{i}}.{part}.{kind}"
            changed[name] = GgufTensor(_hub_name(tensors[name]), heads=key)
    return changed


def norms_offset(tensors: Tensors) -> dict[str, str | GgufTensor]:
    """A table of an architecture whose norms llama.cpp stores as 1 + weight."""
    return {
        name: GgufTensor(_hub_name(entry), offset=-1.0) if name.endswith("norm.weight") else entry
        for name, entry in tensors.items()
    }


def _hub_name(entry: str | GgufTensor) -> str:
    return entry if isinstance(entry, str) else entry.name
