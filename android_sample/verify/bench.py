"""Where a run of the checks works, and the tools that it starts."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Failed(Exception):
    """A step found something; the message is what it found."""


@dataclass
class Bench:
    """Where a run works. sample: the project; cache: carriers and what is made of them alone."""

    sample: Path
    cache: Path
    out: Path
    pictures: Path

    def carrier(self, name: str) -> Path:
        return self.cache / "carriers" / name

    def one(self, name: str, pattern: str) -> Path:
        (path,) = self.carrier(name).glob(pattern)
        return path

    @cached_property
    def kotlin(self) -> Path:
        return self.carrier("kotlin") / "package/lib"

    @property
    def android_jar(self) -> Path:
        return self.cache / "made/android.jar"

    @property
    def androidx_jar(self) -> Path:
        return self.cache / "made/androidx.jar"

    @property
    def bundletool(self) -> Path:
        return self.one("build_tools", "bundletool-all-*.jar")

    @property
    def compose(self) -> Path:
        """Not there when its carrier is not."""
        found = sorted(self.carrier("compose").glob("CIRIS-*.jar"))
        return found[0] if found else self.carrier("compose") / "compose.jar"

    def std(self) -> list[Path]:
        return [self.kotlin / "kotlin-stdlib.jar", self.kotlin / "kotlinx-coroutines-core-jvm.jar"]

    def test_libraries(self) -> list[Path]:
        return [
            self.kotlin / "kotlin-test.jar",
            self.kotlin / "kotlin-test-junit.jar",
            self.carrier("junit") / "usr/share/java/junit4.jar",
            self.one("hamcrest", "usr/share/java/hamcrest-2*.jar"),
        ]

    def sources(self, folder: str, suffix: str = ".kt") -> list[Path]:
        root = self.sample / folder
        return sorted(path for path in root.rglob(f"*{suffix}") if path.is_file())

    def classes(self, name: str) -> Path:
        folder = self.out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def joined(paths: Iterable[Path]) -> str:
    return ":".join(str(path) for path in paths)


def call(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Runs a tool; its output is the error when it fails."""
    ran = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    if ran.returncode:
        raise Failed((ran.stdout + ran.stderr).strip() or f"exit code {ran.returncode}")
    return ran.stdout + ran.stderr


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def kotlinc(bench: Bench, output: Path, classpath: Iterable[Path], *more: object) -> None:
    """Compiles, with the Compose plugin where Compose is on the classpath. Warnings are errors."""
    lib = bench.kotlin
    classpath = list(classpath)
    plugin = [f"-Xplugin={lib / 'compose-compiler-plugin.jar'}"]
    parts = ["compiler", "stdlib", "script-runtime", "reflect", "daemon-client"]
    compiler = [lib / f"kotlin-{part}.jar" for part in parts]
    compiler += [lib / "kotlinx-coroutines-core-jvm.jar", lib / "annotations-13.0.jar"]
    call(
        *("java", "-Xmx2g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        *("-cp", joined(compiler), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"),
        *("-no-stdlib", "-no-reflect", "-jvm-target", "17", "-Werror"),
        # stable since coroutines 1.9; this compiler brings 1.8
        "-opt-in=kotlinx.coroutines.ExperimentalCoroutinesApi",
        *(plugin if bench.compose in classpath else []),
        *("-cp", joined(classpath), "-d", output),
        *more,
    )


def tool(name: str, *arguments: object) -> str:
    return call(sys.executable, HERE / "tools" / name, *arguments)


def java(bench: Bench, *arguments: object, env: dict[str, str] | None = None) -> str:
    ours = [bench.out / name for name in ("tests", "app", "standins")]
    libraries = [*bench.std(), *bench.test_libraries(), bench.android_jar, bench.compose]
    resources = bench.sample / "app/src/test/resources"
    flags = ("-Djava.awt.headless=true", "-Dskiko.renderApi=SOFTWARE", "-XX:TieredStopAtLevel=1")
    return call("java", *flags, "-cp", joined([resources, *ours, *libraries]), *arguments, env=env)


def font_environment(bench: Bench) -> dict[str, str]:
    """The environment in which Skia sees Android's fonts alone, so that pictures are the same."""
    folders = [bench.carrier(name) / "usr/share/fonts" for name in ("roboto", "mono", "emoji")]
    config = bench.out / "fonts.conf"
    config.write_text(
        '<?xml version="1.0"?>\n<!DOCTYPE fontconfig SYSTEM "fonts.dtd">\n<fontconfig>\n'
        + "".join(f"<dir>{folder}</dir>\n" for folder in folders)
        + f"<cachedir>{bench.cache / 'fontconfig'}</cachedir>\n"
        + "".join(
            f'<alias binding="strong"><family>{family}</family><prefer><family>{font}</family>'
            "<family>Noto Color Emoji</family></prefer></alias>\n"
            for family, font in (("sans-serif", "Roboto"), ("monospace", "Noto Mono"))
        )
        + "</fontconfig>\n"
    )
    return {**os.environ, "FONTCONFIG_FILE": str(config)}
