"""From llama.cpp's names to the Hub's: what an architecture file declares about its GGUF files.

llama.cpp's converter renames the tensors and config keys, interleaves the rows of some
projections and adds constants to some norms. Each architecture states that as one constant
`GGUF`, and this module undoes it.
Source: the key and tensor names of `gguf.constants`; llama.cpp's convert_hf_to_gguf.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class GgufTensor:
    """Where a GGUF tensor goes, and what llama.cpp's converter did to its values.

    name: the Hub's name, with {i} for the layer.
    heads: the config.json key that counts the heads whose rows are interleaved. Row r of a head
        of D rows is then row 2 * (r % (D / 2)) + r // (D / 2) in the GGUF file.
    offset: what to add to each GGUF value; -1 where the converter stored 1 + weight.
    """

    name: str
    heads: str | None = None
    offset: float = 0.0


@dataclass(frozen=True)
class GgufArchitecture:
    """How llama.cpp writes one architecture.

    name: `general.architecture`, which also begins each of its keys.
    config: GGUF key without `name.` -> config.json key. Two keys may go to one, if they agree.
    tensors: GGUF tensor -> the Hub's, with {i} for the layer; a plain name is copied as it is.
    constants: config.json values that llama.cpp does not store, since the architecture has one.
    present: config.json flag -> GGUF tensor; the flag is whether the file has that tensor.
    harmless: GGUF key without `name.` -> the values with which it changes no forward pass.
    """

    name: str
    config: Mapping[str, str]
    tensors: Mapping[str, str | GgufTensor]
    constants: Mapping[str, Any] = field(default_factory=dict)
    present: Mapping[str, str] = field(default_factory=dict)
    harmless: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
