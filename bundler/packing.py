"""Putting a bundle together, of either format: model, tokenizer, and metadata for its runtime."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import BundleError, both_metadata, llm_metadata, metadata
from .chat_template import template_of
from .litertlm import HF_TOKENIZER, Header, write_litertlm
from .llm_metadata import LlmMetadata, Sampler
from .parts import METADATA, MODEL, TOKENIZER, Source
from .runtimes import BOTH, GENERIC, LITERT_LM, MEDIAPIPE, TOP_K
from .settings import TextFormat
from .task import write_task
from .tokenizer import load_tokenizer


@dataclass(frozen=True)
class Packing:
    """How to bundle.

    metadata: of a `.task`, for which runtime; None: MEDIAPIPE, and LITERT_LM in a `.litertlm`,
    which has no other. The rest is LiteRT-LM's: model_type, a name of `runtimes.MODEL_TYPES`;
    chat_template: Jinja source in the place of ours; sampler: None leaves it to the engine.
    alignment: of the parts of a `.task`, in bytes.
    """

    metadata: str | None = None
    model_type: str | None = None
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
    output: Path,
    text: TextFormat,
    tokenizer: bytes,
    context_length: int,
    packing: Packing,
    told: LlmMetadata | None = None,
) -> tuple[bytes, tuple[str, ...]]:
    """METADATA, and notes on what it cannot carry.

    tokenizer: a SentencePiece model. context_length: tokens that the model's cache holds; 0 where
    that is not known. told: what holds where the packing leaves it open. Raises BundleError as
    `Packing.check` does, and for what the metadata cannot hold.
    """
    packing.check(output)
    runtime = packing.runtime(output)
    if runtime == MEDIAPIPE:
        return metadata.encode(text.parameters), ()
    token_id = load_tokenizer(tokenizer, "the tokenizer").processor.PieceToId
    told = told or LlmMetadata()
    described = replace(
        told,
        max_num_tokens=context_length,
        model_type=packing.model_type or told.model_type or GENERIC,
        chat_template=packing.chat_template or template_of(text.chat),
        sampler=packing.sampler or told.sampler,
    )
    if runtime == LITERT_LM:
        return llm_metadata.encode(text.parameters, described, token_id), ()
    return both_metadata.encode(text, described, token_id), both_metadata.notes(text)


def write_bundle(
    output: Path,
    parts: Mapping[str, Source],
    packing: Packing,
    *,
    header: Header | None = None,
    force: bool = False,
) -> None:
    """Writes a `.task`, or a `.litertlm` where the output's name ends so; whole or not at all.

    parts: as `write_task` takes them. header: of a `.litertlm`; what it says of its sections is
    said again in another one. Errors: as of `write_task` and `write_litertlm`.
    """
    if not is_litertlm(output):
        write_task(output, parts, alignment=packing.alignment, force=force)
        return
    # what is small stands first: a reader that gets the file piece by piece has it at once
    order = (METADATA, TOKENIZER, HF_TOKENIZER, MODEL)
    first = {name: parts[name] for name in order if name in parts}
    if header is None:
        write_litertlm(output, first | dict(parts), force=force)
        return
    items = {section.name: section.items for section in header.sections}
    write_litertlm(output, first | dict(parts), items=items, system=header.system, force=force)


def sampler_of(generation_config: Mapping[str, Any]) -> Sampler | None:
    """What generation_config.json says of picking tokens; None where it says nothing."""
    do_sample = generation_config.get("do_sample")
    if not isinstance(do_sample, bool):
        return None
    if not do_sample:
        return Sampler("greedy")
    values = {
        name: generation_config.get(name, default)
        for name, default in (("top_k", TOP_K), ("top_p", 1.0), ("temperature", 1.0))
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
