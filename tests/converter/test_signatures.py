"""The signatures: names, shapes, and that they compute what the module does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from taskpress.converter import ConversionError
from taskpress.converter.signatures import (
    LONGEST_CONTEXT,
    LONGEST_TEXT,
    decoder_signatures,
    encoder_signature,
)
from torch import Tensor, nn

VOCABULARY, HIDDEN, CONTEXT = 11, 8, 12
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]
Caches = Sequence[tuple[Tensor, Tensor]]


class Decoder(nn.Module):
    """As small as a decoder can be: two layers of attention with one head, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, HIDDEN)
        self.qkv = nn.ModuleList([nn.Linear(HIDDEN, 3 * HIDDEN) for _ in range(2)])
        self.head = nn.Linear(HIDDEN, VOCABULARY)

    def empty_cache(self, context_length: int, /) -> Caches:
        shape = (1, 1, context_length, HIDDEN)
        return [(torch.zeros(shape), torch.zeros(shape)) for _ in self.qkv]

    def forward(
        self, tokens: Tensor, positions: Tensor, cache: Caches, mask: Tensor | None = None, /
    ) -> tuple[Tensor, Caches]:
        slots = positions[:1].long() + torch.arange(len(positions))
        if mask is None:
            visible = torch.arange(cache[0][0].shape[2]) <= positions[:, None]
            mask = torch.where(visible, 0.0, -1e9)
        x, written = self.table(tokens), []
        for layer, (keys, values) in zip(self.qkv, cache, strict=True):
            q, k, v = layer(x)[:, None].chunk(3, -1)
            keys, values = keys.index_copy(2, slots, k), values.index_copy(2, slots, v)
            x = x + (torch.softmax(q @ keys.mT + mask, -1) @ values)[:, 0]
            written.append((keys, values))
        return self.head(x), written


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    torch.manual_seed(0)
    return Decoder()


def in_one_pass(decoder: Decoder) -> np.ndarray:
    with torch.inference_mode():
        tokens, positions = torch.tensor([TOKENS]), torch.arange(len(TOKENS))
        return decoder(tokens, positions, decoder.empty_cache(CONTEXT))[0][0].numpy()


def run(path: Path, plan: Sequence[tuple[str, int]], mask: bool = False) -> list[np.ndarray]:
    """Feeds TOKENS through signatures, each with so many tokens; the outputs of each."""
    interpreter: Any = Interpreter(str(path))
    cache = {
        f"kv_cache_{kind}_{i}": np.zeros((1, 1, CONTEXT, HIDDEN), np.float32)
        for kind in "kv"
        for i in range(2)
    }
    start, outputs = 0, []
    for name, count in plan:
        positions = np.arange(start, start + count, dtype=np.int32)
        inputs = {"tokens": np.array([TOKENS[start : start + count]], np.int32)}
        if mask:
            visible = np.arange(CONTEXT) <= positions[:, None]
            inputs["mask"] = np.where(visible, 0, -1e9).astype(np.float32)[None, None]
        result = interpreter.get_signature_runner(name)(**inputs, input_pos=positions, **cache)
        outputs.append(result.pop("logits", None))
        cache, start = result, start + count
    return outputs


CACHES = ["kv_cache_k_0", "kv_cache_v_0", "kv_cache_k_1", "kv_cache_v_1"]


def test_names_and_shapes(decoder: Decoder) -> None:
    """The names that LiteRT-LM and MediaPipe look for."""
    found = decoder_signatures(decoder, [4, 2, 4], CONTEXT)
    assert [signature.name for signature in found] == ["prefill_2", "prefill_4", "decode"]
    for signature, time in zip(found, (2, 4, 1), strict=True):
        assert list(signature.inputs) == ["tokens", "input_pos", *CACHES]
        shapes = {name: (spec.shape, spec.dtype) for name, spec in signature.inputs.items()}
        assert shapes["tokens"] == ((1, time), "int32")
        assert shapes["input_pos"] == ((time,), "int32")
        assert {shapes[name] for name in CACHES} == {((1, 1, CONTEXT, HIDDEN), "float32")}


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("prefill_logits", [False, True])
def test_litert_sees_the_same_names(
    mask: bool, prefill_logits: bool, decoder: Decoder, written: Callable[..., Path]
) -> None:
    signatures = decoder_signatures(
        decoder, [4], CONTEXT, mask_input=mask, prefill_logits=prefill_logits
    )
    found: Any = Interpreter(str(written(decoder, signatures))).get_signature_list()
    assert sorted(found) == ["decode", "prefill_4"]
    inputs = sorted(["tokens", "input_pos", *CACHES, *(["mask"] if mask else [])])
    for name, entry in found.items():
        assert sorted(entry["inputs"]) == inputs
        logits = ["logits"] if name == "decode" or prefill_logits else []
        assert sorted(entry["outputs"]) == sorted([*CACHES, *logits])


@pytest.mark.parametrize("mask", [False, True])
def test_every_signature_gives_the_logits_of_one_pass(
    mask: bool, decoder: Decoder, written: Callable[..., Path]
) -> None:
    signatures = decoder_signatures(
        decoder, [1, 2, 4], CONTEXT, mask_input=mask, prefill_logits=True
    )
    path = written(decoder, signatures)
    expected = in_one_pass(decoder)
    plan = [("prefill_4", 4), ("decode", 1), ("prefill_2", 2), ("prefill_1", 1)]
    logits = np.concatenate([each[0] for each in run(path, plan, mask)])
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_the_mask_as_input_gives_the_same_logits(
    decoder: Decoder, written: Callable[..., Path]
) -> None:
    plan = [("prefill_4", 4), *[("decode", 1)] * 4]
    found = []
    for mask in (False, True):
        path = written(decoder, decoder_signatures(decoder, [4], CONTEXT, mask_input=mask))
        found.append(run(path, plan, mask))
        assert found[-1][0] is None
    np.testing.assert_array_equal(found[0][1:], found[1][1:])


@pytest.mark.parametrize("lengths", [[], [0], [-1], [CONTEXT + 1], [4, 0], [1, CONTEXT + 1]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int], decoder: Decoder) -> None:
    with pytest.raises(ConversionError, match=r"^prefill lengths \[.* context length 12: needed"):
        decoder_signatures(decoder, lengths, CONTEXT)


@pytest.mark.parametrize("context_length", [-1, 0, LONGEST_CONTEXT + 1, 10**30])
def test_a_context_that_cannot_be_is_refused(context_length: int, decoder: Decoder) -> None:
    with pytest.raises(ConversionError, match=rf"^context length {context_length}: needed 1 to "):
        decoder_signatures(decoder, [1], context_length)


def test_the_shortest_and_the_longest_lengths(decoder: Decoder) -> None:
    found = decoder_signatures(decoder, [1, CONTEXT], CONTEXT)
    assert [signature.name for signature in found] == ["prefill_1", "prefill_12", "decode"]
    assert decoder_signatures(decoder, [1], 1)[0].inputs["kv_cache_k_0"].shape == (1, 1, 1, HIDDEN)


class Encoder(nn.Module):
    """The mean of the rows of the tokens that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, HIDDEN)

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        present = mask.float()[..., None]
        return {"embedding": (self.table(tokens) * present).sum(1) / present.sum(1)}


def test_encode(written: Callable[..., Path]) -> None:
    torch.manual_seed(0)
    module = Encoder()
    signature = encoder_signature(module, 12)
    assert signature.name == "encode"
    shapes = {name: (spec.shape, spec.dtype) for name, spec in signature.inputs.items()}
    assert shapes == {"tokens": ((1, 12), "int32"), "mask": ((1, 12), "int32")}
    runner: Any = Interpreter(str(written(module, [signature]))).get_signature_runner("encode")
    expected = module.table.weight[TOKENS].mean(0).detach().numpy()
    for padding in (0, 7):
        tokens = np.full((1, 12), padding, np.int32)
        tokens[0, : len(TOKENS)] = TOKENS
        mask = (np.arange(12) < len(TOKENS)).astype(np.int32)[None]
        found = runner(tokens=tokens, mask=mask)
        assert set(found) == {"embedding"}
        np.testing.assert_allclose(found["embedding"][0], expected, atol=1e-6)


@pytest.mark.parametrize("length", [-1, 0, LONGEST_TEXT + 1])
def test_an_encode_length_that_cannot_be_is_refused(length: int) -> None:
    with pytest.raises(ConversionError, match=rf"^encode length {length}: needed 1 to "):
        encoder_signature(Encoder(), length)
