"""From config.json to an architecture's frozen `Config`: every key is used, known, or refused."""

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from . import CheckpointError
from ._files import shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

C = TypeVar("C", bound="DataclassInstance")

_ANY = None
_OFF = (None, False)  # 0, too
# What changes no forward pass: with any value, or with these values only. An architecture that
# has such a key as a field of its `Config` reads it all the same.
_HARMLESS: dict[str, tuple[Any, ...] | None] = {
    # where it comes from, and which software wrote it
    "_commit_hash": _ANY,
    "_model_name_or_path": _ANY,
    "_name_or_path": _ANY,
    "architectures": _ANY,
    "is_llama_config": _ANY,
    "model_type": _ANY,
    "tokenizer_class": _ANY,
    "transformers.js_config": _ANY,
    "transformers_version": _ANY,
    "unsloth_fixed": _ANY,
    "unsloth_version": _ANY,
    # how it is stored and run
    "_attn_implementation": _ANY,
    "_attn_implementation_autoset": _ANY,
    "attn_implementation": _ANY,
    "cache_implementation": _ANY,
    "dtype": _ANY,
    "max_position_embeddings": _ANY,
    "max_sequence_length": _ANY,
    "output_past": _ANY,
    "return_dict": _ANY,
    "task_specific_params": _ANY,  # of generation
    "torch_dtype": _ANY,
    "use_cache": _ANY,
    # how it was trained
    "attention_dropout": _ANY,
    "attention_probs_dropout_prob": _ANY,
    "attn_pdrop": _ANY,
    "classifier_dropout": _ANY,
    "dropout_rate": _ANY,
    "embd_pdrop": _ANY,
    "embedding_dropout": _ANY,
    "gradient_checkpointing": _ANY,
    "hidden_dropout": _ANY,
    "hidden_dropout_prob": _ANY,
    "initializer_factor": _ANY,
    "initializer_range": _ANY,
    "pretraining_tp": (None, 1),
    "resid_pdrop": _ANY,
    "residual_dropout": _ANY,
    # what goes in and comes out, which is the tokenizer's and the sampler's business
    "bos_token_id": _ANY,
    "decoder_start_token_id": _ANY,
    "eos_token_id": _ANY,
    "id2label": _ANY,
    "label2id": _ANY,
    "pad_token_id": _ANY,
    "unk_token_id": _ANY,
    # of heads that an embedding does not pass through
    "directionality": _ANY,
    "pooler_fc_size": _ANY,
    "pooler_num_attention_heads": _ANY,
    "pooler_num_fc_layers": _ANY,
    "pooler_size_per_head": _ANY,
    "pooler_type": _ANY,
    # features that are there to be switched on
    "_sliding_window_pattern": _ANY,  # written beside the layer_types that it led to
    "add_cross_attention": _OFF,
    "apply_residual_connection_post_layernorm": _OFF,
    "attention_bias": _OFF,
    "attn_logit_softcapping": (None,),
    "chunk_size_feed_forward": _OFF,
    "final_logit_softcapping": (None,),
    "full_attn_mod": (1,),
    "interpolate_factor": (1,),
    "is_decoder": _ANY,
    "is_encoder_decoder": _OFF,
    "lm_head_bias": _OFF,
    "max_window_layers": _ANY,  # read with use_sliding_window only
    "mlp_bias": _OFF,
    "output_attentions": _OFF,
    "output_hidden_states": _OFF,
    "partial_rotary_factor": (None, 1.0),
    "pruned_heads": (None, {}),
    "quantization_config": (None,),
    "reorder_and_upcast_attn": _ANY,  # the same in float32
    "rope_interleaved": _OFF,
    "rope_scaling": (None,),
    "scale_attn_by_inverse_layer_idx": _OFF,
    "scale_attn_weights": (True,),
    "sliding_window": (None,),
    "use_bidirectional_attention": _OFF,
    "use_sliding_window": _OFF,
}

_FULL, _SLIDING, _LOCAL = "full_attention", "sliding_attention", "rope_local_base_freq"

# TFLite counts in int32. A model of more layers than this would take hours to set up, one of wider
# ones fill the memory with its frequencies, or have more elements than torch can count.
_MOST = (1 << 31) - 1
_WIDEST = 1 << 20
_MOST_OF = {
    "head_dim": 1 << 14,
    "hidden_size": _WIDEST,
    "intermediate_size": _WIDEST,
    "num_attention_heads": 1 << 14,
    "num_hidden_layers": 1024,
    "num_key_value_heads": 1 << 14,
    # the same in the words of GPT-2, OpenELM, Falcon and T5
    "d_ff": _WIDEST,
    "d_kv": 1 << 14,
    "d_model": _WIDEST,
    "ffn_hidden_size": _WIDEST,
    "model_dim": _WIDEST,
    "n_embd": _WIDEST,
    "n_head": 1 << 14,
    "n_inner": _WIDEST,
    "n_layer": 1024,
    "num_decoder_layers": 1024,
    "num_heads": 1 << 14,
    "num_layers": 1024,
    "num_transformer_layers": 1024,
    # a bias of more than these is none
    "relative_attention_num_buckets": 1024,
}
_LARGEST_FLOAT = sys.float_info.max
_NEEDED = {bool: "true or false", str: "a string", Mapping: "an object"}


def read_config(config: Mapping[str, Any], cls: type[C], where: str) -> C:
    """An architecture's `Config` from config.json.

    Each key is a field of `cls`, or changes no forward pass, or is refused. The fields' types are
    int, float, bool, str, Mapping, a Literal or a tuple of one of them, each perhaps with
    `| None`; integers are at least 1 and floats above 0. A ValueError of `cls` itself, about
    values that do not fit together, gets `where` before it.
    where: the file, for the message. Raises CheckpointError.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    annotations = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    if "rope_local_base_freq" in fields:
        config = _without_nested_rope(config, where)
    for key, value in (_one_rope_form(config, where) if "rope_theta" in fields else config).items():
        if key in fields:
            try:
                values[key] = _value(value, annotations[key], _MOST_OF.get(key, _MOST))
            except ValueError as error:
                raise CheckpointError(f"{where}: {key}={value!r:.120}: needs {error}") from error
        elif key not in _HARMLESS or not _is_harmless(value, _HARMLESS[key]):
            raise CheckpointError(
                f"{where}: {shown(key)}={value!r:.120}: not implemented by {cls.__module__}"
            )
    for name, field in fields.items():
        if name not in values and _is_required(field):
            raise CheckpointError(f"{where}: no {name}; {cls.__module__} needs it")
    try:
        return cls(**values)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _is_harmless(value: Any, harmless: tuple[Any, ...] | None) -> bool:
    return harmless is _ANY or value in harmless


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(value: Any, annotation: Any, most: int) -> Any:
    """A value of a field's type. Raises ValueError, which says what is needed."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        if value is None and types.NoneType in arguments:
            return None
        (annotation,) = (item for item in arguments if item is not types.NoneType)
        return _value(value, annotation, most)
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError("a list")
        return tuple(_value(item, arguments[0], most) for item in value)
    if origin is typing.Literal:
        if type(value) not in map(type, arguments) or value not in arguments:
            raise ValueError(f"one of {', '.join(map(repr, arguments))}")
        return value
    if annotation is int:
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"an integer from 1 to {most}")
        return value
    if annotation is float:
        if type(value) not in (int, float) or not 0 < value <= _LARGEST_FLOAT:
            raise ValueError("a finite number above 0")
        return float(value)
    kind = origin or annotation
    if not isinstance(value, kind):
        raise ValueError(_NEEDED[kind])
    return value


def _one_rope_form(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rotary embeddings as rope_theta and rope_scaling, whichever version wrote the file.

    transformers 5 writes both into rope_parameters; older versions call the rope_type `type`, or
    give it both names. rope_scaling becomes None where the type is "default" and nothing is left.
    """
    values = dict(config)
    given = {key: values.pop(key) for key in ("rope_parameters", "rope_scaling") if key in values}
    if not given:
        return values
    for key, form in given.items():
        if form is not None and not isinstance(form, Mapping):
            raise CheckpointError(f"{where}: {key}={form!r:.120}: needs an object or null")
    filled = [form for form in given.values() if form]
    if len(filled) == 2 and filled[0] != filled[1]:
        raise CheckpointError(
            f"{where}: rope_parameters and rope_scaling differ; needs one of them"
        )
    rope = {key: value for key, value in (filled[0] if filled else {}).items() if value is not None}
    if "partial_rotary_factor" in rope:
        values["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    kinds = [rope.pop(key) for key in ("rope_type", "type") if key in rope] or ["default"]
    thetas = [source.pop("rope_theta") for source in (rope, values) if "rope_theta" in source]
    for key, found in (("rope_type", kinds), ("rope_theta", thetas)):
        if len(found) == 2 and found[0] != found[1]:
            raise CheckpointError(
                f"{where}: {key} is {found[0]!r:.80} and {found[1]!r:.80}; needs one of them"
            )
    if not isinstance(kinds[0], str):
        raise CheckpointError(f"{where}: rope_type={kinds[0]!r:.80}: needs a string")
    for key, value in rope.items():
        try:
            _value(value, tuple[float, ...] if isinstance(value, list) else float, _MOST)
        except ValueError as error:
            raise CheckpointError(
                f"{where}: {shown(key)}={value!r:.80} of rope_scaling: needs {error}"
            ) from error
    scaled = bool(rope) or kinds[0] != "default"
    values["rope_scaling"] = {"rope_type": kinds[0], **rope} if scaled else None
    if thetas:
        values["rope_theta"] = thetas[0]
    return values


def _without_nested_rope(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """transformers 5 writes one rope_parameters a layer type: the sliding one has a theta only."""
    values = dict(config)
    nested = values.get("rope_parameters")
    if not isinstance(nested, Mapping) or not nested.keys() & {_FULL, _SLIDING}:
        return values
    sliding = nested.get(_SLIDING) or {}
    kind = sliding.get("rope_type", "default") if isinstance(sliding, Mapping) else None
    if nested.keys() - {_FULL, _SLIDING} or kind != "default":
        raise CheckpointError(
            f"{where}: rope_parameters={nested!r:.120}: needs {_FULL}, and {_SLIDING} of the "
            "default type"
        )
    theta = sliding.get("rope_theta")
    if sliding.keys() - {"rope_type", "rope_theta"} or theta != values.get(_LOCAL, theta):
        raise CheckpointError(
            f"{where}: rope_parameters.{_SLIDING}={sliding!r:.120}: needs a rope_theta, and the "
            f"same as {_LOCAL}"
        )
    if theta is not None:
        values[_LOCAL] = theta
    values["rope_parameters"] = nested.get(_FULL)
    return values
