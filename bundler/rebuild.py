"""The SentencePiece model of a checkpoint: its own, or rebuilt from what it has."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor

from ..models._checkpoint import Checkpoint, open_checkpoint
from ..models._files import load_json
from ..tokenization import FULL, TokenizerError, parity, published
from ..tokenization.published import Given, Published
from ..tokenization.tokenizer_json import FILE_NAME, SpecialIds, load, original
from .files import open_file

Encode = Callable[[str], list[int]]

GGUF_MAGIC = b"GGUF"
NOTED_RATE = 1e-3  # of the tokens of one category


def read_source(source: str | Path, given: Given | None = None) -> tuple[Published, SpecialIds]:
    """The tokenizer that `source` names, and the ids that begin, end and pad a text.

    source: a checkpoint or a folder with the files of its tokenizer; a file of a tokenizer, as
    `published.read` knows them; or a repository of the Hub. given: what a table of ranks lacks.
    Raises TokenizerError or CheckpointError.
    """
    path = Path(source)
    if path.is_dir():
        found = published.read(path, given)
        configs = [path / name for name in ("config.json", "generation_config.json")]
        config, generation = (load_json(file) if file.exists() else {} for file in configs)
        return found, _named_ids(found, {**config, **generation}, path)
    if path.is_file() and not _is_gguf(path):
        found = published.read(path, given)
        return found, found.specials
    with open_checkpoint(source) as checkpoint:
        return _published(checkpoint, given)


def has_tokenizer(checkpoint: Checkpoint) -> bool:
    """Whether there is anything to make a tokenizer of."""
    if checkpoint.folder is None:
        return "tokenizer.ggml.model" in checkpoint.metadata
    return any((checkpoint.folder / name).exists() for name in published.FOLDER_FILES)


def document(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint's tokenizer.json, or what else it has in that form.

    Its special tokens are among the added ones, found in a text, as in every tokenizer of the Hub.
    Raises TokenizerError where there is none, or one of a kind that cannot be rebuilt.
    """
    return _published(checkpoint)[0].as_document(controls=True)


def sentencepiece_model(
    checkpoint: Checkpoint,
    progress: Callable[[float], None] | None = None,
    form: str = FULL,
    *,
    ignore_flags: bool = False,
) -> bytes:
    """The ModelProto to bundle: the checkpoint's own where it will do, else rebuilt.

    progress: called with the share that is done, 0 to 1; form, ignore_flags: as for
    `Published.build`. Raises TokenizerError.
    """
    found, specials = _published(checkpoint)
    return found.build(progress, specials, form, ignore_flags=ignore_flags)


def checkpoint_parity_notes(checkpoint: Checkpoint, model: bytes) -> tuple[str, ...]:
    """`parity_notes` of a checkpoint's tokenizer."""
    return parity_notes(_published(checkpoint)[0], model)


def parity_notes(found: Published, model: bytes) -> tuple[str, ...]:
    """What to say of a rebuilt model that gives many other ids than the original; else nothing.

    An expression may cut in ways that SentencePiece has no means for, and any may be given: so
    what came out is compared on the sample that ships.
    """
    if found.document is None or found.model is not None:
        return ()
    report = parity.compare(found.document, model, parity.Options(groups=("sample",)))
    shown = [
        f"{100 * section.rate:.2g} % of {section.name.partition('/')[2]}"
        for section in report.sections
        if section.rate > NOTED_RATE
    ]
    if not shown:
        return ()
    return (
        f"the rebuilt tokenizer gives other tokens than the original, in {', '.join(shown)}; "
        "taskpress parity shows which",
    )


def encoder(checkpoint: Checkpoint) -> Encode:
    """Text to ids, by the checkpoint's own tokenizer. Raises TokenizerError where it has none."""
    found, specials = _published(checkpoint)
    if found.document is None:
        return encoder_of(found.build(specials=specials))
    tokenizer = original(found.document, checkpoint.path.name)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def text_encoder(folder: Path) -> Encode | None:
    """Text to ids with the special tokens around it, as an encoder takes it.

    By tokenizer.json, of any kind, since nothing is rebuilt; None where there is none. Raises
    TokenizerError for one that cannot be used.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    tokenizer = original(load(path), path.name)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: tokenizer.encode(text).ids


def encoder_of(model: bytes) -> Encode:
    """Text to ids, by a SentencePiece model."""
    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    return processor.Encode


def _published(checkpoint: Checkpoint, given: Given | None = None) -> tuple[Published, SpecialIds]:
    if checkpoint.folder is None:
        found = published.read_gguf(checkpoint.metadata, checkpoint.path.name)
        return found, found.specials
    found = published.read(checkpoint.folder, given)
    config = {**checkpoint.config, **checkpoint.generation_config}
    return found, _named_ids(found, config, checkpoint.path)


def _is_gguf(path: Path) -> bool:
    with open_file(path) as file:
        return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC


def _named_ids(found: Published, config: Mapping[str, Any], where: Path) -> SpecialIds:
    """The ids that begin, end and pad a text, as config.json and generation_config.json say."""
    if found.document is None:
        return found.specials  # the model has its own
    vocabulary = found.document["model"]["vocab"]
    ids = range(len(vocabulary)) if isinstance(vocabulary, list) else vocabulary.values()
    known = {*ids, *(token["id"] for token in found.document.get("added_tokens") or [])}
    named: dict[str, int | None] = {}
    for name in ("bos", "eos", "pad"):
        key = f"{name}_token_id"
        value = config.get(key, getattr(found.specials, name))
        # Several end an answer: the first is the one that ends a text.
        first = value[0] if isinstance(value, list) and value else value
        named[name] = first if type(first) is int and first >= 0 else None
        if named[name] is not None and named[name] not in known:
            raise TokenizerError(f"{where}: {key} {first}: the tokenizer has no such token")
    return SpecialIds(**named)
