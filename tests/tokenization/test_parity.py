"""The report: what it counts, how it is shown, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import sentencepiece_model_pb2
from taskpress.tokenization import TokenizerError, parity, sentencepiece_model
from taskpress.tokenization.parity import compare


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes("The first line\r\n\tand  another — don't\n".encode() * 500)
    return path


def wrong_model(rebuilt: Any) -> bytes:
    """The model without some of its tokens: SentencePiece gives the two parts of each instead."""
    model = sentencepiece_model_pb2.ModelProto.FromString(rebuilt.model)
    for piece in model.pieces[1000:1300]:
        piece.type = sentencepiece_model_pb2.ModelProto.SentencePiece.UNUSED
    return model.SerializeToString()


def test_an_exact_model_has_no_mismatch(starcoder_like: Any, text: Path) -> None:
    report = compare(starcoder_like.document, starcoder_like.model, pairs=500, corpora=[text])
    assert (report.pairs.strict, report.pairs.loose, report.pairs.first) == (0, 0, ())
    (corpus,) = report.corpora
    ids = starcoder_like.expected(text.read_bytes().decode())
    assert corpus.tokens == len(ids)
    assert corpus.tokens_wrong == corpus.blocks_wrong == corpus.round_trips_broken == 0
    assert corpus.size_bytes == text.stat().st_size
    assert corpus.blocks > 1
    assert report.worst_rate == 0.0


def test_mismatches_are_counted_and_shown(starcoder_like: Any, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    token = starcoder_like.original.decode([1100])
    path.write_text(f"x\n{token} good\n", encoding="utf-8")
    report = compare(starcoder_like.document, wrong_model(starcoder_like), pairs=0, corpora=[path])
    (corpus,) = report.corpora
    assert corpus.blocks_wrong == corpus.blocks == 1
    assert corpus.tokens_wrong == 1
    assert report.worst_rate == corpus.tokens_wrong / corpus.tokens
    (mismatch,) = corpus.first
    assert mismatch.expected != mismatch.got
    assert starcoder_like.original.id_to_token(1100) in mismatch.expected
    assert starcoder_like.original.id_to_token(1100) not in mismatch.got
    assert repr(mismatch.text) in report.table()


def test_pairs_are_strict_and_loose_as_the_peer_counts_them(starcoder_like: Any) -> None:
    exact = compare(starcoder_like.document, starcoder_like.model, pairs=0)
    assert exact.worst_rate == 0.0
    report = compare(starcoder_like.document, wrong_model(starcoder_like), pairs=20_000)
    assert 0 < report.pairs.loose <= report.pairs.strict < 20_000
    assert report.worst_rate == report.pairs.strict / 20_000
    assert len(report.pairs.first) == min(parity.SHOWN, report.pairs.strict)


def test_the_seed_decides(starcoder_like: Any) -> None:
    model = wrong_model(starcoder_like)
    first, again, other = (
        compare(starcoder_like.document, model, pairs=5000, seed=seed).pairs for seed in (1, 1, 2)
    )
    assert first == again
    assert first.first != other.first


def test_a_lost_token_and_one_too_many_are_wrong_tokens() -> None:
    assert parity._not_found([1, 2, 3], [2, 3]) == 1
    assert parity._not_found([1, 2, 3], [1, 2, 9, 3]) == 1
    assert parity._not_found([1, 2, 3, 4], [1, 5, 6, 4]) == 2
    assert parity._not_found([1, 2, 3, 4], []) == 4


def test_json_has_the_counts_and_rates(starcoder_like: Any, text: Path) -> None:
    report = compare(starcoder_like.document, starcoder_like.model, pairs=100, corpora=[text])
    document = json.loads(report.to_json())
    assert document["pairs"]["pairs"] == 100
    assert document["pairs"]["strict_rate"] == document["worst_rate"] == 0.0
    assert document["corpora"][0]["name"] == str(text)
    assert document["corpora"][0]["tokens_wrong_rate"] == 0.0


def test_the_table_has_the_worst_corpora_and_their_sum(starcoder_like: Any, text: Path) -> None:
    one = compare(starcoder_like.document, starcoder_like.model, pairs=10, corpora=[text])
    assert len([line for line in one.table().splitlines() if str(text) in line]) == 1
    corpora = [text] * (parity.ROWS + 5)
    many = compare(starcoder_like.document, starcoder_like.model, pairs=10, corpora=corpora)
    lines = many.table().splitlines()
    assert len([line for line in lines if str(text) in line]) == parity.ROWS
    assert lines[-1].startswith(f"all {len(corpora)}")
    assert str(sum(corpus.tokens for corpus in many.corpora)) in lines[-1]


def test_bytes_that_are_no_utf8_are_replaced(starcoder_like: Any, tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"caf\xe9\n")
    (corpus,) = compare(
        starcoder_like.document, starcoder_like.model, pairs=0, corpora=[path]
    ).corpora
    assert corpus.tokens == len(starcoder_like.expected("caf\ufffd\n"))


def test_progress_ends_at_one(starcoder_like: Any, text: Path) -> None:
    fractions: list[float] = []
    compare(
        starcoder_like.document,
        starcoder_like.model,
        pairs=2500,
        corpora=[text],
        progress=fractions.append,
    )
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_what_cannot_be_read_is_refused(starcoder_like: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing.txt"
    with pytest.raises(TokenizerError, match=r"missing\.txt: No such file"):
        compare(starcoder_like.document, starcoder_like.model, corpora=[missing])
    with pytest.raises(TokenizerError, match="Is a directory"):
        compare(starcoder_like.document, starcoder_like.model, pairs=0, corpora=[tmp_path])
    with pytest.raises(TokenizerError, match="no ModelProto"):
        compare(starcoder_like.document, b"no model")


@pytest.mark.slow
def test_smollm2_on_the_standard_library(smollm2: Any) -> None:
    import sysconfig

    library = Path(sysconfig.get_paths()["stdlib"])
    corpora = sorted(library.glob("[a-s]*.py"))
    report = compare(smollm2.document, smollm2.model, pairs=20_000, corpora=corpora)
    assert report.worst_rate == 0.0, report.table()
    assert sum(corpus.tokens for corpus in report.corpora) > 800_000
    assert sentencepiece_model.check(smollm2.model, "smollm2") > 0
