"""What is installed is what is here, and the folders keep to themselves."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("bundler", "converter", "models", "tokenization")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel that is built from a copy of what git tracks."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "android_sample/")):
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, "."],
        cwd=folder / "source",
        capture_output=True,
        check=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_every_module_and_data_file_is_in_the_wheel(wheel: list[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {f"taskpress/{name}" for name in listed.stdout.split() if not name.endswith(".md")}
    assert tracked - set(wheel) == set()


def test_every_folder_with_an_init_is_a_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {
        f"taskpress.{init.parent.relative_to(ROOT).as_posix().replace('/', '.')}"
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert set(settings["packages"]) == found == set(settings["package-dir"])


def _imported_folders(path: Path) -> set[str]:
    """The folders of ours that a module imports from."""
    depth = len(path.relative_to(ROOT).parts)
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth and node.module:
            names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.update(
                (node.module or "").split(".")[1:2] if "taskpress" in str(node.module) else ()
            )
        elif isinstance(node, ast.Import):
            names.update(
                a.name.split(".")[1] for a in node.names if a.name.startswith("taskpress.")
            )
    return names


@pytest.mark.parametrize("folder", ["converter", "models", "tokenization"])
def test_only_the_bundler_imports_the_other_folders(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert _imported_folders(path) <= {folder}, path


def test_the_check_of_imports_can_fail() -> None:
    assert _imported_folders(ROOT / "bundler/conversion.py") >= {"converter", "models"}


def test_the_converter_names_no_architecture() -> None:
    names = [p.stem for p in (ROOT / "models").glob("[a-z]*.py")]
    assert "llama" in names
    for path in (ROOT / "converter").glob("*.py"):
        words = set(re.findall(r"[a-z0-9]+", path.read_text().lower()))
        assert not words & set(names), path


def test_help_imports_no_torch() -> None:
    script = (
        "import sys; from taskpress.bundler.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print('imported:', *({'torch', 'numpy', 'gguf', 'rich'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("imported:")
