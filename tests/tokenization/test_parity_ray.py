"""A corpus checked as a Ray Data job: the same counts as without Ray, and what it refuses."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import sentencepiece_model_pb2
from taskpress.tokenization import TokenizerError, parity_ray
from taskpress.tokenization.parity import Options, compare
from taskpress.tokenization.tally import SHOWN, Section

# a thread of Ray's own ends with an InterruptedError when a job that failed is shut down
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
TEXTS = [
    *(f"line {i}:\t  the type of the action is\r\n\n" * (i % 40) for i in range(60)),
    "",
    "it's  the end — of the stream" * 700,
]


@pytest.fixture(autouse=True)
def not_nice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else Ray's workers give way to all other processes: the tests that run beside these."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture(scope="module")
def wrong_model(starcoder_like: Any) -> bytes:
    model = sentencepiece_model_pb2.ModelProto.FromString(starcoder_like.model)
    for piece in model.pieces[300:900]:
        piece.type = sentencepiece_model_pb2.ModelProto.SentencePiece.UNUSED
    return model.SerializeToString()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    for i, text in enumerate(TEXTS):
        (folder / f"{i:02}.txt").write_bytes(text.encode())
    return folder


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)


def test_without_ray_it_says_how_to_install_it(starcoder_like: Any, without_ray: None) -> None:
    options = Options(groups=("corpus",), corpora=("/nowhere",), engine="ray")
    with pytest.raises(TokenizerError, match=r"^--engine ray: .*pip install 'taskpress\[ray\]'$"):
        compare(starcoder_like.document, starcoder_like.model, options)


def test_the_first_mismatches_are_those_of_the_least_path_and_text() -> None:
    entries = [((f"{i:02}", "text"), i) for i in range(40)]
    expected = [i for _, i in entries[:SHOWN]]
    forwards = parity_ray._least(entries)  # type: ignore[arg-type]
    backwards = parity_ray._least(entries[::-1])  # type: ignore[arg-type]
    assert [i for _, i in forwards] == [i for _, i in backwards] == expected


def test_an_error_is_one_line_of_its_cause() -> None:
    wrapped = RuntimeError("a long trace\nof Ray's")
    wrapped.__cause__ = ValueError("no bucket\nthere")
    assert parity_ray._one_line(wrapped) == "no bucket"
    assert parity_ray._one_line(FileNotFoundError("/x")) == "no such file or folder"
    assert parity_ray._one_line(OSError()) == "OSError"


@pytest.fixture(scope="module")
def ray_ended() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


# Ray reads options of its own that it has deprecated
ray_test = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")


def without_seconds(section: Section) -> Section:
    tally = replace(section.tally, seconds_original=0.0, seconds_rebuilt=0.0, first=[])
    return replace(section, name="", tally=tally)


@pytest.mark.slow
@ray_test
@pytest.mark.usefixtures("ray_ended")
def test_counts_are_those_without_ray(
    starcoder_like: Any, wrong_model: bytes, folder: Path, tmp_path: Path
) -> None:
    import pyarrow
    from pyarrow import parquet

    half = len(TEXTS) // 2
    for i, texts in enumerate((TEXTS[:half], [*TEXTS[half:], None])):
        table = pyarrow.table({"id": range(len(texts)), "body": pyarrow.array(texts, "string")})
        parquet.write_table(table, tmp_path / f"{i}.parquet", row_group_size=7)

    local = Options(groups=("corpus",), corpora=tuple(map(str, sorted(folder.iterdir()))))
    report = compare(starcoder_like.document, wrong_model, local)
    total = Section("", "tokens", report.sections[0].tally)
    for section in report.sections[1:]:
        total.tally.add(section.tally)
    assert total.wrong > 1000

    for path, column in ((folder, None), (tmp_path, "body")):
        options = Options(
            groups=("corpus",), corpora=(str(path),), engine="ray", column=column, jobs=2
        )
        (section,) = compare(starcoder_like.document, wrong_model, options).sections
        assert section.name == f"corpus/{path}"
        assert without_seconds(section) == without_seconds(total)
        assert section.tally.seconds_rebuilt > 0
        assert len(section.tally.first) == SHOWN
        if column is None:  # the files' names are in the order of the local engine
            assert {m.text for m in section.tally.first} <= {m.text for m in total.tally.first}


@pytest.mark.slow
@ray_test
@pytest.mark.usefixtures("ray_ended")
def test_what_ray_cannot_read_is_one_line(starcoder_like: Any, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    good = tmp_path / "good.parquet"
    parquet.write_table(pyarrow.table({"body": ["text"]}), good)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 is not all of it")
    for path, column, message in (
        (tmp_path / "none", None, "none: no such file or folder; text files are needed"),
        (tmp_path / "none", "text", "no such file .* Parquet files with a column 'text' are"),
        (good, "text", "good.parquet: has the columns body; Parquet files with a column 'text'"),
        (broken, "text", "broken.parquet: "),
    ):
        options = Options(groups=("corpus",), corpora=(str(path),), engine="ray", column=column)
        with pytest.raises(TokenizerError, match=message) as caught:
            compare(starcoder_like.document, starcoder_like.model, options)
        assert "\n" not in str(caught.value)
