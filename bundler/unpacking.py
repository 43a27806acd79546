"""The verb `taskpress unpack`: each part of a bundle as a file of its own."""

import argparse
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import BundleError

_ENDINGS = {"METADATA": ".pb", "TOKENIZER_MODEL": ".model", "HF_TOKENIZER": ".json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the bundle and the folder."""
    parser.add_argument("file", type=Path, help="a .task or .litertlm")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="made, and new"
    )


def verb(arguments: argparse.Namespace) -> int:
    """Unpacks the bundle, and prints the files."""
    for path in unpack(arguments.file, arguments.output):
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return 0


def unpack(bundle: Path, folder: Path) -> list[Path]:
    """Writes each part into `folder`, which appears whole or not at all; returns the files.

    A part's file is named after it: .tflite for models, .model for a SentencePiece model, .json for
    a tokenizer.json, .pb for METADATA, with a readable METADATA.json beside it, .bin for the rest.
    A chunk is in memory at a time. Raises BundleError for a folder that exists, a bundle that
    cannot be read, and a part whose CRC-32 is not the one written beside it.
    """
    from .bundle import entries_of

    entries = entries_of(bundle)
    if folder.exists() or folder.is_symlink():
        raise BundleError(f"{folder}: exists; name a folder that does not")
    partial = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir()
        for name, extent in entries.items():
            _write(bundle, name, extent, partial / _file_name(name))
        described = _described(bundle)
        if described is not None:
            text = json.dumps(described, indent=2, ensure_ascii=False, default=str)
            (partial / "METADATA.json").write_text(text + "\n", encoding="utf-8")
        names = sorted(path.name for path in partial.iterdir())
        partial.rename(folder)
    except OSError as error:
        about = os.fsdecode(error.filename or folder)
        raise BundleError(
            f"{folder}: cannot be written: {about}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / name for name in names]


def _file_name(name: str) -> str:
    # names were checked to be letters, digits and underscores by both formats' readers
    if name.startswith("TF_LITE_"):
        return f"{name}.tflite"
    return name + next((end for part, end in _ENDINGS.items() if name.startswith(part)), ".bin")


def _write(bundle: Path, name: str, extent: Any, path: Path) -> None:
    from .hf_tokenizer import unpack as inflated
    from .litertlm import HF_TOKENIZER
    from .parts import opened, part_bytes, write_part_to

    where = f"{bundle}: {name}"
    if name.startswith(HF_TOKENIZER):
        with opened(bundle) as file:
            path.write_bytes(inflated(part_bytes(file, extent, where), where))
        return
    with path.open("xb") as out:
        write_part_to(out, bundle, extent, where)


def _described(bundle: Path) -> Mapping[str, Any] | None:
    """METADATA as `inspect` shows it; None for a bundle that is not one of an LLM."""
    from .bundle import METADATA, MODEL, entries_of, read_bundle
    from .metadata import described

    if not {METADATA, MODEL} <= entries_of(bundle).keys():
        return None
    read = read_bundle(bundle)
    theirs = read.llm_metadata and asdict(read.llm_metadata)
    return {"parameters": described(read.parameters), "llm_metadata": theirs}
