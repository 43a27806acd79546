"""The verb `taskpress bundle`: its arguments, and what it does with them."""

import argparse
from pathlib import Path

from . import BundleError

_OPTIONS = {  # of `task.OTHER_MODELS`
    "embedder": "looks the tokens up, where the model takes embeddings",
    "per_layer_embedder": "the same, for the embeddings of each layer",
    "vision_encoder": "reads a picture",
    "vision_adapter": "makes embeddings of what the vision encoder gives",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the files to bundle, and how they lie in the bundle."""
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")
    parser.add_argument("tokenizer", type=Path, metavar="TOKENIZER.model")
    group = parser.add_argument_group(
        "other models", "TFLite models that this one was made with; they are copied as they are."
    )
    for name, what in _OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, type=Path, metavar="MODEL.tflite", help=what)
    parser.add_argument(
        "--bytes-to-unicode",
        action="store_true",
        help="the tokenizer's pieces are in GPT-2's byte alphabet: MediaPipe's engine writes texts "
        "in it first; LiteRT-LM does not",
    )


def verb(arguments: argparse.Namespace) -> int:
    """Bundles the files."""
    from ..models._checkpoint import open_checkpoint
    from ..tokenization.sentencepiece_model import check
    from . import runtimes, text_format
    from .decoder import check_model
    from .files import read_file
    from .output import refuse_existing
    from .packing import metadata_of, write_bundle
    from .parts import METADATA, MODEL, TOKENIZER, Source
    from .settings import parameters_for

    output = arguments.output
    refuse_existing(output, force=arguments.force)
    packing = runtimes.packing_of(arguments)
    packing.check(output)
    context_length = check_model(arguments.model)
    others = _other_models(arguments)
    tokenizer = read_file(arguments.tokenizer)
    check(tokenizer, str(arguments.tokenizer))
    settings = text_format.settings(arguments)
    if arguments.checkpoint is None:
        text = parameters_for(None, tokenizer, settings)
    else:
        with open_checkpoint(arguments.checkpoint) as checkpoint:
            text = parameters_for(checkpoint, tokenizer, settings)
            packing = packing.with_sampler_of(output, checkpoint.generation_config)
    encoded, lacking = metadata_of(output, text, tokenizer, context_length, packing)
    entries: dict[str, Source] = {
        MODEL: arguments.model,
        TOKENIZER: tokenizer,
        METADATA: encoded,
        **others,
    }
    write_bundle(output, entries, packing, force=arguments.force)
    for note in text.notes + lacking:
        print(f"note: {note}")
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")
    return 0


def _other_models(arguments: argparse.Namespace) -> dict[str, Path]:
    """Entry -> file of those that are given. Raises BundleError for one that is no TFLite model."""
    from .files import open_file
    from .task import OTHER_MODELS
    from .tflite import IDENTIFIER

    found: dict[str, Path] = {}
    for name, entry in OTHER_MODELS.items():
        path = getattr(arguments, name)
        if path is None:
            continue
        with open_file(path) as file:
            start = file.read(8)
        if start[4:] != IDENTIFIER:
            raise BundleError(f"{path}: begins with {start!r}; a TFLite model is needed")
        found[entry] = path
    return found
