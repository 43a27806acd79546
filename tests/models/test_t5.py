"""What T5 has that other families do not: its bias, and what its config.json says twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts import CONFIGS
from encoder_contracts import padded
from encoder_decoder_contracts import AfterText, one_pass, random_encoder_decoder, tokens_of
from safetensors.torch import load_file, save_file
from taskpress.converter import ConversionError
from taskpress.converter.signatures import encoder_decoder_signatures
from taskpress.converter.trace import TensorSpec
from taskpress.models import CheckpointError
from taskpress.models._checkpoint import open_checkpoint
from taskpress.models._config import read_config
from taskpress.models._model import load_weights, model_without_weights
from taskpress.models.layers.relative_bias import RelativeBias, relative_buckets
from taskpress.models.t5 import Config, Model

GATED, RELU = (next(c for c in CONFIGS if c.stem == name) for name in ("t5", "t5-relu"))


def config(**changes: Any) -> dict[str, Any]:
    return {**json.loads(GATED.read_text()), **changes}


@pytest.mark.parametrize("buckets", [4, 6, 8, 32, 50])
@pytest.mark.parametrize("most", [26, 40, 128, 1000])
def test_buckets_are_those_of_transformers(buckets: int, most: int) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(2000)
    theirs = T5Attention._relative_position_bucket(-distances, False, buckets, most)
    ours = relative_buckets(distances, buckets, most)
    assert torch.equal(ours, theirs)
    assert ours.max() == buckets - 1


def test_the_bias_of_each_pair_of_positions() -> None:
    bias = RelativeBias(buckets=8, heads=2, max_distance=10)
    torch.nn.init.normal_(bias.weight)
    causal = bias.causal(torch.tensor([5, 6]), 12)
    assert causal.shape == (1, 2, 2, 12)
    for row, position in enumerate((5, 6)):
        for slot in range(12):
            bucket = relative_buckets(torch.tensor(max(0, position - slot)), 8, 10)
            assert torch.equal(causal[0, :, row, slot], bias.weight[bucket])
    both = bias.bidirectional(12)
    assert both.shape == (1, 2, 12, 12)
    for query in range(12):
        for key in range(12):
            bucket = relative_buckets(torch.tensor(abs(key - query)), 4, 10)
            assert torch.equal(both[0, :, query, key], bias.weight[bucket + 4 * (key > query)])


def test_positions_beyond_the_cache_do_not_fail() -> None:
    """A runtime pads with them."""
    bias = RelativeBias(buckets=8, heads=2, max_distance=10)
    torch.nn.init.normal_(bias.weight)
    assert torch.equal(
        bias.causal(torch.tensor([40]), 12)[..., :1], bias.causal(torch.tensor([11]), 12)[..., :1]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feed_forward_proj": "gated-silu"}, "'gated-silu': needs one of 'relu', 'gated-gelu'"),
        ({"dense_act_fn": "relu"}, "dense_act_fn='relu' with .*='gated-gelu': needs 'gelu_new'"),
        ({"is_gated_act": False}, "is_gated_act=False with .*='gated-gelu': needs True"),
        ({"is_encoder_decoder": False}, "is_encoder_decoder=False: needs one of True"),
        ({"relative_attention_num_buckets": 7}, "num_buckets=7, .*=40: needs an even number"),
        ({"relative_attention_num_buckets": 2}, "num_buckets=2, .*=40: needs an even number"),
        ({"relative_attention_max_distance": 8}, "max_distance=8: needs an even number"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=f"^config.json: .*{message}"):
        read_config(config(**changes), Config, "config.json")


def test_what_files_say_twice_may_be_there() -> None:
    read_config(config(dense_act_fn="gelu_new", is_gated_act=True), Config, "config.json")


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({"tie_word_embeddings": False}, 1.0),
        ({"tie_word_embeddings": True}, 56**-0.5),
        # As transformers 5 writes a model whose head it tied.
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, 1.0),
    ],
)
def test_the_heads_input_is_scaled_where_it_is_tied(changes: dict[str, Any], scale: float) -> None:
    with torch.device("meta"):
        model = Model(read_config(config(**changes), Config, "config.json"))
    assert model.scale == scale


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(
        CheckpointError, match=r"^an encode length of 4097: has 67141636 biases for"
    ):
        RelativeBias(buckets=8, heads=4, max_distance=10).bidirectional(4097)


def logits(folder: Path, tokens: torch.Tensor) -> np.ndarray:
    with open_checkpoint(folder) as checkpoint:
        model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
    return one_pass(AfterText(model, *padded(tokens[:, 20:27], padding=0)), tokens)


def test_names_of_old_and_of_new_files() -> None:
    """Without the copies of `shared`; with the bias that t5-small has, and nobody uses."""
    with random_encoder_decoder(RELU) as (_, checkpoint):
        folder, tokens = checkpoint.path, tokens_of(checkpoint)
        expected = logits(folder, tokens)
        path = folder / "model.safetensors"
        tensors = load_file(path)
        copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
        for name in copies:
            del tensors[name]
        bias = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        save_file({**tensors, bias: torch.zeros(8, 4)}, path)
        np.testing.assert_array_equal(logits(folder, tokens), expected)
        save_file({**tensors, copies[0]: torch.zeros(131, 64)}, path)
        message = f"{copies[0]} is not equal to shared.weight"
        with pytest.raises(CheckpointError, match=message):
            logits(folder, tokens)


def test_signatures() -> None:
    with torch.device("meta"):
        model = Model(read_config(config(), Config, "config.json"))
    encode, prefill, decode = encoder_decoder_signatures(model, 9, 20, [4], mask_input=True)
    assert [s.name for s in (encode, prefill, decode)] == ["encode", "prefill_4", "decode"]
    ids = TensorSpec((1, 9), "int32")
    assert encode.inputs == {"tokens": ids, "mask": ids}
    for signature, time in ((prefill, 4), (decode, 1)):
        inputs = dict(signature.inputs)
        assert inputs.pop("tokens") == TensorSpec((1, time), "int32")
        assert inputs.pop("input_pos") == TensorSpec((time,), "int32")
        assert inputs.pop("mask") == TensorSpec((1, 1, time, 20))
        assert inputs.pop("encoder_mask") == ids
        for kind in "kv":
            for layer in (0, 1):
                assert inputs.pop(f"kv_cache_{kind}_{layer}") == TensorSpec((1, 4, 20, 12))
                assert inputs.pop(f"cross_{kind}_{layer}") == TensorSpec((1, 4, 9, 12))
        assert not inputs
    assert [s.name for s in encoder_decoder_signatures(model, 9, 20)] == ["encode", "decode"]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 20), "^encode length 0: needed 1 to 4096$"),
        ((9, 0), "^context length 0: needed 1 to "),
        ((9, 20, [21]), r"^prefill lengths \[21\] with context length 20: needed each from 1 to "),
    ],
)
def test_sizes_that_are_refused(sizes: tuple[Any, ...], message: str) -> None:
    with torch.device("meta"):
        model = Model(read_config(config(), Config, "config.json"))
    with pytest.raises(ConversionError, match=message):
        encoder_decoder_signatures(model, *sizes)


@pytest.mark.parametrize("which", [GATED, RELU], ids=["untied", "tied"])
def test_what_transformers_saves(which: Path, tmp_path: Path) -> None:
    """Its config.json says of every model that its head is tied, and how it is scaled."""
    with random_encoder_decoder(which) as (theirs, checkpoint):
        tokens = tokens_of(checkpoint)
        theirs.save_pretrained(tmp_path)
        path = tmp_path / "config.json"
        saved = json.loads(path.read_text())
        expected = logits(checkpoint.path, tokens)
        if which == GATED:
            assert saved["tie_word_embeddings"] is True
            with pytest.raises(CheckpointError, match="set tie_word_embeddings to false if both"):
                logits(tmp_path, tokens)
            path.write_text(json.dumps({**saved, "tie_word_embeddings": False}))
        np.testing.assert_array_equal(logits(tmp_path, tokens), expected)
