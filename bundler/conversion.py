"""One conversion: planned as a whole, then run. Imports torch."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..converter.convert import Plan, plan_model, write_model
from ..converter.signatures import (
    decoder_signatures,
    encoder_decoder_signatures,
    encoder_signature,
)
from ..converter.trace import Signature
from ..models import CheckpointError
from ..models._checkpoint import Checkpoint
from ..models._model import model_without_weights
from . import BundleError
from .answer_quality import measure_answers
from .build import ENCODE_LENGTH, Options, Report, is_encoder, is_encoder_decoder
from .calibrate import calibration_text, encoder_ranges_of, ranges_of
from .embedding_quality import measure_encoder
from .memory import memory_bytes, peak_memory_bytes
from .progress import Progress, progress
from .quality import measure, sample_text
from .rebuild import Encode

# What streaming a weight adds to the memory of the plan: its piece as read, as float32, scaled and
# stored, and the file buffers.
_STREAMING_BYTES = 16 << 20

_NO_TOKENIZER = "random ids, as there is no tokenizer"
_DECODER_OPTIONS = (
    "prefill_lengths",
    "context_length",
    "mask",
    "prefill_logits",
    "sliding_cache",
)
_ENCODER_OPTIONS = ("encode_length",)


class Conversion:
    """One conversion: planned and checked when it is made, then run once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        output: Path,
        options: Options,
        encode: Encode | None,
        started: float,
    ) -> None:
        self.started = started
        self.checkpoint = checkpoint
        self.output = output
        self.options = options
        self.encode = encode
        self.plan = _plan(checkpoint, options, encode)

    def write(self, out: BinaryIO, report: Progress) -> None:
        """Streams the model to a file, from its present position on."""
        write_model(self.plan, self.checkpoint.read_rows, out, report)

    def run(
        self,
        write: Callable[[Progress], None],
        size_bytes: int,
        bundle: Mapping[str, Any] | None = None,
    ) -> Report:
        """Says what it will take, writes the output, and reports what it took."""
        memory = max(peak_memory_bytes(), memory_bytes() + _STREAMING_BYTES)
        print(
            f"{self.output}: about {size_bytes / 1e6:.1f} MB, with {memory / 1e6:.0f} MB of memory"
        )
        with progress(f"writing {self.output.name}") as report_progress:
            write(report_progress)
        report = Report(
            checkpoint=str(self.checkpoint.path),
            output=str(self.output),
            options=self.options,
            signatures=[graph.name for graph in self.plan.graphs],
            predicted_size_bytes=size_bytes,
            predicted_memory_bytes=memory,
            size_bytes=self.output.stat().st_size,
            peak_memory_bytes=peak_memory_bytes(),
            seconds=time.monotonic() - self.started,
            cpu_seconds=time.process_time(),
            bundle=bundle or {},
        )
        print(
            f"{self.output}: {report.size_bytes / 1e6:.1f} MB, with "
            f"{report.peak_memory_bytes / 1e6:.0f} MB of memory, in {report.seconds:.1f} s"
        )
        return report

    def compared(self, report: Report, model: Path | bytes) -> Report:
        """The report with the distance of what the model says from what the checkpoint does."""
        if is_encoder(self.checkpoint) or is_encoder_decoder(self.checkpoint):
            return self._compared_encoder(report, model)
        if self.encode is not None:
            text, tokens = (
                "bundler/sample.txt",
                _encoded(sample_text(), self.encode, self.checkpoint),
            )
        else:
            vocabulary = int(self.checkpoint.config["vocab_size"])
            text = _NO_TOKENIZER
            tokens = np.random.default_rng(0).integers(vocabulary, size=420).tolist()
        with progress("comparing logits", "tokens") as report_progress:
            quality = measure(self.checkpoint, model, tokens, report_progress)
        print(
            f"{self.output}: over {quality.tokens} tokens, KL {quality.kl_divergence:.5f} to the "
            f"checkpoint in float32, first choice the same at {quality.top1_agreement:.1%}"
        )
        return replace(report, quality_text=text, quality=quality)

    def _compared_encoder(self, report: Report, model: Path | bytes) -> Report:
        text, encode = "bundler/sample.txt", self.encode
        if encode is None:
            text, encode = _NO_TOKENIZER, self._random_ids
        if is_encoder_decoder(self.checkpoint):
            with progress("comparing answers", "texts") as report_progress:
                quality = measure_answers(self.checkpoint, model, encode, report_progress)
            print(f"{self.output}: {quality}")
            return replace(report, quality_text=text, quality=quality)
        with progress("comparing embeddings", "texts") as report_progress:
            quality = measure_encoder(self.checkpoint, model, encode, report_progress)
        print(
            f"{self.output}: over {quality.texts} texts, cosine {quality.mean_cosine:.5f} to the "
            f"checkpoint in float32, {quality.least_cosine:.5f} at least"
        )
        return replace(report, quality_text=text, quality=quality)

    def _random_ids(self, text: str) -> list[int]:
        """As many ids as a text has words."""
        vocabulary, words = int(self.checkpoint.config["vocab_size"]), len(text.split())
        return np.random.default_rng(words).integers(vocabulary, size=words).tolist()


def _plan(checkpoint: Checkpoint, options: Options, encode: Encode | None) -> Plan:
    model: Any = model_without_weights(checkpoint)
    signatures = _signatures(checkpoint, model, options)
    ranges = {}
    if options.quantize == "int8" and options.smoothing and encode is not None:
        with progress("looking at activations", "layers") as report_progress:
            if is_encoder(checkpoint) or is_encoder_decoder(checkpoint):
                length = signatures[0].inputs["tokens"].shape[1]
                ranges = encoder_ranges_of(checkpoint, encode, length, report_progress)
            else:
                tokens = _encoded(calibration_text(), encode, checkpoint)
                ranges = ranges_of(checkpoint, tokens, report_progress)
    return plan_model(model, signatures, checkpoint.read_rows, options.quantize, ranges)


def _signatures(checkpoint: Checkpoint, model: Any, options: Options) -> list[Signature]:
    """Those of a decoder, of an encoder, or of both. Raises for options that do not fit."""
    longest = checkpoint.config.get("max_position_embeddings")
    most = longest if isinstance(longest, int) else None
    if is_encoder(checkpoint):
        _refuse_given(checkpoint, options, _DECODER_OPTIONS, "an encoder")
        length = options.encode_length or min(ENCODE_LENGTH, most or ENCODE_LENGTH)
        _check_length("an encode length", length, most)
        return [encoder_signature(model, length)]
    if options.mask not in ("graph", "input"):
        raise BundleError(f"mask {options.mask!r}: needed `graph` or `input`")
    if is_encoder_decoder(checkpoint):
        return _of_both(checkpoint, model, options)
    if options.sliding_cache not in ("full", "ring"):
        raise BundleError(f"sliding cache {options.sliding_cache!r}: needed `full` or `ring`")
    _refuse_given(checkpoint, options, _ENCODER_OPTIONS, "a decoder")
    _check_length("a context length", options.context_length, most)
    signatures = decoder_signatures(
        model,
        options.lengths(),
        options.context_length,
        mask_input=options.mask == "input",
        prefill_logits=options.prefill_logits,
        rings=options.sliding_cache == "ring",
    )
    if options.sliding_cache == "ring":
        _refuse_no_ring(checkpoint, options, signatures[0])
    return signatures


def _refuse_no_ring(checkpoint: Checkpoint, options: Options, signature: Signature) -> None:
    """Raises BundleError where all caches hold the whole context although rings were asked for."""
    caches = [spec for name, spec in signature.inputs.items() if name.startswith("kv_cache_")]
    if len({spec.shape[2] for spec in caches}) == 1:
        raise BundleError(
            f"{checkpoint.path}: no layer's cache would be a ring; that needs layers that slide "
            "beside others that do not, and a window and a longest prefill of "
            f"{max(options.lengths())} together shorter than the context of "
            f"{options.context_length}"
        )


def _of_both(checkpoint: Checkpoint, model: Any, options: Options) -> list[Signature]:
    _refuse_given(checkpoint, options, ("sliding_cache",), "an encoder-decoder")
    if options.prefill_logits and options.prefill_lengths is None:
        raise BundleError(
            f"{checkpoint.path}: is an encoder-decoder, whose prompt goes to its encoder; "
            "--prefill-logits needs --prefill-lengths"
        )
    return encoder_decoder_signatures(
        model,
        options.encode_length or ENCODE_LENGTH,
        options.context_length,
        options.prefill_lengths or (),
        mask_input=options.mask == "input",
        prefill_logits=options.prefill_logits,
    )


def _refuse_given(
    checkpoint: Checkpoint, options: Options, names: Sequence[str], kind: str
) -> None:
    """Raises BundleError where one of these options is not as it is by default."""
    given = [name for name in names if getattr(options, name) != getattr(Options(), name)]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise BundleError(f"{checkpoint.path}: is {kind}, which has no {flags}")


def _check_length(what: str, length: int, most: int | None) -> None:
    if most is not None and length > most:
        raise CheckpointError(
            f"config.json: max_position_embeddings={most}; {what} of {length} is more than the "
            "model was trained for"
        )


def _encoded(text: str, encode: Encode, checkpoint: Checkpoint) -> list[int]:
    """The ids of a text. Raises CheckpointError where the model has no embedding for one."""
    tokens, vocabulary = encode(text), int(checkpoint.config["vocab_size"])
    if max(tokens) >= vocabulary:
        raise CheckpointError(
            f"{checkpoint.path}: vocab_size={vocabulary}, and the tokenizer gives the id "
            f"{max(tokens)}; it is another model's"
        )
    return tokens
