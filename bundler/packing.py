"""Putting a bundle together, of either format: model, tokenizer, and metadata for its runtime."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import BundleError, both_metadata, llm_metadata, metadata
from .arguments import count, rate
from .chat_template import template_of
from .litertlm import write_litertlm
from .llm_metadata import GENERIC, MODEL_TYPES, LlmMetadata, Sampler
from .parts import METADATA, MODEL, TOKENIZER, Source
from .settings import TextFormat
from .task import write_task
from .tokenizer import load_tokenizer

MEDIAPIPE, LITERT_LM, BOTH = "mediapipe", "litertlm", "both"
_HF_TOP_K = 50  # transformers' own, where generation_config.json samples and does not say


@dataclass(frozen=True)
class Packing:
    """How to bundle.

    metadata: of a `.task`, for which runtime; None: MEDIAPIPE, and LITERT_LM in a `.litertlm`,
    which has no other. The rest is LiteRT-LM's: model_type, a name of `llm_metadata.MODEL_TYPES`;
    chat_template: Jinja source in the place of ours; sampler: None leaves it to the engine.
    alignment: of the parts of a `.task`, in bytes.
    """

    metadata: str | None = None
    model_type: str = GENERIC
    chat_template: str | None = None
    sampler: Sampler | None = None
    alignment: int = 4

    def runtime(self, output: Path) -> str:
        """MEDIAPIPE, LITERT_LM or BOTH."""
        return self.metadata or (LITERT_LM if is_litertlm(output) else MEDIAPIPE)

    def check(self, output: Path) -> None:
        """Raises BundleError for what does not fit the output's format."""
        runtime = self.runtime(output)
        if is_litertlm(output) and runtime != LITERT_LM:
            raise BundleError(
                f"{output}: a .litertlm has LiteRT-LM's metadata; --metadata {runtime} is for "
                "a .task"
            )
        if is_litertlm(output) and self.alignment != Packing.alignment:
            raise BundleError(
                f"{output}: the sections of a .litertlm lie on 16 KiB; leave out --align"
            )
        rest = replace(self, metadata=None, alignment=Packing.alignment)
        if runtime == MEDIAPIPE and rest != Packing():
            raise BundleError(
                f"{output}: a model type, chat template or sampler is for LiteRT-LM; give "
                "--metadata litertlm, or a name that ends in .litertlm"
            )
        if runtime == BOTH and self.chat_template is not None:
            raise BundleError(
                f"{output}: metadata for both runtimes cannot hold a chat template; give "
                "--metadata litertlm"
            )

    def with_sampler_of(self, output: Path, generation_config: Mapping[str, Any]) -> "Packing":
        """With the sampler of generation_config.json, where it is left open and has a place."""
        if self.sampler is not None or self.runtime(output) == MEDIAPIPE:
            return self
        return replace(self, sampler=sampler_of(generation_config))


def is_litertlm(output: Path) -> bool:
    """The format is chosen by the name's end, as LiteRT-LM does it."""
    return output.suffix == ".litertlm"


def metadata_of(
    output: Path, text: TextFormat, tokenizer: bytes, context_length: int, packing: Packing
) -> tuple[bytes, tuple[str, ...]]:
    """METADATA, and notes on what it cannot carry.

    tokenizer: a SentencePiece model. context_length: tokens that the model's cache holds; 0 where
    that is not known. Raises BundleError as `Packing.check` does, and for what the metadata cannot
    hold.
    """
    packing.check(output)
    runtime = packing.runtime(output)
    if runtime == MEDIAPIPE:
        return metadata.encode(text.parameters), ()
    token_id = load_tokenizer(tokenizer, "the tokenizer").processor.PieceToId
    described = LlmMetadata(
        max_num_tokens=context_length,
        model_type=packing.model_type,
        chat_template=packing.chat_template or template_of(text.chat),
        sampler=packing.sampler,
    )
    if runtime == LITERT_LM:
        return llm_metadata.encode(text.parameters, described, token_id), ()
    return both_metadata.encode(text, described, token_id), both_metadata.notes(text)


def write_bundle(
    output: Path, parts: Mapping[str, Source], packing: Packing, *, force: bool = False
) -> None:
    """Writes a `.task`, or a `.litertlm` where the output's name ends so; whole or not at all.

    parts: as `write_task` takes them. Errors: as of `write_task` and `write_litertlm`.
    """
    if not is_litertlm(output):
        write_task(output, parts, alignment=packing.alignment, force=force)
        return
    # what is small stands first: a reader that gets the file piece by piece has it at once
    first = {name: parts[name] for name in (METADATA, TOKENIZER, MODEL)}
    write_litertlm(output, first | dict(parts), force=force)


def sampler_of(generation_config: Mapping[str, Any]) -> Sampler | None:
    """What generation_config.json says of picking tokens; None where it says nothing."""
    do_sample = generation_config.get("do_sample")
    if not isinstance(do_sample, bool):
        return None
    if not do_sample:
        return Sampler("greedy")
    values = {
        name: generation_config.get(name, default)
        for name, default in (("top_k", _HF_TOP_K), ("top_p", 1.0), ("temperature", 1.0))
    }
    for name, value in values.items():
        if not isinstance(value, int | float) or not 0 <= value < 1 << 31:
            raise BundleError(
                f"generation_config.json: {name} is {value!r:.80}; a number is needed"
            )
    return Sampler(
        "top_p",
        k=int(values["top_k"]),
        p=float(values["top_p"]),
        temperature=float(values["temperature"]),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is said of the runtime that the bundle is for."""
    group = parser.add_argument_group(
        "runtime", "An output named .litertlm is for LiteRT-LM; another one is a .task."
    )
    group.add_argument(
        "--metadata",
        choices=(MEDIAPIPE, LITERT_LM, BOTH),
        help="of a .task: for MediaPipe (the default), for LiteRT-LM, which opens it too, or one "
        "message for both, without a chat template",
    )
    group.add_argument(
        "--model-type",
        choices=tuple(MODEL_TYPES),
        default=GENERIC,
        help="how LiteRT-LM treats tools and pictures (%(default)s)",
    )
    group.add_argument(
        "--chat-template",
        type=Path,
        metavar="FILE.jinja",
        help="for LiteRT-LM's Minijinja, in the place of the one made of the prefixes",
    )
    group.add_argument(
        "--top-k", type=count, metavar="N", help="sample from the N likeliest tokens"
    )
    group.add_argument("--top-p", type=rate, metavar="P", help="of these, from a share of P")
    group.add_argument("--temperature", type=float, metavar="T", help="0 is greedy")


def packing_of(arguments: argparse.Namespace) -> Packing:
    """What the user said. Raises BundleError for a template that cannot be read."""
    from .files import read_file

    template = None
    if arguments.chat_template is not None:
        try:
            template = read_file(arguments.chat_template).decode()
        except UnicodeDecodeError as error:
            raise BundleError(f"{arguments.chat_template}: is no UTF-8: {error}") from error
    return Packing(
        metadata=arguments.metadata,
        model_type=arguments.model_type,
        chat_template=template,
        sampler=_sampler(arguments),
        alignment=getattr(arguments, "align", Packing.alignment),
    )


def _sampler(arguments: argparse.Namespace) -> Sampler | None:
    k, p, temperature = arguments.top_k, arguments.top_p, arguments.temperature
    if (k, p, temperature) == (None, None, None):
        return None
    if temperature is not None and not 0 <= temperature < 100:
        raise BundleError(f"--temperature {temperature}: a number from 0 to 100 is needed")
    if temperature == 0:
        return Sampler("greedy")
    return Sampler(
        "top_p",
        k=k or _HF_TOP_K,
        p=1.0 if p is None else p,
        temperature=1.0 if temperature is None else temperature,
    )
