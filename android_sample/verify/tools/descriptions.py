"""The two descriptions of one jar's classes, side by side."""

import ast
from pathlib import Path

from classfile import ABSTRACT, ANNOTATION, ENUM, FINAL, INTERFACE, PUBLIC, STATIC, SUPER
from dts import TypedClass, read_types
from pyi import StubClass, read_stubs
from r8db import ApiLevels


class Descriptions:
    """All that is known of the classes of one jar. guessed: members whose number width is not."""

    def __init__(self, roots: list[Path], types: Path, levels: ApiLevels | None) -> None:
        self.stubs = read_stubs(roots)
        self.typed = read_types(types)
        self.levels = levels
        self.by_binary = {each.binary: each for each in self.stubs.values()}
        self.flags = {each.binary: self._class_flags(each) for each in self.stubs.values()}
        self.inner: dict[str, list[StubClass]] = {}
        for each in self.stubs.values():
            if each.outer:
                self.inner.setdefault(each.outer.binary, []).append(each)
        self.guessed: set[str] = set()

    def _class_flags(self, stub: StubClass) -> int:
        typed = self.typed.get(stub.dotted)
        bases = [ast.unparse(base) for base in stub.node.bases]
        bases = [base for base in bases if not base.startswith("typing.")]
        constructed = any(each.name == "__init__" for each in stub.functions())
        if "java.lang.annotation.Annotation" in bases:
            return INTERFACE | ABSTRACT | ANNOTATION
        if typed and typed.kind == "interface" and not constructed:
            return INTERFACE | ABSTRACT
        static = any(is_static(each) for each in stub.functions())
        if not typed and not constructed and not static and bases == ["java.lang.Object"]:
            return INTERFACE | ABSTRACT
        flags = SUPER
        if typed and typed.kind == "abstract":
            flags |= ABSTRACT
        if any(base.startswith("java.lang.Enum") for base in bases):
            flags |= ENUM | FINAL
        return flags

    def wanted(self, stub: StubClass) -> bool:
        """Java's own classes come from the JDK."""
        if stub.dotted.startswith(("org.w3c", "org.xml.sax")):
            return False
        java = stub.package.split(".")[0] in ("java", "javax")
        return not java or stub.package.startswith("javax.microedition")

    def nested(self, name: str) -> list[tuple[str, str, str, int]]:
        """What a class file must say of a nested class, those around it first."""
        stub = self.by_binary.get(name)
        if stub is None or stub.outer is None:
            return []
        flags = (self.flags[name] & ~SUPER) | PUBLIC | STATIC
        entry = (name, stub.outer.binary, stub.path[-1], flags)
        return [*self.nested(stub.outer.binary), entry]

    def since(self) -> dict[str, dict]:
        """API levels of classes, and of members where the description has them."""
        made = {}
        for stub in self.stubs.values():
            typed = self.typed.get(stub.dotted, TypedClass())
            levels = {name: {each.since for each in all_} for name, all_ in typed.members.items()}
            members = {name: sorted(found) for name, found in levels.items() if any(found)}
            made[stub.binary] = {"since": typed.since, "m": members}
        return made


def is_static(node: ast.FunctionDef) -> bool:
    return any("staticmethod" in ast.unparse(each) for each in node.decorator_list)
