"""Llama, and what shares its architecture: Llama 2 and 3, TinyLlama, SmolLM2."""

from ._gguf_mapping import GgufArchitecture, GgufTensor

GGUF = GgufArchitecture(
    name="llama",
    config={
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.key_length": "head_dim",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
        "attention.value_length": "head_dim",
        "block_count": "num_hidden_layers",
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "feed_forward_length": "intermediate_size",
        "rope.dimension_count": "head_dim",
        "rope.freq_base": "rope_theta",
        "vocab_size": "vocab_size",
    },
    tensors={
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.{i}.attn_norm.weight": "model.layers.{i}.input_layernorm.weight",
        "blk.{i}.attn_q.weight": GgufTensor(
            "model.layers.{i}.self_attn.q_proj.weight", heads="num_attention_heads"
        ),
        "blk.{i}.attn_q.bias": GgufTensor(
            "model.layers.{i}.self_attn.q_proj.bias", heads="num_attention_heads"
        ),
        "blk.{i}.attn_k.weight": GgufTensor(
            "model.layers.{i}.self_attn.k_proj.weight", heads="num_key_value_heads"
        ),
        "blk.{i}.attn_k.bias": GgufTensor(
            "model.layers.{i}.self_attn.k_proj.bias", heads="num_key_value_heads"
        ),
        "blk.{i}.attn_v.weight": "model.layers.{i}.self_attn.v_proj.weight",
        "blk.{i}.attn_v.bias": "model.layers.{i}.self_attn.v_proj.bias",
        "blk.{i}.attn_output.weight": "model.layers.{i}.self_attn.o_proj.weight",
        "blk.{i}.attn_output.bias": "model.layers.{i}.self_attn.o_proj.bias",
        "blk.{i}.ffn_norm.weight": "model.layers.{i}.post_attention_layernorm.weight",
        "blk.{i}.ffn_gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
        "blk.{i}.ffn_gate.bias": "model.layers.{i}.mlp.gate_proj.bias",
        "blk.{i}.ffn_up.weight": "model.layers.{i}.mlp.up_proj.weight",
        "blk.{i}.ffn_up.bias": "model.layers.{i}.mlp.up_proj.bias",
        "blk.{i}.ffn_down.weight": "model.layers.{i}.mlp.down_proj.weight",
        "blk.{i}.ffn_down.bias": "model.layers.{i}.mlp.down_proj.bias",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    },
    constants={"hidden_act": "silu"},
    present={"attention_bias": "blk.0.attn_q.bias", "mlp_bias": "blk.0.ffn_up.bias"},
    harmless={"expert_count": (0,), "tensor_data_layout": ("Meta AI original pth",)},
)
