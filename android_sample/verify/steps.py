"""The checks, one function a step; `verify.py` runs them in this order and prints their table."""

import hashlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import (
    HERE,
    Bench,
    Failed,
    call,
    font_environment,
    java,
    kotlinc,
    last_line,
    tool,
)

PACKAGE = "com.example.taskpress"
MIN_SDK = 26
TARGET_SDK_OF_FRAMEWORK = 35  # apktool's framework resources know no later one


@dataclass(frozen=True)
class Step:
    name: str
    needs: tuple[str, ...]  # names of carriers
    after: tuple[str, ...]  # names of steps whose output it uses
    run: Callable[["Bench"], str]


def project(bench: Bench) -> str:
    return last_line(tool("check_project.py", bench.sample))


def platform(bench: Bench) -> str:
    made = bench.android_jar.parent
    key = hashlib.sha256()
    for path in (*sorted((HERE / "tools").glob("*.py")), HERE / "carriers.toml"):
        key.update(path.read_bytes())
    stamp = made / "key"
    if stamp.is_file() and stamp.read_text() == key.hexdigest():
        return "kept from an earlier run"
    said = _make_jar(
        bench, "android", ("chaquopy_stubs_android", "chaquopy_stubs_annotation"), bench.bundletool
    )
    _make_jar(bench, "androidx", ("chaquopy_stubs_activity", "chaquopy_stubs_core"))
    stamp.write_text(key.hexdigest())
    return said


def _make_jar(bench: Bench, name: str, stubs: tuple[str, ...], *r8: Path) -> str:
    """Makes NAME.jar and NAME.json; another run may be reading the ones that are there."""
    types = bench.carrier("android_types") / "package/lib/android"
    described = {"android": "android-platform-21-37-merged.d.ts", "androidx": "androidx-32.d.ts"}
    roots = ",".join(str(bench.carrier(each)) for each in stubs)
    outputs = [bench.android_jar.parent / f"{name}.{kind}" for kind in ("jar", "json")]
    outputs[0].parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=outputs[0].parent) as folder:
        parts = [Path(folder) / path.name for path in outputs]
        said = tool("make_android_jar.py", roots, types / described[name], *parts, *r8)
        for part, output in zip(parts, outputs, strict=True):
            part.replace(output)
    return last_line(said)


def resources(bench: Bench) -> str:
    aapt2 = bench.carrier("build_tools") / "aapt2_64"
    main = bench.sample / "app/src/main"
    out = bench.classes("resources")
    text = (main / "AndroidManifest.xml").read_text(encoding="utf-8")
    # the Android Gradle plugin does this from `namespace`
    manifest = out / "AndroidManifest.xml"
    manifest.write_text(text.replace("<manifest ", f'<manifest package="{PACKAGE}" '))
    call(aapt2, "compile", "--dir", main / "res", "-o", out / "res.zip")
    call(
        *(aapt2, "link", "-o", bench.out / "app.apk", "--java", out / "gen"),
        *("-I", bench.carrier("build_tools") / "android-framework.jar", "--manifest", manifest),
        *("--min-sdk-version", MIN_SDK, "--target-sdk-version", TARGET_SDK_OF_FRAMEWORK),
        *("--version-code", 1, "--version-name", "1.0", out / "res.zip"),
    )
    classes = bench.classes("r")
    call("javac", "-nowarn", "--release", 11, "-d", classes, *(out / "gen").rglob("R.java"))
    return f"{len(list((main / 'res').rglob('*.xml')))} resource files and the manifest link"


def stand_ins(bench: Bench) -> str:
    out = bench.classes("standins")
    sources = bench.sources("verify/apistub", ".java")
    call("javac", "-Xlint:none", "--release", 11, "-d", out, "-cp", bench.android_jar, *sources)
    kotlinc(bench, out, [*bench.std(), out], *bench.sources("verify/apistub"))
    return last_line(tool("check_surface.py", out, *sorted((HERE / "surface").glob("*.txt"))))


def app(bench: Bench) -> str:
    libraries = [bench.compose, bench.android_jar, bench.androidx_jar]
    ours = [bench.out / "standins", bench.out / "r"]
    sources = bench.sources("app/src/main/kotlin")
    stubs = bench.sources("verify/stubs")
    kotlinc(bench, bench.classes("app"), [*bench.std(), *libraries, *ours], *stubs, *sources)
    return f"{len(sources)} files, no warning"


def tests(bench: Bench) -> str:
    libraries = [*bench.test_libraries(), bench.compose, bench.android_jar]
    ours = [bench.out / "app", bench.out / "standins"]
    folders = ("app/src/test/kotlin", "verify/tests", "verify/preview")
    sources = [path for folder in folders for path in bench.sources(folder)]
    kotlinc(
        *(bench, bench.classes("tests"), [*bench.std(), *libraries, *ours]),
        f"-Xfriend-paths={bench.out / 'app'}",
        "-opt-in=androidx.compose.ui.InternalComposeUiApi",
        *sources,
    )
    return f"{len(sources)} files, no warning"


def unit_tests(bench: Bench) -> str:
    out = bench.out / "tests"
    names = [
        str(path.relative_to(out).with_suffix("")).replace("/", ".")
        for path in sorted(out.rglob("*Test.class"))
    ]
    try:
        said = java(bench, "org.junit.runner.JUnitCore", *names)
    except Failed as error:
        # the failures and their reasons, without the frames
        failures = str(error)[max(0, str(error).find("\n1) ")) :].strip().splitlines()
        kept = [line for line in failures if not re.match(r"\s+(at |\.\.\.)", line)]
        raise Failed("\n".join(kept)) from error
    return re.findall(r"^OK \(.*\)", said, re.MULTILINE)[-1].strip("OK ()")


def pictures(bench: Bench) -> str:
    shutil.rmtree(bench.pictures, ignore_errors=True)
    said = java(bench, "preview.ShotsKt", bench.pictures, env=font_environment(bench))
    return f"{last_line(said)} into {bench.pictures}"


def clicks(bench: Bench) -> str:
    said = java(bench, "preview.ClicksKt", env=font_environment(bench))
    return f"{sum(line.startswith('  ') for line in said.splitlines())} actions reached the app"


def api_levels(bench: Bench) -> str:
    meta = bench.android_jar.with_suffix(".json")
    arguments = (MIN_SDK, bench.android_jar, meta, bench.bundletool, bench.out / "app")
    return last_line(tool("check_api_levels.py", *arguments))


def dex(bench: Bench) -> str:
    whole = bench.out / "app.jar"
    with zipfile.ZipFile(whole, "w") as archive:
        for root in (bench.out / "app", bench.out / "r"):
            for path in sorted(root.rglob("*.class")):
                name = path.relative_to(root)
                if name.parts[0] != "androidx":  # our stubs of it
                    archive.write(path, name)
    out = bench.classes("dex")
    libraries = [bench.compose, bench.androidx_jar, bench.out / "standins", *bench.std()]
    call(
        *("java", "-Xmx1g", "-XX:TieredStopAtLevel=1", "-cp", bench.bundletool),
        *("com.android.tools.r8.D8", "--min-api", MIN_SDK, "--lib", bench.android_jar),
        *(part for path in libraries for part in ("--classpath", path)),
        *("--output", out, whole),
    )
    return f"classes.dex of {(out / 'classes.dex').stat().st_size:,} bytes"


def apk(bench: Bench) -> str:
    with zipfile.ZipFile(bench.out / "app.apk", "a") as archive:
        archive.write(bench.out / "dex/classes.dex", "classes.dex")
    aligned, signed = bench.out / "aligned.apk", bench.out / "app-debug.apk"
    tool("align_apk.py", bench.out / "app.apk", aligned)
    keys = bench.out / "debug.p12"
    keys.unlink(missing_ok=True)
    call(
        *("keytool", "-genkeypair", "-keystore", keys, "-storepass", "android", "-alias", "debug"),
        *("-keyalg", "RSA", "-validity", 10000, "-dname", "CN=debug", "-storetype", "PKCS12"),
    )
    signer = ("java", "-jar", bench.carrier("build_tools") / "apksigner.jar")
    call(*signer, "sign", "--ks", keys, "--ks-pass", "pass:android", "--out", signed, aligned)
    said = call(*signer, "verify", "-v", signed)
    schemes = re.findall(r"using v(\d) scheme.*: true", said)
    return f"signed and verified, schemes {' and '.join(schemes)}"


def style(bench: Bench) -> str:
    ktlint = bench.one("ktlint", "package/resources/ktlint")
    call(
        "java",
        "-jar",
        ktlint,
        "--log-level=none",
        "--relative",
        "**/*.kt",
        "**/*.kts",
        cwd=bench.sample,
    )
    return f"{len(bench.sources('.')) + len(bench.sources('.', '.kts'))} files"


_PLATFORM = ("chaquopy_stubs_android", "chaquopy_stubs_annotation", "chaquopy_stubs_activity")
_FONTS = ("roboto", "mono", "emoji")
STEPS = (
    Step("project", (), (), project),
    Step("ktlint", ("java", "ktlint"), (), style),
    Step(
        "android.jar",
        (*_PLATFORM, "chaquopy_stubs_core", "android_types", "build_tools"),
        (),
        platform,
    ),
    Step("resources", ("java", "build_tools"), (), resources),
    Step("stand-ins", ("java", "kotlin"), ("android.jar",), stand_ins),
    Step("app", ("kotlin", "compose"), ("android.jar", "resources", "stand-ins"), app),
    Step("tests", ("junit", "hamcrest"), ("app",), tests),
    Step("unit tests", (), ("tests",), unit_tests),
    Step("screenshots", _FONTS, ("tests",), pictures),
    Step("clicks", _FONTS, ("tests",), clicks),
    Step("API levels", (), ("app",), api_levels),
    Step("dex", (), ("app",), dex),
    Step("apk", (), ("dex",), apk),
)
