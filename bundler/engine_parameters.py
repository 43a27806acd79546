"""The messages in LlmParameters that only MediaPipe's old engine reads, to be shown.

That engine built a transformer out of weights and these numbers; one that runs a TFLite graph has
no use for them. Names, numbers and types were read from the descriptors inside mediapipe 0.10.35;
enums are shown by number.
"""

from functools import cache
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from .proto import Messages, message_class

_CLASSES = {  # field of LlmParameters -> its message
    "transformer_parameters": "TransformerParameters",
    "submodel_transformer_parameters": "TransformerParameters",
    "vision_encoder_parameters": "VisionEncoderParameters",
    "audio_encoder_parameters": "AudioEncoderParameters",
}
_MESSAGES: Messages = {
    "FeedForwardParameters": {
        "no_bias": (1, "bool", ""),
        "activation": (2, "int32", ""),
        "pre_norm": (3, "int32", ""),
        "post_norm": (4, "int32", ""),
    },
    "FinalProjectParameters": {
        "no_bias": (1, "bool", ""),
        "soft_cap_value": (2, "float", ""),
    },
    "SelfAttentionParameters": {
        "qkv_no_bias": (1, "bool", ""),
        "post_proj_no_bias": (2, "bool", ""),
        "attention_mask_type": (3, "int32", ""),
        "soft_cap_value": (4, "float", ""),
        "attention_scale_type": (5, "int32", ""),
        "sliding_window_size": (6, "int32", ""),
    },
    "ResidualAdapterParameters": {
        "where_to_interleave": (1, "int32", ""),
        "bottleneck_dimension": (2, "int32", ""),
    },
    "TransformerParameters": {
        "batch_size": (1, "int32", ""),
        "max_seq_length": (2, "int32", ""),
        "embedding_dim": (3, "int32", ""),
        "hidden_dimension": (4, "int32", ""),
        "head_dimension": (5, "int32", ""),
        "num_heads": (6, "int32", ""),
        "num_stacks": (7, "int32", ""),
        "num_kv_heads": (9, "int32", ""),
        "feed_forward_parameters": (11, "FeedForwardParameters", ""),
        "final_project_parameters": (12, "FinalProjectParameters", ""),
        "pre_norm": (13, "int32", ""),
        "post_norm": (14, "int32", ""),
        "final_norm": (15, "int32", ""),
        "self_attention_parameters": (16, "SelfAttentionParameters", ""),
        "skip_absolute_positional_embeddings": (18, "bool", ""),
        "num_local_layers_per_global": (19, "int32", ""),
        "ngram_vocabulary_size": (20, "int32", ""),
        "per_layer_embedding_dimension": (21, "int32", ""),
        "residual_adapter_parameters": (22, "ResidualAdapterParameters", ""),
        "load_per_layer_embedding_dynamically": (23, "bool", ""),
        "load_ngrammer_embedding_dynamically": (24, "bool", ""),
        "query_rescale_factor": (25, "float", ""),
        "vision_tokens_num": (26, "int32", ""),
    },
    "VisionEncoderParameters": {
        "tokens_num": (1, "int32", ""),
        "append_eoi_embedding": (2, "bool", ""),
    },
    "HW": {"h": (1, "int32", ""), "w": (2, "int32", "")},
    "ConvParams": {
        "channel_size": (1, "int32", ""),
        "kernel_size": (2, "HW", ""),
        "stride": (3, "HW", ""),
        "padding": (4, "HW", ""),
        "bias": (5, "bool", ""),
    },
    "SubSampleConvProjectionParameters": {
        "input_dims": (1, "int32", ""),
        "model_dims": (2, "int32", ""),
        "convs": (3, "ConvParams", "repeated"),
        "is_causal": (4, "bool", ""),
        "proj_bias": (5, "bool", ""),
        "norm_bias": (6, "bool", ""),
        "shrink_factor": (7, "int32", ""),
        "take_every_n": (8, "int32", ""),
    },
    "MLPAdapterParameters": {
        "num_layers": (1, "int32", ""),
        "output_dim": (2, "int32", ""),
        "initial_layer_norm": (3, "bool", ""),
    },
    "AudioEncoderParameters": {
        "sub_sample_conv_projection_parameters": (1, "SubSampleConvProjectionParameters", ""),
        "mlp_adapter_parameters": (2, "MLPAdapterParameters", ""),
        "transformer_parameters": (3, "TransformerParameters", ""),
        "pad_zero_frame_to_audio": (4, "bool", ""),
        "vocab_size": (5, "int32", ""),
    },
}


def described(name: str, data: bytes) -> dict[str, Any]:
    """The message in a field of LlmParameters: name -> number, truth value, message or list.

    name: one of `metadata.ENGINE_MESSAGES`. Fields that nobody knows are named under "unread", as
    are all bytes where they are no such message.
    """
    message = _class(_CLASSES[name])()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return {"unread": [f"{len(data)} bytes that are no {_CLASSES[name]}"]}
    values = MessageToDict(message, preserving_proto_field_name=True)
    if unread := sorted(_unread(message)):
        values["unread"] = unread
    return values


def _unread(message: Any, path: str = "") -> set[str]:
    """The fields that nobody knows, also of the messages inside."""
    found = {f"{path}field {field.field_number}" for field in UnknownFieldSet(message)}
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                found |= _unread(inner, f"{path}{field.name}.")
    return found


@cache
def _class(name: str) -> type[Message]:
    return message_class("odml.infra.proto", _MESSAGES, name)
