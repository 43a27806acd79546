"""Checks what no Gradle can check here: the catalog, the manifest, and the sample's own rules.

usage: check_project.py SAMPLE
"""

import re
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

_ANDROID = "{http://schemas.android.com/apk/res/android}"
_MAX_LINES = 300
_MAIN = "app/src/main/kotlin"
# folder, or file, of the app's package -> what its files may import beside their own
_PURE = ("java.", "kotlin.", "kotlinx.coroutines.", "com.example.taskpress.")
_LIBRARIES = {
    "com.google.mediapipe": "llm/MediaPipeModel.kt",
    "com.google.ai.edge.litertlm": "llm/LiteRtLmModel.kt",
}


def catalog(sample: Path) -> Iterator[str]:
    with (sample / "gradle/libs.versions.toml").open("rb") as file:
        table = tomllib.load(file)
    names = {re.sub("[-_]", ".", name) for name in table["libraries"]}
    names |= {"plugins." + re.sub("[-_]", ".", name) for name in table["plugins"]}
    used: set[str] = set()
    for path in sample.rglob("*.kts"):
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        for name in re.findall(r"\blibs\.([\w.]+)", text):
            used.add(name)
            if name not in names:
                yield f"{path.name}: libs.{name} is not in the catalog"
    yield from (f"libs.versions.toml: {name} is used nowhere" for name in sorted(names - used))
    versions = set(table["versions"])
    entries = [*table["libraries"].values(), *table["plugins"].values()]
    wanted = {entry["version"]["ref"] for entry in entries if "version" in entry}
    yield from (f"libs.versions.toml: there is no version {name}" for name in wanted - versions)
    yield from (f"libs.versions.toml: version {name} is unused" for name in versions - wanted)
    for name, version in table["versions"].items():
        if not re.fullmatch(r"\d+(\.\d+)+", version):
            yield f"libs.versions.toml: {name} = {version} is no fixed version"


def manifest(sample: Path) -> Iterator[str]:
    script = (sample / "app/build.gradle.kts").read_text(encoding="utf-8")
    found = re.search(r'namespace = "([\w.]+)"', script)
    if found is None:
        yield "app/build.gradle.kts: there is no namespace"
        return
    tree = ElementTree.parse(sample / "app/src/main/AndroidManifest.xml")
    for activity in tree.iter("activity"):
        name = activity.get(f"{_ANDROID}name", "")
        full = found[1] + name if name.startswith(".") else name
        if not (sample / _MAIN / f"{full.replace('.', '/')}.kt").is_file():
            yield f"AndroidManifest.xml: there is no file of the activity {full}"
    asked = [each.get(f"{_ANDROID}name") for each in tree.iter("uses-permission")]
    if asked != ["android.permission.INTERNET"]:
        yield f"AndroidManifest.xml: asks for {asked}; only INTERNET is meant, for downloads"


def sources(sample: Path) -> Iterator[str]:
    main = sample / _MAIN / "com/example/taskpress"
    for path in sorted((sample / "app/src").rglob("*.kt")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(sample)
        package = re.search(r"^package ([\w.]+)", text, re.MULTILINE)
        if package is None or not str(path.parent).endswith(package[1].replace(".", "/")):
            yield f"{name}: its package is not that of its folder"
        if not path.is_relative_to(main):
            continue
        inside = path.relative_to(main)
        imports = re.findall(r"^import ([\w.]+)", text, re.MULTILINE)
        for library, only in _LIBRARIES.items():
            if library in text and str(inside) != only:
                yield f"{name}: names {library}; only {only} does"
        if inside.parts[0] == "chat" and (own := [i for i in imports if not i.startswith(_PURE)]):
            yield f"{name}: imports {own[0]}; chat/ is plain Kotlin"
        if inside.parts[0] == "ui" and (own := [i for i in imports if i.startswith("android.")]):
            yield f"{name}: imports {own[0]}; ui/ is drawn without Android"


def lengths(sample: Path) -> Iterator[str]:
    text = (".kt", ".kts", ".java", ".py", ".sh", ".toml", ".xml", ".md", ".txt")
    for path in sorted(sample.rglob("*")):
        if path.suffix in text and path.is_file():
            lines = path.read_text(encoding="utf-8").count("\n")
            if lines > _MAX_LINES:
                yield f"{path.relative_to(sample)}: has {lines} lines; {_MAX_LINES} are allowed"


def main(folder: str) -> int:
    sample = Path(folder)
    checks = (catalog, manifest, sources, lengths)
    problems = [problem for check in checks for problem in check(sample)]
    print(*problems, sep="\n")
    print("catalog, manifest, packages, imports and lengths agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
