import json
import shutil
from pathlib import Path

import pytest
from taskpress.bundler import BundleError, llm_metadata
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.litertlm import write_litertlm
from taskpress.bundler.llm_metadata import LlmMetadata
from taskpress.bundler.metadata import BundleParameters, encode
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from taskpress.bundler.summary import EntrySummary, Summary, TokenizerSummary, summarize
from taskpress.bundler.task import write_task
from taskpress.bundler.tflite import ModelSummary, SignatureSummary, TensorSummary, WeightsSummary

MADE_BY_MEDIAPIPE = Path(__file__).parent / "fixtures" / "mediapipe.task"
SMALLEST_MODEL = b"\x0c\0\0\0TFL3" + b"\4\0\4\0" + b"\4\0\0\0"  # a root table without fields
PARAMETERS = BundleParameters("<s>", ("</s>", "<end>"), user_prefix="User:\n")


@pytest.fixture
def tokenizer() -> bytes:
    return read_bundle(MADE_BY_MEDIAPIPE).read(TOKENIZER)


def test_a_bundle_of_mediapipe(tokenizer: bytes) -> None:
    summary = summarize(MADE_BY_MEDIAPIPE)
    assert summary.kind == "task"
    assert summary.size_bytes == MADE_BY_MEDIAPIPE.stat().st_size
    assert summary.entries[0] == EntrySummary(MODEL, 56, len(SMALLEST_MODEL))
    assert [entry.name for entry in summary.entries] == [MODEL, TOKENIZER, METADATA]
    assert summary.model == ModelSummary(16, (), (), {}, 0)
    assert summary.tokenizer == TokenizerSummary(
        size_bytes=len(tokenizer),
        model_type="unigram",
        vocabulary=22,
        kinds={"control": 2, "normal": 16, "unknown": 1, "user defined": 3},
        ids={"unk": 0, "bos": 1, "eos": 2, "pad": -1},
    )
    assert summary.parameters is not None
    assert summary.parameters.end_role_token == "<end>"
    assert summary.unread == ()


def test_a_model_and_a_tokenizer_by_themselves(tmp_path: Path, tokenizer: bytes) -> None:
    (tmp_path / "m.tflite").write_bytes(SMALLEST_MODEL)
    (tmp_path / "t.model").write_bytes(tokenizer)
    model = summarize(tmp_path / "m.tflite")
    assert (model.kind, model.entries, model.tokenizer) == ("tflite", (), None)
    assert model.model == ModelSummary(16, (), (), {}, 0)
    alone = summarize(tmp_path / "t.model")
    assert (alone.kind, alone.model) == ("sentencepiece", None)
    assert alone.tokenizer == summarize(MADE_BY_MEDIAPIPE).tokenizer


def test_what_a_header_says_of_a_section_is_shown(tmp_path: Path, tokenizer: bytes) -> None:
    described = llm_metadata.encode(PARAMETERS, LlmMetadata(64), lambda token: 1)
    parts = {METADATA: described, TOKENIZER: tokenizer, MODEL: SMALLEST_MODEL}
    items = {MODEL: {"backend_constraint": "cpu", "threads": 4}}
    write_litertlm(tmp_path / "x.litertlm", parts, items=items, system={"Authors": "me"})
    summary = summarize(tmp_path / "x.litertlm")
    said = {"model_type": MODEL.lower(), "backend_constraint": "cpu", "threads": 4}
    assert [entry.items for entry in summary.entries] == [{}, {}, said]
    assert summary.header == {"Authors": "me"}
    table = summary.table()
    assert "at byte 49152; backend_constraint 'cpu'; threads 4\n" in table
    assert "header\n  Authors  'me'\n" in table


def test_fields_that_are_not_shown_are_named(tmp_path: Path, tokenizer: bytes) -> None:
    entries = {MODEL: SMALLEST_MODEL, TOKENIZER: tokenizer}
    write_task(tmp_path / "x.task", entries | {METADATA: encode(PARAMETERS) + b"\xa8\x01\x05"})
    summary = summarize(tmp_path / "x.task")
    assert summary.unread == ("field 21",)
    assert "  not shown: field 21\n" in summary.table()


CACHE = tuple(TensorSummary(f"kv_cache_k_{i}", "float32", (1, 2, 8, 4)) for i in range(6))
SUMMARY = Summary(
    file="x.task",
    kind="task",
    size_bytes=12_345,
    entries=(EntrySummary(MODEL, 56, 10_000), EntrySummary(METADATA, 20_000, 12)),
    model=ModelSummary(
        size_bytes=10_000,
        signatures=(
            SignatureSummary(
                "decode",
                (*CACHE, TensorSummary("tokens", "int32", (1, 1))),
                (*CACHE[:2], TensorSummary("logits", "float32", (1, 1, 10))),
            ),
        ),
        weights=(
            WeightsSummary("int8 per channel", 1211, 12_345_678),
            WeightsSummary("float32", 1, 40),
        ),
        operators={"ADD": 2, "MUL": 1000},
        cache_bytes=5 << 30,
    ),
    tokenizer=TokenizerSummary(
        12_000, "bpe", 1003, {"control": 3, "normal": 1000}, {"unk": 0, "bos": -1}
    ),
    parameters=PARAMETERS,
)
TABLE = r"""
x.task: task, 12.3 kB

entries
  TF_LITE_PREFILL_DECODE  10.0 kB at byte 56
  METADATA                12 bytes at byte 20000

metadata
  start_token  '<s>'
  stop_tokens  '</s>', '<end>'
  user_prefix  'User:\n'

tokenizer
  model   SentencePiece bpe, 12.0 kB
  pieces  1,003: 3 control, 1,000 normal
  ids     unk 0, bos -1

weights
  int8 per channel  12.3 MB in 1,211 tensors
  float32           40 bytes in 1 tensors

key/value cache
  size  5,368.7 MB

operators
  of all signatures  ADD 2, MUL 1,000

signature decode
  in  kv_cache_k_0 ... kv_cache_k_5  float32 [1, 2, 8, 4], 6 of them
  in  tokens                         int32 [1, 1]
  out kv_cache_k_0                   float32 [1, 2, 8, 4]
  out kv_cache_k_1                   float32 [1, 2, 8, 4]
  out logits                         float32 [1, 1, 10]
"""


def test_the_table() -> None:
    assert SUMMARY.table() == TABLE.strip()


def test_json_has_everything() -> None:
    read = json.loads(json.dumps(SUMMARY.to_dict()))
    assert read["model"]["signatures"][0]["inputs"][0] == {
        "name": "kv_cache_k_0", "dtype": "float32", "shape": [1, 2, 8, 4],
    }  # fmt: skip
    assert read["parameters"]["stop_tokens"] == ["</s>", "<end>"]
    entry = {"name": METADATA, "offset": 20_000, "size_bytes": 12, "items": {}}
    assert read["entries"][1] == entry


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with b''; needs a .task, .litertlm, .tflite or SentencePiece"),
        (b"root:x:0:0", "begins with b'root:x:0'; needs"),
        (b"LITERTLM\1", "ends within the first 32 bytes of a .litertlm"),
        (b"\x30\0\0\0TFL3", "4 bytes at byte 48 are past its 8 bytes; it is no flatbuffer"),
        (b"\n\3\n\1a", "5 bytes are no SentencePiece model"),
        (b"PK\5\6", "has no zip directory at its end"),
    ],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(BundleError, match=f"^{tmp_path}/x: {message}"):
        summarize(tmp_path / "x")


def test_faulty_parts_of_a_bundle_are_named(tmp_path: Path, tokenizer: bytes) -> None:
    entries = {MODEL: b"no model", TOKENIZER: tokenizer, METADATA: encode(PARAMETERS)}
    write_task(tmp_path / "x.task", entries)
    with pytest.raises(BundleError, match=r"task: TF_LITE_PREFILL_DECODE: bytes 4 to 7 are b'od"):
        summarize(tmp_path / "x.task")
    write_task(tmp_path / "y.task", entries | {MODEL: SMALLEST_MODEL, TOKENIZER: b"none"})
    with pytest.raises(BundleError, match=r"task: TOKENIZER_MODEL: 4 bytes are no SentencePiece"):
        summarize(tmp_path / "y.task")


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read: No such file or directory; a file is"):
        summarize(tmp_path / "x.task")
    with pytest.raises(BundleError, match="cannot be read: Is a directory"):
        summarize(tmp_path)


def test_nothing_is_left_open(tmp_path: Path) -> None:
    shutil.copy(MADE_BY_MEDIAPIPE, tmp_path / "x.task")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        summarize(tmp_path / "x.task")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
