"""The command line: `taskpress VERB ...`.

Each verb imports what it needs when it runs, so that `--help` answers at once.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..converter import ConversionError
from ..models import CheckpointError
from ..tokenization import FORMS, FULL, TokenizerError
from . import (
    BundleError,
    bundling,
    comparing,
    doctor,
    parity,
    repacking,
    runtimes,
    text_format,
    unpacking,
)
from .arguments import count, lengths, special

if TYPE_CHECKING:
    from .build import Options, Report

_CHECKPOINT = "a folder with config.json and *.safetensors, a .gguf file, or a Hub id"
_TOKENIZER = (
    "a folder with tokenizer.json, tekken.json or tokenizer.model, of which the first counts; one "
    "of these files; a .gguf file; a tiktoken table of ranks; or a Hub id"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a verb; returns the exit code: 0, or 1 for bad input (2, for bad usage, is raised)."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        # A file's name need not be UTF-8, and a terminal may know fewer characters than a model.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = arguments.verb(arguments)
        sys.stdout.flush()
        return code
    except (BundleError, CheckpointError, ConversionError, TokenizerError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is not None:
            raise  # a file's own errors are named where it is opened: this is a mistake of ours
        # What is left to print goes nowhere: Python would try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader such as `head` that goes has seen enough.
        if not isinstance(error, BrokenPipeError):
            print(f"error: standard output: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="taskpress", description="Presses a trained LLM into a bundle that a phone can run."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    build = verbs.add_parser("build", help="checkpoint to .task or .litertlm bundle")
    build.add_argument("checkpoint", help=_CHECKPOINT)
    _add_output(build, "OUT.task|OUT.litertlm")
    _add_conversion(build)
    text_format.add_arguments(build)
    runtimes.add_arguments(build)
    _add_form(build, "--tokenizer-form", (*FORMS, "json"))
    build.set_defaults(verb=_build)

    convert = verbs.add_parser("convert", help="checkpoint to .tflite model")
    convert.add_argument("checkpoint", help=_CHECKPOINT)
    _add_output(convert, "OUT.tflite")
    _add_conversion(convert)
    convert.set_defaults(verb=_convert)

    tokenizer = verbs.add_parser("tokenizer", help="any tokenizer to SentencePiece model")
    tokenizer.add_argument("source", metavar="SOURCE", help=_TOKENIZER)
    _add_given(tokenizer)
    _add_form(tokenizer, "--form", FORMS)
    _add_output(tokenizer, "tokenizer.model")
    tokenizer.set_defaults(verb=_tokenizer)

    compared = verbs.add_parser("parity", help="compare a SentencePiece model with the original")
    compared.add_argument("source", metavar="SOURCE", help=f"the original: {_TOKENIZER}")
    compared.add_argument("tokenizer", type=Path, help="the SentencePiece model")
    parity.add_arguments(compared)
    _add_given(compared)
    _add_json(compared)
    compared.set_defaults(verb=parity.verb)

    bundle = verbs.add_parser("bundle", help="model and tokenizer to bundle")
    bundling.add_arguments(bundle)
    bundle.add_argument("--checkpoint", help=f"take what is not given from it: {_CHECKPOINT}")
    _add_output(bundle, "OUT.task|OUT.litertlm")
    text_format.add_arguments(bundle)
    runtimes.add_arguments(bundle)
    bundle.set_defaults(verb=bundling.verb)

    unpacked = verbs.add_parser("unpack", help="the parts of a bundle as files")
    unpacking.add_arguments(unpacked)
    unpacked.set_defaults(verb=unpacking.verb)

    repack = verbs.add_parser("repack", help="a bundle in the other format, or with other metadata")
    repacking.add_arguments(repack)
    _add_output(repack, "OUT.task|OUT.litertlm")
    text_format.add_arguments(repack)
    runtimes.add_arguments(repack)
    repack.set_defaults(verb=repacking.verb)

    compared = verbs.add_parser("diff", help="how two bundles differ")
    comparing.add_arguments(compared)
    _add_json(compared)
    compared.set_defaults(verb=comparing.verb)

    inspect = verbs.add_parser("inspect", help="show what a file holds")
    inspect.add_argument("file", type=Path, help="a .task, .tflite or SentencePiece model")
    _add_json(inspect)
    inspect.set_defaults(verb=_inspect)

    doctored = verbs.add_parser("doctor", help="find what would keep a phone from running a file")
    doctor.add_arguments(doctored)
    _add_json(doctored)
    doctored.set_defaults(verb=doctor.verb)

    models = verbs.add_parser("models", help="list the model families, and the keys they read")
    _add_json(models)
    models.set_defaults(verb=_models)

    run = verbs.add_parser("run", help="ask a bundle, on this machine's CPU")
    run.add_argument("bundle", type=Path, metavar="FILE")
    run.add_argument("prompts", nargs="+", metavar="PROMPT", help="one for each turn of a chat")
    run.add_argument("--system", metavar="TEXT", help="a message that stands before all others")
    run.add_argument("--max-tokens", type=count, help="stop after so many tokens")
    _add_json(run)
    run.set_defaults(verb=_run)
    return parser


def _add_output(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("-o", "--output", type=Path, required=True, metavar=name)
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")


def _add_given(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("table of ranks", "What such a file does not hold.")
    group.add_argument(
        "--pattern",
        metavar="REGEX_OR_NAME",
        help="the expression that cuts a text, or its name: gpt2, cl100k, llama3, o200k, ...",
    )
    group.add_argument(
        "--special",
        type=special,
        metavar="TEXT=ID",
        action="append",
        dest="specials",
        default=[],
        help="a special token and its id; may be repeated",
    )


def _add_form(parser: argparse.ArgumentParser, option: str, forms: Sequence[str]) -> None:
    as_it_is = "; json: tokenizer.json as it is, in a .litertlm" if "json" in forms else ""
    parser.add_argument(
        option,
        choices=forms,
        default=FULL,
        help="full: the most exact, for runtimes that call SentencePiece's Encode and Decode; "
        f"plain: for those that read pieces one by one, each the text of its token{as_it_is} "
        "(%(default)s)",
    )
    parser.add_argument(
        "--ignore-flags",
        action="store_true",
        help="build although added tokens have lstrip, rstrip or single_word: the ids differ where "
        "spaces are beside them, or letters",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")


def _add_conversion(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("conversion")
    group.add_argument(
        "--quantize",
        choices=("none", "fp16", "int8"),
        default="int8",
        help="none: float32; fp16: float16 weights; int8: 8-bit weights, a scale a row, computed "
        "with in 8 bits (%(default)s)",
    )
    group.add_argument(
        "--prefill-lengths",
        type=lengths,
        metavar="N,N,...",
        help="a signature prefill_N for each (8,64,128,256,512,1024 as far as they fit; of an "
        "encoder-decoder none)",
    )
    group.add_argument(
        "--context-length",
        type=count,
        default=1280,
        metavar="N",
        help="tokens of prompt and answer together (%(default)s)",
    )
    group.add_argument(
        "--sliding-cache",
        choices=("full", "ring"),
        default="full",
        help="of layers with a sliding window; ring: no longer than window and longest prefill "
        "take, so that a runtime cannot go back in a text (%(default)s)",
    )
    group.add_argument(
        "--encode-length",
        type=count,
        metavar="N",
        help="of an encoder, in the place of both, and of an encoder-decoder besides: the tokens "
        "of a text (256, or as many as it has positions)",
    )
    group.add_argument(
        "--mask",
        choices=("graph", "input"),
        default="graph",
        help="graph: the attention mask is computed from the positions; input: the runtime gives "
        "it (%(default)s)",
    )
    group.add_argument(
        "--prefill-logits", action="store_true", help="prefill gives the logits of all tokens too"
    )
    group.add_argument(
        "--no-smoothing",
        action="store_false",
        dest="smoothing",
        help="int8: do not look at the activations first (faster, and less exact)",
    )
    group.add_argument(
        "--report",
        type=Path,
        metavar="OUT.json",
        help="measure how far the logits are from the checkpoint's, and write all figures here",
    )


def _options(arguments: argparse.Namespace) -> "Options":
    from .build import Options

    return Options(
        quantize=arguments.quantize,
        prefill_lengths=arguments.prefill_lengths,
        context_length=arguments.context_length,
        mask=arguments.mask,
        prefill_logits=arguments.prefill_logits,
        smoothing=arguments.smoothing,
        encode_length=arguments.encode_length,
        sliding_cache=arguments.sliding_cache,
    )


def _build(arguments: argparse.Namespace) -> int:
    from .build import build

    _check_report(arguments)
    report = build(
        arguments.checkpoint,
        arguments.output,
        _options(arguments),
        text_format.settings(arguments),
        runtimes.packing_of(arguments),
        tokenizer_form=arguments.tokenizer_form,
        ignore_flags=arguments.ignore_flags,
        force=arguments.force,
        compare=arguments.report is not None,
    )
    for note in report.bundle["notes"]:
        print(f"note: {note}")
    return _write_report(report, arguments)


def _convert(arguments: argparse.Namespace) -> int:
    from .build import convert

    _check_report(arguments)
    report = convert(
        arguments.checkpoint,
        arguments.output,
        _options(arguments),
        force=arguments.force,
        compare=arguments.report is not None,
    )
    return _write_report(report, arguments)


def _check_report(arguments: argparse.Namespace) -> None:
    """Refuses before the work what could not be written after it."""
    from .output import refuse_existing

    if arguments.report is not None:
        refuse_existing(arguments.report, force=True)
        if arguments.report.absolute() == arguments.output.absolute():
            raise BundleError(
                f"{arguments.report}: is the output too; give the report its own name"
            )


def _write_report(report: "Report", arguments: argparse.Namespace) -> int:
    from .output import whole_file

    if arguments.report is not None:
        with whole_file(arguments.report, force=True) as out:
            out.write((_json(report.to_dict()) + "\n").encode())
    return 0


def _tokenizer(arguments: argparse.Namespace) -> int:
    from .output import refuse_existing, whole_file
    from .progress import percent, progress
    from .rebuild import Given, parity_notes, read_source

    refuse_existing(arguments.output, force=arguments.force)
    given = Given(arguments.pattern, dict(arguments.specials))
    found, specials = read_source(arguments.source, given)
    with progress("tokenizer", "%") as report:
        model = found.build(
            percent(report), specials, arguments.form, ignore_flags=arguments.ignore_flags
        )
    with whole_file(arguments.output, force=arguments.force) as out:
        out.write(model)
    print(f"{arguments.output}: {len(model) / 1e6:.1f} MB")
    for note in parity_notes(found, model):
        print(f"note: {note}")
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from .summary import summarize

    summary = summarize(arguments.file)
    print(_json(summary.to_dict()) if arguments.json else summary.table())
    return 0


def _models(arguments: argparse.Namespace) -> int:
    from ..models import families

    found = families()
    print(_json([f._asdict() for f in found]) if arguments.json else "\n".join(map(str, found)))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from .run import Chat

    def tell(text: str) -> None:
        print(text, end="", flush=True)

    answers = []
    with Chat(arguments.bundle, arguments.system) as chat:
        for prompt in arguments.prompts:
            told = None if arguments.json else tell
            answers.append(asdict(chat.ask(prompt, arguments.max_tokens, told)))
            if not arguments.json:
                print()
    if arguments.json:
        print(_json(answers[0] if len(answers) == 1 else answers))
    return 0


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
