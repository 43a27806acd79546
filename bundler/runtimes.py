"""The runtimes that a bundle may be for, and what the command line says of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import BundleError
from .arguments import count, rate

if TYPE_CHECKING:
    from .llm_metadata import Sampler
    from .packing import Packing

MEDIAPIPE, LITERT_LM, BOTH = "mediapipe", "litertlm", "both"
GENERIC = "generic_model"
# how LiteRT-LM treats tools and pictures: name -> number of its field in LlmModelType
MODEL_TYPES = {
    GENERIC: 1,
    "gemma3n": 2,
    "function_gemma": 3,
    "gemma3": 4,
    "qwen3": 5,
    "qwen2p5": 7,
    "gemma4": 8,
    "fast_vlm": 9,
    "lfm2": 11,
    "minicpm5": 12,
    "minicpmv4": 13,
}
TOP_K = 50  # transformers' own, where a text is sampled and nothing is said


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
        help=f"how LiteRT-LM treats tools and pictures ({GENERIC})",
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
    group.add_argument(
        "--align",
        type=count,
        default=4,
        metavar="N",
        help="the data of each entry of a .task starts on a multiple of N bytes, such as 4096 "
        "(%(default)s)",
    )


def packing_of(arguments: argparse.Namespace) -> "Packing":
    """What the user said. Raises BundleError for a template that cannot be read."""
    from .files import read_file
    from .packing import Packing

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
        alignment=arguments.align,
    )


def _sampler(arguments: argparse.Namespace) -> "Sampler | None":
    k, p, temperature = arguments.top_k, arguments.top_p, arguments.temperature
    from .llm_metadata import Sampler

    if (k, p, temperature) == (None, None, None):
        return None
    if temperature is not None and not 0 <= temperature < 100:
        raise BundleError(f"--temperature {temperature}: a number from 0 to 100 is needed")
    if temperature == 0:
        return Sampler("greedy")
    return Sampler(
        "top_p",
        k=k or TOP_K,
        p=1.0 if p is None else p,
        temperature=1.0 if temperature is None else temperature,
    )
