"""What a doctor of bundles finds: each finding says what is there, why it matters, how to mend it.

What is known of a fault, whichever the file, stands in a table by its code: `known_faults`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
ERROR: Level = "error"
WARNING: Level = "warning"
NOTE: Level = "note"


@dataclass(frozen=True)
class Known:
    """What is known of a fault.

    level: ERROR where an engine fails or its answers are wrong, WARNING for a risk, NOTE for what
    is good to know. says: what engines print for it, word for word, so that a search finds it.
    """

    level: Level
    why: str
    mend: str
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A fault in a file. where: the part of it, as "METADATA" or "decode: logits"."""

    code: str
    level: Level
    where: str
    what: str
    why: str
    mend: str
    says: tuple[str, ...] = ()


def finding(
    table: Mapping[str, Known], code: str, where: str, what: str, level: Level | None = None
) -> Finding:
    """A finding of a known fault. level: where this one is worse, or less bad, than most."""
    known = table[code]
    return Finding(code, level or known.level, where, what, known.why, known.mend, says=known.says)
