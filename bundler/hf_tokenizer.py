"""A tokenizer.json in a `.litertlm`: deflated (zlib), behind its size as 64 bits, little-endian."""

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Tokenizer

from ..tokenization.tokenizer_json import original, validate
from . import BundleError, tokenizer

AnyTokenizer = Tokenizer | tokenizer.Tokenizer
JSON = "json"  # beside the forms of a SentencePiece model
MAX_BYTES = 256 << 20
_SIZE_BYTES = 8


def dumped(document: Mapping[str, Any]) -> bytes:
    """A tokenizer.json, compact."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def pack(document: bytes) -> bytes:
    """document: a tokenizer.json."""
    return len(document).to_bytes(_SIZE_BYTES, "little") + zlib.compress(document)


def unpack(data: bytes, where: str) -> bytes:
    """The tokenizer.json; not more is inflated than the size says. Raises BundleError."""
    size = int.from_bytes(data[:_SIZE_BYTES], "little")
    if len(data) < _SIZE_BYTES or size > MAX_BYTES:
        raise BundleError(f"{where}: claims {size} bytes; at most {MAX_BYTES} are read")
    inflater = zlib.decompressobj()
    try:
        # one byte more than the size, to see that there is none
        document = inflater.decompress(data[_SIZE_BYTES:], size + 1)
    except zlib.error as error:
        raise BundleError(f"{where}: is no deflated tokenizer.json: {error}") from error
    if len(document) != size or not inflater.eof:
        raise BundleError(f"{where}: inflates to another size than the {size} bytes it claims")
    return document


def load(data: bytes, where: str) -> Tokenizer:
    """The tokenizer itself. Raises BundleError or TokenizerError."""
    try:
        document = json.loads(unpack(data, where))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: is no tokenizer.json: {error}") from error
    validate(document, where)
    return original(document, where)


def count_of(tokenizer: Tokenizer) -> int:
    """How many ids there are, holes among them included."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def texts_of(loaded: AnyTokenizer) -> tuple[int, Callable[[int], str | None]]:
    """How many ids there are, and what gives the text of one; None for one in a hole."""
    if isinstance(loaded, Tokenizer):
        return count_of(loaded), loaded.id_to_token
    return len(loaded.kinds), loaded.spelling
