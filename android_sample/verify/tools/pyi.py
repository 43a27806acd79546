"""Reads chaquopy's stubs of Java classes, and what their types are to a JVM."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

OBJECT = "Ljava/lang/Object;"
STRING = "Ljava/lang/String;"
# a number's width is lost in results and fields: these stand for any whole and any broken number
WHOLE, BROKEN = "?I", "?F"

_PRIMITIVES = {
    "jint": "I",
    "jlong": "J",
    "jboolean": "Z",
    "jfloat": "F",
    "jdouble": "D",
    "jchar": "C",
    "jshort": "S",
    "jbyte": "B",
}
_ARRAYS = {f"JavaArrayJ{name[1:].capitalize()}": kind for name, kind in _PRIMITIVES.items()}
_NAMED = {
    "int": WHOLE,
    "float": BROKEN,
    "bool": "Z",
    "str": STRING,
    "typing.Any": OBJECT,
    "java.jvoid": "V",
    "None": "V",
}
_BOXED = {
    WHOLE: "Ljava/lang/Integer;",
    BROKEN: "Ljava/lang/Float;",
    "Z": "Ljava/lang/Boolean;",
}


@dataclass(frozen=True)
class JavaType:
    """signature: with type parameters. nullable: None where it is not said."""

    descriptor: str
    signature: str
    nullable: bool | None = None

    def array(self) -> "JavaType":
        return JavaType("[" + self.descriptor, "[" + self.signature)


def _plain(descriptor: str) -> JavaType:
    return JavaType(descriptor, descriptor)


@dataclass
class StubClass:
    """path: its name and those around it. variables: TypeVar -> its bound, of the whole file."""

    package: str
    path: tuple[str, ...]
    node: ast.ClassDef
    variables: dict[str, ast.expr | None]
    outer: "StubClass | None"

    @property
    def dotted(self) -> str:
        return f"{self.package}.{'.'.join(self.path)}"

    @property
    def binary(self) -> str:
        return f"{self.package.replace('.', '/')}/{'$'.join(self.path)}"

    def own_variables(self) -> Iterator[ast.Name]:
        """Its type parameters."""
        for base in self.node.bases:
            if isinstance(base, ast.Subscript) and ast.unparse(base.value) == "typing.Generic":
                for each in ast.walk(base.slice):
                    if isinstance(each, ast.Name):
                        yield each

    def functions(self) -> Iterator[ast.FunctionDef]:
        return (each for each in self.node.body if isinstance(each, ast.FunctionDef))


def read_stubs(roots: list[Path]) -> dict[str, StubClass]:
    """Classes by their dotted names."""
    classes: dict[str, StubClass] = {}
    for root in roots:
        for path in sorted(root.rglob("*.pyi")):
            first, *rest = path.relative_to(root).with_suffix("").parts
            parts = [first.removesuffix("-stubs"), *rest]
            package = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if package not in ("java.chaquopy", "java.primitive", "java"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
                _walk(tree, package, None, {}, classes)
    return classes


def _walk(
    node: ast.Module | ast.ClassDef,
    package: str,
    outer: StubClass | None,
    variables: dict[str, ast.expr | None],
    classes: dict[str, StubClass],
) -> None:
    for each in node.body:
        if isinstance(each, ast.ClassDef):
            path = (*(outer.path if outer else ()), each.name)
            made = StubClass(package, path, each, variables, outer)
            classes[made.dotted] = made
            _walk(each, package, made, variables, classes)
        elif (
            isinstance(each, ast.Assign)
            and isinstance(each.value, ast.Call)
            and ast.unparse(each.value.func) == "typing.TypeVar"
            and isinstance(each.targets[0], ast.Name)
        ):
            bounds = [word.value for word in each.value.keywords if word.arg == "bound"]
            variables[each.targets[0].id] = bounds[0] if bounds else None


def short(variable: str) -> str:
    """A TypeVar's name as Java writes it: the stubs put the class before it."""
    return variable.rsplit("__", 1)[-1]


@dataclass
class Types:
    """Turns the annotations inside one class into JVM types.

    free: the type parameters that a member brings itself, and their bounds; emptied per member.
    """

    owner: StubClass
    classes: dict[str, StubClass]
    free: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        around: StubClass | None = self.owner
        self.known: set[str] = set()
        while around:
            self.known |= {each.id for each in around.own_variables()}
            around = around.outer

    def bound(self, variable: str) -> JavaType:
        node = self.owner.variables.get(variable)
        return _plain(OBJECT) if node is None else self.of(node)

    def of(self, node: ast.expr) -> JavaType:
        if isinstance(node, ast.BinOp):
            return self._union(node)
        if isinstance(node, ast.Subscript):
            return self._parametrized(node)
        name = ast.unparse(node)
        last = name.split(".")[-1]
        if name in _NAMED:
            return _plain(_NAMED[name])
        if last in _ARRAYS:
            return _plain("[" + _ARRAYS[last])
        if isinstance(node, ast.Name) and name in self.owner.variables:
            bound = self.bound(name)
            if name not in self.known:
                self.free[short(name)] = bound.signature
            return JavaType(bound.descriptor, f"T{short(name)};")
        binary = self.binary(name)
        return _plain(f"L{binary};" if binary else OBJECT)

    def binary(self, dotted: str) -> str | None:
        """A class by a name: nested first, then of the package, then in full."""
        for depth in range(len(self.owner.path), -1, -1):
            key = ".".join([self.owner.package, *self.owner.path[:depth], dotted])
            if key in self.classes:
                return self.classes[key].binary
        if dotted in self.classes:
            return self.classes[dotted].binary
        if dotted.startswith("java.") and dotted.count(".") == 1:
            return None
        parts = dotted.split(".")
        first = next((at for at, part in enumerate(parts) if part[:1].isupper()), len(parts) - 1)
        return "/".join([*parts[:first], "$".join(parts[first:])])

    def _union(self, node: ast.BinOp) -> JavaType:
        """A parameter is Java's exact type, and the Python types that are accepted for it."""
        nodes = list(_alternatives(node))
        nullable = any(ast.unparse(each) == "None" for each in nodes)
        nodes = [each for each in nodes if ast.unparse(each) != "None"]
        for each in nodes:
            if primitive := _PRIMITIVES.get(ast.unparse(each).split(".")[-1]):
                return _plain(primitive)
        if len(nodes) == 1:
            only = self.of(nodes[0])
            if not nullable:
                return JavaType(only.descriptor, only.signature, False)
            descriptor = _BOXED.get(only.descriptor, only.descriptor)
            return JavaType(descriptor, _BOXED.get(only.signature, only.signature), True)
        for each in nodes:
            name = ast.unparse(each)
            if "." in name or name[:1].isupper():
                exact = self.of(each)
                return JavaType(exact.descriptor, exact.signature, nullable)
        raise ValueError(f"{self.owner.dotted}: {ast.unparse(node)} names no Java type")

    def _parametrized(self, node: ast.Subscript) -> JavaType:
        head = ast.unparse(node.value)
        inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if head == "typing.ClassVar":
            return self.of(inner[0])
        if head.endswith("JavaArray"):
            return self.of(inner[0]).array()
        arguments = [self.of(each).signature for each in inner]
        arguments = ["*" if len(each) == 1 else each for each in arguments]
        binary = "java/lang/Class" if head == "typing.Type" else self.binary(head)
        return JavaType(f"L{binary};", f"L{binary}<{''.join(arguments)}>;")


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    else:
        yield node
