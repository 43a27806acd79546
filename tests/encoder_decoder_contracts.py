"""What every encoder-decoder promises.

`python tests/contracts.py` prints it below the encoders' table.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from contracts import (
    CONFIGS,
    CONTEXT,
    LENGTHS,
    eager_in_chunks,
    kl_divergence,
    lite_in_chunks,
    one_pass,
    partitions,
    random_weights,
    tokens_of,
)
from encoder_contracts import LENGTH, difference, padded
from safetensors.torch import save_file
from taskpress.converter.convert import Plan, plan_model, write_model
from taskpress.converter.signatures import encoder_decoder_signatures
from taskpress.models import ENCODER_DECODERS, model_type_of
from taskpress.models._checkpoint import Checkpoint, open_checkpoint
from taskpress.models._model import load_weights, model_without_weights

ENCODER_DECODER_CONFIGS = [
    c for c in CONFIGS if model_type_of(json.loads(c.read_text())) in ENCODER_DECODERS
]


@dataclass(frozen=True)
class EncoderDecoderContract:
    """Largest absolute differences of the decoder's logits, and other figures.

    Of two texts for the encoder, a long and a short one, both padded. eager: to transformers;
    padding: of a padded text to the same alone; chunks: of prefill in chunks and decoding to one
    pass; tflite: of the float32 signatures to eager; int8_kl: mean KL divergence of the int8 model,
    in nats, the larger one of both texts; ops, partitions, layers: of `encode` and of `decode`.
    """

    name: str
    parameters: int
    eager: float
    padding: float
    chunks: float
    tflite: float
    int8_kl: float
    ops: tuple[int, int]
    partitions: tuple[int, int]
    layers: tuple[int, int]


@contextmanager
def random_encoder_decoder(config: Path) -> Iterator[tuple[Any, Checkpoint]]:
    """transformers' model of a configuration with random weights, and a checkpoint of it."""
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    values = json.loads(config.read_text())
    settings = AutoConfig.for_model(**values)
    theirs = AutoModelForSeq2SeqLM.from_config(settings, attn_implementation="eager").eval()
    if not values.get("tie_word_embeddings", True):
        # transformers ties it when it makes a model, and does not when a file has another one.
        theirs.lm_head.weight = torch.nn.Parameter(torch.empty_like(theirs.lm_head.weight))
    _trained_like(random_weights(theirs), settings.d_kv)
    with tempfile.TemporaryDirectory() as name:
        # All names, as in old files: the copies of `shared` too.
        tensors = {name: x.clone() for name, x in theirs.state_dict().items()}
        save_file(tensors, Path(name) / "model.safetensors")
        (Path(name) / "config.json").write_text(json.dumps(values))
        with open_checkpoint(name) as checkpoint:
            yield theirs, checkpoint


def _trained_like(model: Any, head_dim: int) -> None:
    """Scores are not scaled: the weights have learned to be smaller. The bias counts as much."""
    for name, parameter in model.named_parameters():
        if name.endswith(".q.weight"):
            parameter.detach().mul_(head_dim**-0.5)
        if name.endswith(".relative_attention_bias.weight"):
            parameter.detach().mul_(5)


class AfterText:
    """Our module's decoder after a text for the encoder, in the form that decoders have."""

    def __init__(self, model: Any, tokens: torch.Tensor, mask: torch.Tensor) -> None:
        self.model, self.mask = model, mask
        self.empty_cache = model.empty_cache
        with torch.inference_mode():
            self.memory = model.encode(tokens, mask)

    def __call__(self, tokens: torch.Tensor, positions: torch.Tensor, cache: Any) -> Any:
        return self.model(tokens, positions, cache, None, self.memory, self.mask)


def lite_memory(path: Path, tokens: torch.Tensor, mask: torch.Tensor) -> dict[str, np.ndarray]:
    """What the decoder's signatures take of a text, by LiteRT's interpreter."""
    encode: Any = Interpreter(str(path)).get_signature_runner("encode")
    ids, present = tokens.int().numpy(), mask.int().numpy()
    return {**encode(tokens=ids, mask=present), "encoder_mask": present}


def measure_encoder_decoder(config: Path) -> EncoderDecoderContract:
    """All figures of one configuration."""
    with (
        random_encoder_decoder(config) as (theirs, checkpoint),
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "model.tflite"
        tokens = tokens_of(checkpoint)
        alone = [tokens.flip(1), tokens[:, 20:27]]
        texts = [padded(text, padding=9) for text in alone]
        with torch.inference_mode():
            expected = [
                theirs(ids, attention_mask=mask, decoder_input_ids=tokens).logits[0].numpy()
                for ids, mask in texts
            ]
        ours: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        decoders = [AfterText(ours, *text) for text in texts]
        eager = [one_pass(decoder, tokens) for decoder in decoders]
        unpadded = [
            one_pass(AfterText(ours, text, torch.ones_like(text)), tokens) for text in alone
        ]
        chunks = [eager_in_chunks(decoder, tokens.numpy()) for decoder in decoders]

        def lite(prefill: int) -> list[np.ndarray]:
            memories = [lite_memory(path, *text) for text in texts]
            return [lite_in_chunks(path, tokens.numpy(), prefill, more) for more in memories]

        plan = write_encoder_decoder(checkpoint, path)
        in_float = [lite(n) for n in LENGTHS]
        counts = []
        for only in ("encode", "decode"):
            write_encoder_decoder(checkpoint, path, only=only)
            counts.append(partitions(path))
        write_encoder_decoder(checkpoint, path, recipe="int8")
        in_int8 = lite(max(LENGTHS))
        return EncoderDecoderContract(
            name=config.stem,
            parameters=sum(p.numel() for p in ours.parameters()),
            eager=difference(eager, expected),
            padding=difference(eager, unpadded),
            chunks=difference(chunks, eager),
            tflite=max(difference(x, eager) for x in in_float),
            int8_kl=max(map(kl_divergence, eager, in_int8)),
            ops=(len(plan.graphs[0].ops), len(plan.graphs[-1].ops)),
            partitions=(counts[0], counts[1]),
            layers=(len(ours.encoder.block), len(ours.decoder.block)),
        )


def write_encoder_decoder(
    checkpoint: Checkpoint, path: Path, recipe: str = "none", only: str | None = None
) -> Plan:
    """Converts to a file, whose prefill signatures give logits too."""
    module: Any = model_without_weights(checkpoint)
    signatures = encoder_decoder_signatures(module, LENGTH, CONTEXT, LENGTHS, prefill_logits=True)
    signatures = [s for s in signatures if only in (None, s.name)]
    plan = plan_model(module, signatures, checkpoint.read_rows, recipe)
    with path.open("wb") as out:
        write_model(plan, checkpoint.read_rows, out)
    return plan
