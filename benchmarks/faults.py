"""A list of broken files: each has one fault, and the code of the finding that must name it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskpress.bundler.metadata import BundleParameters


@dataclass(frozen=True)
class Parts:
    """What a good bundle is made of: int8, one fault away from each of the broken ones."""

    model: bytes
    tokenizer: bytes
    parameters: BundleParameters


@dataclass(frozen=True)
class Fault:
    """A broken file: the code of the finding that must name it, what was done, how to do it."""

    code: str
    title: str
    make: Callable[[Parts], bytes]
    suffix: str = ".task"


FAULTS: list[Fault] = []


def fault(code: str, title: str, suffix: str = ".task") -> Callable[..., Any]:
    def add(make: Callable[[Parts], bytes]) -> Callable[[Parts], bytes]:
        FAULTS.append(Fault(code, title, make, suffix))
        return make

    return add
