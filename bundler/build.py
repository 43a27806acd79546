"""From a checkpoint to a model or a bundle: the whole way, as a few functions.

Everything is planned and checked first: the module, its tensors, the tokenizer, the tokens and
prefixes, the flatbuffer without its weights. Only then is the output opened, and the weights are
streamed from the checkpoint straight into their places in it.

The tokenizer comes before anything that imports torch, and gives its memory back before that, which
keeps the peak low.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..models import ENCODER_DECODERS, ENCODERS, model_type_of
from ..models._checkpoint import Checkpoint, open_checkpoint
from ..tokenization import FULL, TokenizerError
from . import BundleError, metadata
from .answer_quality import AnswerQuality
from .bundle import read_bundle
from .embedding_quality import EmbeddingQuality
from .hf_tokenizer import JSON, dumped, pack
from .litertlm import HF_TOKENIZER
from .memory import give_back_freed_memory
from .output import refuse_existing, whole_file
from .packing import Packing, is_litertlm, metadata_of, write_bundle
from .parts import METADATA, MODEL, TOKENIZER, Source, Written
from .progress import Progress, percent, progress
from .quality import Quality
from .rebuild import (
    Encode,
    checkpoint_parity_notes,
    document,
    encoder,
    encoder_of,
    has_tokenizer,
    sentencepiece_model,
    text_encoder,
)
from .settings import BundleSettings, parameters_for

# What LiteRT's own models have; a phone picks the length that fits what is left of a prompt.
PREFILL_LENGTHS = (8, 64, 128, 256, 512, 1024)
# A paragraph; what most models for sentences were trained on.
ENCODE_LENGTH = 256


@dataclass(frozen=True)
class Options:
    """How to convert.

    quantize: a recipe of the converter: none, fp16 or int8. prefill_lengths: tokens that each
    prefill signature takes; None: those of PREFILL_LENGTHS that the context holds.
    context_length: tokens that the cache holds. mask: `graph`, computed from the positions, or
    `input`, given by the runtime. prefill_logits: prefill gives the logits of all its tokens too.
    smoothing: for int8, look at the model's activations on a short text first, and move their
    outliers into the weights. encode_length: tokens that an encoder takes, which has none of the
    lengths, mask and logits above; None: ENCODE_LENGTH, or all positions that it has if fewer. A
    decoder beside an encoder has them, but without prefill_lengths no prefill. sliding_cache:
    `full`, or `ring`: what sliding layers need for their window and the longest prefill.
    """

    quantize: str = "int8"
    prefill_lengths: tuple[int, ...] | None = None
    context_length: int = 1280
    mask: str = "graph"
    prefill_logits: bool = False
    smoothing: bool = True
    encode_length: int | None = None
    sliding_cache: str = "full"

    def lengths(self) -> tuple[int, ...]:
        """The prefill lengths, chosen where they are left open."""
        if self.prefill_lengths is not None:
            return self.prefill_lengths
        return tuple(n for n in PREFILL_LENGTHS if n <= self.context_length) or (1,)


@dataclass(frozen=True)
class Report:
    """What was made, out of what, and at what cost.

    Sizes in bytes, times in seconds. peak_memory_bytes: of the process until the output was
    written. quality: how far the logits are from the checkpoint's, where that was measured, on the
    text that `quality_text` names.
    """

    checkpoint: str
    output: str
    options: Options
    signatures: Sequence[str]
    predicted_size_bytes: int
    predicted_memory_bytes: int
    size_bytes: int
    peak_memory_bytes: int
    seconds: float
    cpu_seconds: float
    bundle: Mapping[str, Any] = field(default_factory=dict)
    quality_text: str | None = None
    quality: Quality | EmbeddingQuality | AnswerQuality | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return asdict(self)


def convert(
    source: str | Path,
    output: Path,
    options: Options | None = None,
    *,
    force: bool = False,
    compare: bool = False,
) -> Report:
    """Writes the .tflite model of a checkpoint: a folder, a .gguf file or a repository of the Hub.

    compare: also measure how far its logits are from the checkpoint's. Raises CheckpointError,
    ConversionError, TokenizerError or BundleError; then nothing is left under output.
    """
    started, options = time.monotonic(), options or Options()
    refuse_existing(output, force=force)
    with open_checkpoint(source) as checkpoint:
        encode = _encoder(checkpoint, options, compare)
        give_back_freed_memory()
        from .conversion import Conversion

        conversion = Conversion(checkpoint, output, options, encode, started)

        def write(report: Progress) -> None:
            with whole_file(output, force=force) as out:
                conversion.write(out, report)

        report = conversion.run(write, conversion.plan.size_bytes)
        return conversion.compared(report, output) if compare else report


def build(
    source: str | Path,
    output: Path,
    options: Options | None = None,
    settings: BundleSettings | None = None,
    packing: Packing | None = None,
    *,
    tokenizer_form: str = FULL,
    ignore_flags: bool = False,
    force: bool = False,
    compare: bool = False,
) -> Report:
    """Writes the bundle of a checkpoint: model, tokenizer, tokens and prompt prefixes.

    output: a `.task`, or a `.litertlm` where its name ends so. settings: what is not to be taken
    from the checkpoint. packing: for which runtime; a sampler that it leaves open is taken from
    generation_config.json, where the metadata has a place for it. tokenizer_form: `full`, or
    `plain` for runtimes that read pieces one by one, or JSON, the tokenizer.json itself, for a
    `.litertlm`. ignore_flags: of added tokens, as for
    `Published.build`. compare, errors: as for `convert`.
    """
    started, options, packing = time.monotonic(), options or Options(), packing or Packing()
    refuse_existing(output, force=force)
    packing.check(output)
    if tokenizer_form == JSON and not is_litertlm(output):
        raise BundleError(
            f"{output}: a .task holds a SentencePiece model; a tokenizer.json needs a .litertlm"
        )
    with open_checkpoint(source) as checkpoint:
        if is_encoder(checkpoint) or is_encoder_decoder(checkpoint):
            kind = "an encoder" if is_encoder(checkpoint) else "an encoder-decoder"
            raise BundleError(
                f"{checkpoint.path}: {model_type_of(checkpoint.config)} is {kind}, and a "
                "bundle holds an LLM; use taskpress convert"
            )
        # the ids of a tokenizer.json are checked by its rebuild as well
        form = FULL if tokenizer_form == JSON else tokenizer_form
        tokenizer = _tokenizer(checkpoint, form, ignore_flags)
        text = parameters_for(checkpoint, tokenizer, settings or BundleSettings())
        packing = packing.with_sampler_of(output, checkpoint.generation_config)
        encoded, lacking = metadata_of(output, text, tokenizer, options.context_length, packing)
        notes = text.notes + lacking
        if tokenizer_form == JSON:
            bundled = {HF_TOKENIZER: pack(dumped(document(checkpoint)))}
        else:
            bundled = {TOKENIZER: tokenizer}
            notes += checkpoint_parity_notes(checkpoint, tokenizer)
        give_back_freed_memory()
        from .conversion import Conversion

        conversion = Conversion(checkpoint, output, options, encoder_of(tokenizer), started)
        size = conversion.plan.size_bytes

        def write(report: Progress) -> None:
            model = Written(size, lambda out: conversion.write(out, report))
            entries: dict[str, Source] = {MODEL: model, METADATA: encoded, **bundled}
            write_bundle(output, entries, packing, force=force)

        bundle = {
            **metadata.described(text.parameters),
            "tokenizer_form": tokenizer_form,
            "chats": [asdict(chat) for chat in text.proven],
            "notes": notes,
        }
        others = sum(map(len, bundled.values())) + len(encoded)
        report = conversion.run(write, size + others, bundle)
        return conversion.compared(report, read_bundle(output).read(MODEL)) if compare else report


def is_encoder(checkpoint: Checkpoint) -> bool:
    """Whether it is an encoder's. Imports no torch: GGUF files, which would, are decoders'."""
    return checkpoint.folder is not None and model_type_of(checkpoint.config) in ENCODERS


def is_encoder_decoder(checkpoint: Checkpoint) -> bool:
    """Whether it is that of both. Imports no torch either."""
    return checkpoint.folder is not None and model_type_of(checkpoint.config) in ENCODER_DECODERS


def _tokenizer(checkpoint: Checkpoint, form: str, ignore_flags: bool) -> bytes:
    with progress("tokenizer", "%") as report:
        return sentencepiece_model(checkpoint, percent(report), form, ignore_flags=ignore_flags)


def _encoder(checkpoint: Checkpoint, options: Options, compare: bool) -> Encode | None:
    """The tokenizer, where a conversion makes use of one and the checkpoint has one.

    A model can be converted without: one that cannot be read is no reason to refuse it.
    """
    needed = compare or (options.smoothing and options.quantize == "int8")
    if not needed or not has_tokenizer(checkpoint):
        return None
    try:
        both = is_encoder_decoder(checkpoint)
        if checkpoint.folder is not None and (both or is_encoder(checkpoint)):
            return text_encoder(checkpoint.folder)
        return encoder(checkpoint)
    except TokenizerError as error:
        print(f"note: converted without a tokenizer, and so without smoothing: {error}")
        return None
