"""Reads @nativescript/types-android: what a class is, its superclass, constants, and API levels."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class TypedMember:
    """parameters: how many, -1 for a field. since: the API level that brought it, 0 if not said."""

    parameters: int
    since: int
    deprecated: bool
    value: int | float | str | None


@dataclass
class TypedClass:
    """kind: "class", "abstract" or "interface"."""

    kind: str = "class"
    superclass: str | None = None
    since: int = 0
    deprecated: bool = False
    members: dict[str, list[TypedMember]] = field(default_factory=dict)

    def member(self, name: str, parameters: int) -> TypedMember | None:
        found = self.members.get(name, [])
        return next((each for each in found if each.parameters == parameters), None)


_MODULE = re.compile(r"(?:declare|export) module ([\w.$]+) \{")
_CLASS = re.compile(
    r"export (abstract )?class (\w+)(?:<.*?>)?\s+extends ([\w.$]+)(?:<.*?>)?"
    r"\s*(?:implements .*?)?\s*\{$"
)
_PLAIN = re.compile(r"export (abstract )?(?:class|interface) (\w+)(?:<.*?>)?()\s*\{$")
_MEMBER = re.compile(
    r"(?:public|protected) (?:static )?([\w$]+)(?:<[^(]*>)?\s*(\(.*\))?\s*(?::\s*(.*?))?;$"
)


def read_types(path: Path) -> dict[str, TypedClass]:
    """Classes by their dotted names."""
    reader = _Reader()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            reader.line(line.strip())
    return reader.classes


class _Reader:
    def __init__(self) -> None:
        self.classes: dict[str, TypedClass] = {}
        self.scopes: list[tuple[str, TypedClass | None]] = []  # modules have no class
        self.since = 0
        self.deprecated = False
        self.in_constructor = False  # of an interface: it lists the methods once more

    def line(self, text: str) -> None:
        if text.startswith(("/**", "*")):
            self.comment(text)
            return
        if self.in_constructor:
            self.in_constructor = not text.startswith("});")
            return
        if module := _MODULE.match(text):
            self.scopes.append((self.dotted(module[1]), None))
        elif opened := _CLASS.match(text) or _PLAIN.match(text):
            self.open(opened)
        elif text.startswith("public constructor(implementation"):
            self.in_constructor = True
            return
        elif text.startswith("}"):
            if self.scopes:
                self.scopes.pop()
        elif member := _MEMBER.match(text):
            self.member(member)
        self.since, self.deprecated = 0, False

    def comment(self, text: str) -> None:
        if found := re.search(r"@since (\d+)", text):
            self.since = int(found[1])
        self.deprecated = self.deprecated or "@deprecated" in text
        inside = self.scopes[-1][1] if self.scopes else None
        if inside and "interface with the provided implementation" in text:
            inside.kind = "interface"

    def dotted(self, name: str) -> str:
        return f"{self.scopes[-1][0]}.{name}" if self.scopes else name

    def open(self, opened: re.Match[str]) -> None:
        name = self.dotted(opened[2])
        made = self.classes.setdefault(name, TypedClass())
        if opened[1]:
            made.kind = "abstract"
        made.superclass = opened[3] or None
        made.since, made.deprecated = self.since, self.deprecated
        self.scopes.append((name, made))

    def member(self, member: re.Match[str]) -> None:
        inside = self.scopes[-1][1] if self.scopes else None
        if inside is None:
            return
        name, parameters, value = member.groups()
        made = TypedMember(
            -1 if parameters is None else sum(1 for _ in _split(parameters[1:-1])),
            self.since,
            self.deprecated,
            _value(value) if parameters is None and value else None,
        )
        inside.members.setdefault(name, []).append(made)


def _value(text: str) -> int | float | str | None:
    """Of a constant; None where a type stands instead."""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.?\d*(?:[eE][-+]?\d+)?", text):
        return float(text)
    try:
        return json.loads(text) if text.startswith('"') else None
    except ValueError:
        return None


def _split(parameters: str) -> Iterator[str]:
    depth, start = 0, 0
    for at, letter in enumerate(parameters):
        depth += (letter in "<({[") - (letter in ">)}]")
        if letter == "," and depth == 0:
            yield parameters[start:at]
            start = at + 1
    if parameters.strip():
        yield parameters[start:]
