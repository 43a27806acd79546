"""One class of the generated jar, out of its two descriptions."""

import ast
import re
import sys

from classfile import ABSTRACT, ENUM, FINAL, INTERFACE, PUBLIC, STATIC, VARARGS, Member, StubFile
from descriptions import Descriptions, is_static
from dts import TypedClass, TypedMember
from pyi import BROKEN, STRING, WHOLE, JavaType, StubClass, Types, short

_LONG = re.compile(
    r"(Millis|Nanos|Micros|Bytes|Timestamp|TimestampNs|elapsedRealtime|uptimeMillis"
    r"|currentThreadTimeMillis|CountLong|SizeLong|BlocksLong|_IN_MILLIS|DateTaken"
    r"|availMem|totalMem|threshold|advertisedMem)$"
    r"|^(getLong|readLong|getItemId|getIdAtPosition|getStatSize|getEventTime|getDownTime"
    r"|freeMemory|totalMemory|maxMemory|insert|getTotalSpace|getDuration|getId$)"
)
_ABSENT = ("androidx/navigationevent/",)  # interfaces of libraries that are nowhere here
_FIND_VIEW = {  # results of a type parameter that no parameter has
    (owner, name)
    for owner in ("app/Activity", "app/Dialog", "view/View", "view/Window")
    for name in ("findViewById", "requireViewById", "findViewWithTag")
}
_KNOWN_CLASSES = ("Exception", "Error", "Enum", "Thread", "Reader", "Writer", "Stream")
_OLDEST_DESCRIBED = 21


class ClassMaker:
    """One class of the jar."""

    def __init__(self, known: Descriptions, stub: StubClass) -> None:
        self.known = known
        self.stub = stub
        self.types = Types(stub, known.stubs)
        self.typed = known.typed.get(stub.dotted, TypedClass())
        self.flags = known.flags[stub.binary]
        self.setters: dict[str, str] = {}
        for each in stub.functions():
            parameters = each.args.posonlyargs[1:]
            if each.name.startswith("set") and len(parameters) == 1:
                kind = self.types.of(_annotation(parameters[0])).descriptor
                self.setters.setdefault(each.name[3:], kind)

    def make(self) -> StubFile:
        bases = self._bases()
        superclass = self._superclass(bases)
        interfaces = [
            base
            for base in bases
            if _name(base) not in (_name(superclass), "java/lang/Object")
            and not _name(base).startswith(_ABSENT)
        ]
        made = StubFile(
            self.stub.binary,
            _name(superclass),
            [_name(each) for each in interfaces],
            self.flags | PUBLIC,
            signature=self._signature(superclass, interfaces),
            deprecated=self.typed.deprecated,
        )
        seen = set()
        for node in self.stub.node.body:
            if isinstance(node, ast.AnnAssign):
                made.fields.append(self._field(node))
            elif isinstance(node, ast.FunctionDef):
                method = self._method(node)
                key = (method.name, method.descriptor.split(")")[0])
                if key not in seen:
                    seen.add(key)
                    made.methods.append(method)
        if self.flags & ENUM and not any(each.name == "values" for each in made.methods):
            itself = f"L{self.stub.binary};"
            made.methods.append(Member(PUBLIC | STATIC, "values", f"()[{itself}"))
            made.methods.append(Member(PUBLIC | STATIC, "valueOf", f"({STRING}){itself}"))
        made.inner = self._inner(made, bases)
        return made

    def _bases(self) -> list[JavaType]:
        nodes = self.stub.node.bases
        plain = ("typing.Generic", "typing.Protocol")
        return [self.types.of(each) for each in nodes if not ast.unparse(each).startswith(plain)]

    def _superclass(self, bases: list[JavaType]) -> JavaType:
        root = JavaType("Ljava/lang/Object;", "Ljava/lang/Object;")
        if self.flags & INTERFACE:
            return root
        said = self.typed.superclass
        wanted = self.types.binary(said.replace("$", ".")) if said else None
        flags = self.known.flags
        for base in bases:
            if _name(base) == wanted:
                return base
        for base in bases:
            if not flags.get(_name(base), INTERFACE) & INTERFACE:
                return base
        for base in bases:  # of Java's own, which are not described: by their names
            name = _name(base)
            if name.startswith("java/util/Abstract"):
                return base
            if name.startswith("java/") and name.endswith(_KNOWN_CLASSES):
                return base
        return root

    def _signature(self, superclass: JavaType, interfaces: list[JavaType]) -> str | None:
        own = [
            f"{short(each.id)}:{self.types.bound(each.id).signature}"
            for each in self.stub.own_variables()
        ]
        above = [superclass.signature, *(each.signature for each in interfaces)]
        if not own and not any("<" in each for each in above):
            return None
        return (f"<{''.join(own)}>" if own else "") + "".join(above)

    def _field(self, node: ast.AnnAssign) -> Member:
        self.types.free = {}
        name = _plain_name(ast.unparse(node.target))
        kind = self.types.of(node.annotation)
        static = "ClassVar" in ast.unparse(node.annotation)
        typed = self.typed.member(name, -1)
        value = typed.value if typed and static else None
        descriptor = kind.descriptor
        if descriptor == WHOLE and isinstance(value, int) and not -(2**31) <= value < 2**31:
            descriptor = "J"
        descriptor = self._width(descriptor, name, None)
        generic = not self.types.free and kind.signature not in (WHOLE, BROKEN, descriptor)
        flags = PUBLIC | (STATIC | FINAL if static else 0)
        if static and self.flags & ENUM and descriptor == f"L{self.stub.binary};":
            flags |= ENUM
        return Member(
            flags,
            name,
            descriptor,
            kind.signature if generic else None,
            deprecated=bool(typed and typed.deprecated),
            value=_constant(value, descriptor),
        )

    def _method(self, node: ast.FunctionDef) -> Member:
        self.types.free = {}
        name = "<init>" if node.name == "__init__" else _plain_name(node.name)
        static = is_static(node)
        parameters = [self.types.of(_annotation(each)) for each in _parameters(node, static)]
        if node.args.vararg:
            parameters.append(self.types.of(_annotation(node.args.vararg)).array())
        void = JavaType("V", "V")
        result = self.types.of(node.returns) if node.returns and name != "<init>" else void
        arguments = "(" + "".join(_exact(each.descriptor) for each in parameters) + ")"
        descriptor = self._width(result.descriptor, name, arguments)
        if name == "charAt" and descriptor == STRING:
            descriptor = "C"
        signature = "(" + "".join(_exact(each.signature) for each in parameters) + ")"
        same = result.signature in (WHOLE, BROKEN) or descriptor == "C"
        signature += descriptor if same else result.signature
        found = (self.stub.binary.removeprefix("android/"), name) in _FIND_VIEW
        if found:
            signature = f"<T:Landroid/view/View;>{signature.split(')')[0]})TT;"
        elif self.types.free:
            free = "".join(f"{each}:{bound}" for each, bound in self.types.free.items())
            signature = f"<{free}>{signature}"
        typed = self.typed.member("constructor" if name == "<init>" else name, len(parameters))
        of_variable = found or (self.types.free and result.signature.startswith("T"))
        return Member(
            self._method_flags(node, name, arguments + descriptor, typed),
            name,
            arguments + descriptor,
            signature if signature != arguments + descriptor else None,
            True if result.nullable and descriptor[0] in "L[" and not of_variable else None,
            bool(typed and typed.deprecated),
        )

    def _method_flags(
        self, node: ast.FunctionDef, name: str, descriptor: str, typed: TypedMember | None
    ) -> int:
        flags = PUBLIC | (STATIC if is_static(node) else 0) | (VARARGS if node.args.vararg else 0)
        if not self.flags & INTERFACE or flags & STATIC:
            return flags
        # an interface's method that is younger than the interface has a body
        binary, levels = self.stub.binary, self.known.levels
        young = (typed.since if typed else 0) > max(self.typed.since, _OLDEST_DESCRIBED)
        if levels:
            first = levels.of_class(binary) or sys.maxsize
            young = young or (levels.of_method(binary, name, descriptor) or 0) > first
        return flags if young else flags | ABSTRACT

    def _width(self, kind: str, name: str, arguments: str | None) -> str:
        """The descriptor of a number, and of a letter, which the stubs call a text.

        arguments: of a method; None of a field.
        """
        candidates = {WHOLE: "IJSBC", BROKEN: "FD"}.get(kind, "")
        if kind == STRING and arguments is not None:
            candidates = [STRING, "C"]
        if not candidates:
            return kind
        if levels := self.known.levels:
            owner = self.stub.binary
            known = [
                each
                for each in candidates
                if levels.of_member(owner, name, (arguments or "") + each) is not None
            ]
            if len(known) == 1:
                return known[0]
        if kind == STRING:
            return kind
        setter = self.setters.get(re.sub(r"^(get|is)", "", name), "")
        if kind == WHOLE and setter in ("J", "S", "B", "C"):
            return setter
        self.known.guessed.add(f"{self.stub.binary}.{name}")
        if kind == WHOLE:
            return "J" if _LONG.search(name) else "I"
        return setter if setter in ("D", "F") else "F"

    def _inner(self, made: StubFile, bases: list[JavaType]) -> list[tuple[str, str, str, int]]:
        """Every nested class that the file names must be listed in it."""
        texts = [each.descriptor + (each.signature or "") for each in made.methods]
        texts += [each.descriptor for each in made.fields]
        named = sorted({name for text in texts for name in re.findall(r"L([^;<]+)", text)})
        inside = [each.binary for each in self.known.inner.get(self.stub.binary, [])]
        entries = {}
        for name in (self.stub.binary, *inside, *named, *map(_name, bases)):
            entries.update({entry[0]: entry for entry in self.known.nested(name)})
        return list(entries.values())


def _name(kind: JavaType) -> str:
    return kind.descriptor[1:-1]


def _exact(text: str) -> str:
    """A parameter's number has no width that is lost; what is left is an int or a float."""
    return text.replace("?", "")


def _plain_name(name: str) -> str:
    """exec_ stands for exec, which Python does not allow."""
    return name if name.startswith("__") else name.removesuffix("_")


def _parameters(node: ast.FunctionDef, static: bool) -> list[ast.arg]:
    return [*node.args.posonlyargs, *node.args.args][0 if static else 1 :]


def _annotation(parameter: ast.arg) -> ast.expr:
    assert parameter.annotation is not None, f"{parameter.arg} has no type"
    return parameter.annotation


def _constant(value: int | float | str | None, descriptor: str) -> int | float | str | None:
    if isinstance(value, str):
        return value if descriptor == STRING else None
    if value is None or descriptor not in "IJSBCFD":
        return None
    if descriptor in "FD":
        return float(value)
    return value if isinstance(value, int) else None
