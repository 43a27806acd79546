"""Checks that our stand-ins declare nothing that the libraries they stand in for do not.

usage: check_surface.py CLASSES SURFACE.txt...    (a surface is what `javap -public` prints)
"""

import re
import sys
from pathlib import Path

from classfile import PUBLIC, STATIC, SYNTHETIC, ReadClass, ReadMember, arguments, class_files

_LIBRARIES = ("com/google/mediapipe/", "com/google/ai/edge/")
_PRIMITIVES = {
    "V": "void",
    "Z": "boolean",
    "B": "byte",
    "C": "char",
    "S": "short",
    "I": "int",
    "J": "long",
    "F": "float",
    "D": "double",
}
# what Kotlin and Java add to every data class, enum and object
_ADDED = {"equals(java.lang.Object)", "hashCode()", "toString()", "values()", "getEntries()"}
_ADDED |= {"valueOf(java.lang.String)"}


def java_name(descriptor: str) -> str:
    if descriptor.startswith("["):
        return java_name(descriptor[1:]) + "[]"
    return _PRIMITIVES.get(descriptor) or descriptor[1:-1].replace("/", ".")


def declared(read: ReadClass, member: ReadMember) -> str:
    """As in a surface without generics: `static int size(java.lang.String)`."""
    static = "static " if member.flags & STATIC else ""
    if not member.descriptor.startswith("("):
        return f"{static}{java_name(member.descriptor)} {member.name}"
    parameters = ", ".join(map(java_name, arguments(member.descriptor)))
    if member.name == "<init>":
        return f"{read.name.replace('/', '.')}({parameters})"
    result = java_name(member.descriptor[member.descriptor.index(")") + 1 :])
    return f"{static}{result} {member.name}({parameters})"


def surface(text: str) -> dict[str, set[str]]:
    """Classes and their members, without generics and the words that a caller does not see."""
    classes: dict[str, set[str]] = {}
    members: set[str] = set()
    for line in text.splitlines():
        plain = line
        while (shorter := re.sub(r"<[^<>]*>", "", plain)) != plain:
            plain = shorter
        plain = re.sub(r"\bOutputT\b|\bV\b", "java.lang.Object", plain)
        if opened := re.match(r"public .*?(?:class|interface) ([\w.$]+)", plain):
            members = classes.setdefault(opened[1], set())
        elif found := re.match(r"\s+public (.*);$", plain):
            members.add(re.sub(r"\b(abstract|final) ", "", found[1]))
    return classes


def problems(read: ReadClass, classes: dict[str, set[str]]) -> list[str]:
    name = read.name.replace("/", ".")
    if name not in classes:
        return [f"{name} is declared here, and in no surface"]
    found = []
    for member in (*read.fields, *read.methods):
        if not member.flags & PUBLIC or member.flags & SYNTHETIC:
            continue
        said = declared(read, member)
        if said.removeprefix("static ").partition(" ")[2] in _ADDED:
            continue
        if "DefaultConstructorMarker" not in said and said not in classes[name]:
            found.append(f"{name}: `{said}` is declared here, and not in its surface")
    return found


def main(folder: str, *surfaces: str) -> int:
    classes: dict[str, set[str]] = {}
    for path in surfaces:
        classes |= surface(Path(path).read_text(encoding="utf-8"))
    read = class_files(path.read_bytes() for path in Path(folder).rglob("*.class"))
    ours = [
        each for each in read.values() if each.name.startswith(_LIBRARIES) and each.flags & PUBLIC
    ]
    found = [problem for each in ours for problem in problems(each, classes)]
    print(*sorted(found), sep="\n")
    print(f"{len(ours)} classes of the stand-ins are within the libraries' surfaces")
    return 1 if found or not ours else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
