"""Makes a jar to compile against out of two published descriptions of Android's API 36.

chaquopy's stubs have the exact types of parameters, type parameters and whether a result may be
null; @nativescript/types-android has what is an interface, superclasses, constants and API levels.
Both lose the width of numbers in results and fields: R8's database knows it of API 33 and below.
What is still guessed is listed in the JSON, so that check_api_levels.py can refuse its use.

usage: make_android_jar.py STUBS[,STUBS...] TYPES.d.ts OUT.jar OUT.json [R8.jar]
"""

import json
import sys
import zipfile
from pathlib import Path

from class_maker import ClassMaker
from classfile import ABSTRACT, ANNOTATION, INTERFACE, PUBLIC, StubFile
from descriptions import Descriptions
from r8db import ApiLevels

_ANNOTATIONS = ("androidx/annotation/RecentlyNonNull", "androidx/annotation/RecentlyNullable")
_DATE = (2020, 1, 1, 0, 0, 0)


def main(stubs: str, types: str, output: str, meta: str, r8: str | None = None) -> None:
    levels = ApiLevels(Path(r8)) if r8 else None
    known = Descriptions([Path(each) for each in stubs.split(",")], Path(types), levels)
    count = 0
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as jar:

        def add(made: StubFile) -> None:
            entry = zipfile.ZipInfo(f"{made.name}.class", _DATE)
            jar.writestr(entry, made.to_bytes(), zipfile.ZIP_DEFLATED)

        for _, stub in sorted(known.stubs.items()):
            if known.wanted(stub):
                add(ClassMaker(known, stub).make())
                count += 1
        for name in _ANNOTATIONS:
            if name not in known.by_binary:
                flags = PUBLIC | INTERFACE | ABSTRACT | ANNOTATION
                above = ["java/lang/annotation/Annotation"]
                add(StubFile(name, "java/lang/Object", above, flags))
    kept = {"ambiguous": sorted(known.guessed), "since": known.since()}
    Path(meta).write_text(json.dumps(kept))
    print(f"{count} classes, {len(known.guessed)} members of a guessed number width")


if __name__ == "__main__":
    main(*sys.argv[1:])
