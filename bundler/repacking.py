"""The verb `taskpress repack`: a bundle in the other format, or with other metadata.

The model's bytes are copied, a chunk at a time. What is not asked for stays as it was, METADATA to
the byte where nothing of it changes. From a chat template, prefixes are derived as from one of the
Hub's, and proven on chats (see templates.py); from prefixes, a chat template is made.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import BundleError

if TYPE_CHECKING:
    from .bundle import Bundle
    from .metadata import BundleParameters
    from .packing import Packing
    from .parts import Source
    from .settings import BundleSettings, TextFormat
    from .templates import ChatFormat


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the bundle to read."""
    parser.add_argument("file", type=Path, help="a .task or .litertlm")


def verb(arguments: argparse.Namespace) -> int:
    """Writes the other bundle, and prints what is lost."""
    from . import runtimes, text_format

    settings = text_format.settings(arguments)
    packing = runtimes.packing_of(arguments)
    output = arguments.output
    for note in repack(arguments.file, output, settings, packing, force=arguments.force):
        print(f"note: {note}")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return 0


def repack(
    source: Path,
    output: Path,
    settings: "BundleSettings",
    packing: "Packing",
    *,
    force: bool = False,
) -> tuple[str, ...]:
    """Writes the bundle `output`, whole or not at all; returns notes on what it cannot carry.

    settings: of the text format, packing: for which runtime; what they leave open stays as it is.
    Raises BundleError for what the other format has no place for, and as `write_bundle` does.
    """
    from .bundle import TASK, read_bundle
    from .output import refuse_existing
    from .packing import is_litertlm, write_bundle
    from .parts import METADATA, Piece

    refuse_existing(output, force=force)
    bundle = read_bundle(source)
    if packing.metadata is None and bundle.kind == TASK and not is_litertlm(output):
        packing = replace(packing, metadata=_runtime(bundle))
    packing.check(output)
    encoded, notes = _metadata(bundle, output, settings, packing)
    parts: dict[str, Source] = {
        name: Piece(source, extent.offset, extent.size, extent.crc32)
        for name, extent in bundle.entries.items()
    }
    write_bundle(output, parts | {METADATA: encoded}, packing, header=bundle.header, force=force)
    if bundle.header and not is_litertlm(output):
        said = bundle.header.said().items()
        notes += tuple(f"header: {key} {value!r}: not carried over" for key, value in said)
    return notes


def _runtime(bundle: "Bundle") -> str:
    """For which runtime a bundle's METADATA is."""
    from .runtimes import BOTH, LITERT_LM, MEDIAPIPE

    if bundle.llm_metadata is None:
        return MEDIAPIPE
    return LITERT_LM if bundle.mediapipe is None else BOTH


def _metadata(
    bundle: "Bundle", output: Path, settings: "BundleSettings", packing: "Packing"
) -> tuple[bytes, tuple[str, ...]]:
    from . import llm_metadata, metadata
    from .decoder import context_length_of
    from .packing import Packing, metadata_of
    from .parts import METADATA, TOKENIZER
    from .runtimes import LITERT_LM
    from .settings import TextFormat, changed
    from .templates import chat_of
    from .tokenizer import load_tokenizer

    runtime = packing.runtime(output)
    same = replace(packing, metadata=None, alignment=Packing.alignment) == Packing()
    if runtime == _runtime(bundle) and same and not settings.given():
        return bundle.read(METADATA), ()
    if TOKENIZER not in bundle.entries:
        raise BundleError(
            f"{bundle.path}: has a tokenizer.json, and no {TOKENIZER}, by which its tokens are "
            "checked; unpack it, make a SentencePiece model with taskpress tokenizer, and bundle "
            "anew"
        )
    data, described = bundle.read(TOKENIZER), bundle.llm_metadata
    # a template stays as it is where it can, as prefixes cannot write every one
    keeps = described is not None and runtime == LITERT_LM and not settings.gives_affixes()
    read = TextFormat(bundle.parameters, chat_of(bundle.parameters)) if keeps else _text(bundle)
    tokenizer = load_tokenizer(
        data, f"{bundle.path}: {TOKENIZER}", bytes_to_unicode=read.parameters.bytes_to_unicode
    )
    text = changed(read, settings, tokenizer)
    if keeps and described is not None:
        packing = replace(
            packing, chat_template=packing.chat_template or described.chat_template or None
        )
    length = (described and described.max_num_tokens) or context_length_of(bundle.path)
    encoded, lacking = metadata_of(output, text, data, length, packing, described)
    module = metadata if described is None else llm_metadata
    unread = module.unread_fields(bundle.read(METADATA), f"{bundle.path}: {METADATA}")
    lost = (f"METADATA: {', '.join(unread)}: not carried over",) if unread else ()
    return encoded, text.notes + lacking + lost


def _text(bundle: "Bundle") -> "TextFormat":
    """What the bundle's METADATA says of its texts; of both messages, LlmParameters says more."""
    from .settings import TextFormat
    from .templates import chat_of, read_template

    parameters = bundle.parameters if bundle.mediapipe is None else bundle.mediapipe
    template = bundle.llm_metadata.chat_template if bundle.llm_metadata else ""
    if not template:
        return TextFormat(parameters, chat_of(parameters))
    tokens = [token for token in (parameters.start_token, *parameters.stop_tokens) if token]
    chat = read_template(template, {}, tokens, parameters.start_token or None)
    # the engine writes the start token, so that a template that lacks it lacks nothing
    chat = _cut_as_told(replace(chat, stops=parameters.stop_tokens, notes=()), parameters)
    notes = () if chat.no_system is None else (f"no system message: {chat.no_system}",)
    of_chat = chat.parameters(parameters.stop_tokens)
    kept = {
        name: getattr(parameters, name)
        for name in ("stop_token_ids", "suppressed_tokens", "channels")
    }
    return TextFormat(replace(of_chat, **kept), chat, notes)


def _cut_as_told(chat: "ChatFormat", told: "BundleParameters") -> "ChatFormat":
    """The same chats, cut into prefixes as the prompt templates beside the chat template are.

    What follows a stop token is written by the next turn in a template of ours, so that the
    template alone does not tell to which of the two it belongs. `chat` itself where the prompt
    templates do not write the same.
    """
    from .templates import AFFIXES, PROOF, PROOF_SYSTEM, messages_of

    names = [name for name in AFFIXES if name.startswith(("user", "model"))]
    cut = replace(
        chat,
        **{name: getattr(told, name) for name in names},
        session_prefix=(chat.session_prefix + chat.user_prefix).removesuffix(told.user_prefix),
        system_suffix=(chat.system_suffix + chat.user_prefix).removesuffix(told.user_prefix),
    )
    systems = (None,) if chat.no_system is not None else (None, PROOF_SYSTEM)
    chats = [messages_of(PROOF[:count], system) for system in systems for count in (1, 3, 5)]
    return cut if all(cut.chat(each) == chat.chat(each) for each in chats) else chat
