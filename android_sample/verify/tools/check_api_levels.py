"""Holds every platform class, method and field that compiled classes name against API levels.

This is what Android lint's NewApi does. It also refuses members whose number width the generated
android.jar had to guess: a wrong guess would compile here and fail on a phone.

usage: check_api_levels.py MIN_SDK ANDROID.jar ANDROID.json R8.jar CLASSES
"""

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from classfile import ReadClass, class_files, read_class
from r8db import ApiLevels

_PLATFORM = ("android/", "java/", "javax/", "dalvik/", "org/json/")
# d8 replaces what is made by these
_DESUGARED = {"java/lang/invoke/LambdaMetafactory", "java/lang/invoke/StringConcatFactory"}
_OF_OBJECT = {"getClass", "toString", "hashCode", "equals", "clone", "finalize"}
_OF_OBJECT |= {"wait", "notify", "notifyAll"}


class Platform:
    def __init__(self, jar: Path, meta: Path, levels: ApiLevels) -> None:
        self._jar = zipfile.ZipFile(jar)
        self._names = set(self._jar.namelist())
        known = json.loads(meta.read_text())
        self.since = known["since"]
        self.guessed = set(known["ambiguous"])
        self.levels = levels

    def read(self, name: str) -> ReadClass | None:
        entry = f"{name}.class"
        return read_class(self._jar.read(entry)) if entry in self._names else None

    def level_of_class(self, name: str) -> int | None:
        """None for a class that Android has not."""
        known = self.levels.of_class(name)
        if known is None and name in self.since:
            return self.since[name]["since"] or 1
        return known

    def level_of_member(self, owners: list[str], name: str, descriptor: str) -> int | None:
        """The lowest of the classes that may have it; None where none of them is known to."""
        found = [self.levels.of_member(owner, name, descriptor) for owner in owners]
        levels = [level for level in found if level is not None]
        if not levels:
            described = [self.since.get(owner, {}).get("m", {}).get(name) for owner in owners]
            levels = [min(each) for each in described if each]
        return min(levels, default=None)

    def guesses(self, owners: list[str], name: str, descriptor: str) -> set[str]:
        if any(self.levels.of_member(owner, name, descriptor) is not None for owner in owners):
            return set()
        return {f"{owner}.{name}" for owner in owners} & self.guessed


class Check:
    def __init__(self, platform: Platform, ours: dict[str, ReadClass], min_sdk: int) -> None:
        self.platform = platform
        self.ours = ours
        self.min_sdk = min_sdk
        self.count = 0
        self.guesses: set[str] = set()

    def problems(self) -> Iterator[str]:
        for name, read in sorted(self.ours.items()):
            for each in sorted({_element(each) for each in read.classes}):
                yield from (f"{name}: {problem}" for problem in self._class(each))
            for member in sorted(read.members):
                yield from (f"{name}: {problem}" for problem in self._member(*member))

    def _class(self, name: str) -> Iterator[str]:
        if not name.startswith(_PLATFORM) or name in _DESUGARED:
            return
        self.count += 1
        level = self.platform.level_of_class(name)
        if level is None:
            yield f"{name} is not in Android"
        elif level > self.min_sdk:
            yield f"{name} came with API {level}, minSdk is {self.min_sdk}"

    def _member(self, owner: str, name: str, descriptor: str) -> Iterator[str]:
        if owner.startswith("[") or owner in _DESUGARED or name in _OF_OBJECT:
            return
        of_platform = owner.startswith(_PLATFORM)
        if not of_platform and (owner not in self.ours or name == "<init>"):
            return
        owners = [each for each in self._above(owner, set()) if each.startswith(_PLATFORM)]
        if not owners or (of_platform and self.platform.level_of_class(owner) is None):
            return  # a class that is missing was said above
        self.count += 1
        self.guesses |= self.platform.guesses(owners, name, descriptor)
        level = self.platform.level_of_member(owners, name, descriptor)
        if level is None and owner.startswith(("java/", "javax/")) and name != "<init>":
            yield f"{owner}.{name}{descriptor} is unknown to Android"
        elif level is not None and level > self.min_sdk:
            yield f"{owner}.{name}{descriptor} came with API {level}, minSdk is {self.min_sdk}"

    def _above(self, name: str, seen: set[str]) -> Iterator[str]:
        """The class and all above it."""
        if name in seen:
            return
        seen.add(name)
        yield name
        read = self.ours.get(name) or self.platform.read(name)
        for each in read.above() if read else []:
            yield from self._above(each, seen)


def _element(name: str) -> str:
    """Of an array's class, what it is an array of."""
    inner = name.lstrip("[")
    return inner[1:-1] if inner.startswith("L") and inner.endswith(";") else inner


def main(min_sdk: str, jar: str, meta: str, r8: str, classes: str) -> int:
    platform = Platform(Path(jar), Path(meta), ApiLevels(Path(r8)))
    ours = class_files(path.read_bytes() for path in Path(classes).rglob("*.class"))
    check = Check(platform, ours, int(min_sdk))
    problems = list(check.problems())
    problems += [f"{each} has a guessed number width" for each in sorted(check.guesses)]
    print(*problems, sep="\n")
    print(f"{check.count} platform references in {len(ours)} classes, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
