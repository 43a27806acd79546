"""The `.task` bundle: a stored zip of a model, its tokenizer and METADATA, read in place.

    bytes 0-3        zeros
    byte  4          local header of TF_LITE_PREFILL_DECODE, then its data (a TFLite model)
    1-4 zeros        local header of TOKENIZER_MODEL, then its data (a SentencePiece ModelProto)
    1-4 zeros        local header of METADATA, then its data (LlmParameters)
    ...              embedder, per-layer embedder, vision encoder and adapter, where there are any
    the directory    central headers, zip64 records when the archive is larger than 4 GiB

Each entry's data starts on a multiple of 4 bytes, or of more on request. No time, user or machine
is written, so the same entries give the same bytes.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from . import BundleError, archive
from .output import whole_file
from .parts import METADATA, MODEL, TOKENIZER, Extent, Source, opened, size_of, write_part

OTHER_MODELS = {  # what mediapipe's bundler takes besides, as files: its option -> the entry
    "embedder": "TF_LITE_EMBEDDER",
    "per_layer_embedder": "TF_LITE_PER_LAYER_EMBEDDER",
    "vision_encoder": "TF_LITE_VISION_ENCODER",
    "vision_adapter": "TF_LITE_VISION_ADAPTER",
}
ENTRIES = (  # in the order in which mediapipe's bundler writes them
    MODEL,
    TOKENIZER,
    METADATA,
    *OTHER_MODELS.values(),
)
_REQUIRED = ENTRIES[:3]


def write_task(
    output: Path,
    entries: Mapping[str, Source],
    *,
    alignment: int = archive.ALIGNMENT,
    force: bool = False,
) -> None:
    """Writes the bundle `output`, whole or not at all; its entries are put into the format's order.

    entries: name -> bytes, a file to copy, or Written; MODEL, TOKENIZER and METADATA are required.
    alignment: the data of each starts on a multiple of so many bytes. One chunk is in memory at a
    time; files of more than 4 GiB get zip64 records.
    Raises BundleError for a missing, unknown or unreadable entry, and as `whole_file` does.
    """
    if missing := [name for name in _REQUIRED if name not in entries]:
        raise BundleError(f"{output}: {', '.join(missing)} not given; a bundle needs each of them")
    if unknown := [name for name in entries if name not in ENTRIES]:
        raise BundleError(
            f"{output}: {', '.join(unknown)}: no such entry; known are {', '.join(ENTRIES)}"
        )
    in_order = [(name, entries[name]) for name in ENTRIES if name in entries]
    sizes = [(name, size_of(source)) for name, source in in_order]
    if empty := [name for name, size in sizes if size == 0]:
        raise BundleError(f"{output}: {', '.join(empty)}: no bytes; nothing would load that")
    placed = archive.plan(sizes, alignment=alignment)
    with whole_file(output, force=force) as file:
        checked = []
        for place, (_, source) in zip(placed, in_order, strict=True):
            extent = Extent(place.offset, place.size)
            checked.append((place, write_part(file, place.name, extent, source)))
        for place, crc32 in checked:
            file.seek(place.header)
            file.write(archive.local_header(place, crc32))
        file.seek(0, os.SEEK_END)
        file.write(archive.directory(checked, file.tell()))


def read_entries(path: Path) -> dict[str, Extent]:
    """Where the entries of a bundle lie, in the archive's order; their data is not touched.

    Raises BundleError for a file that is not there, an archive that is damaged or not stored, and
    a missing or misaligned entry.
    """
    with opened(path) as file:
        entries = archive.read_directory(file, str(path))
    for name in _REQUIRED:
        if name not in entries:
            raise BundleError(
                f"{path}: there is no {name}, only {', '.join(entries) or 'nothing'}; "
                "build the bundle anew"
            )
    for name, extent in entries.items():
        if extent.offset % archive.ALIGNMENT:
            raise BundleError(
                f"{path}: {name}: its data starts at byte {extent.offset}; a multiple of "
                f"{archive.ALIGNMENT} is needed to map it, build the bundle anew"
            )
    return entries
