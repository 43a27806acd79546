"""The comparison: what it counts, that what is broken is found, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import sentencepiece_model_pb2
from taskpress.tokenization import TokenizerError, parity, sentencepiece_model
from taskpress.tokenization.parity import Options, Report, compare
from taskpress.tokenization.tally import SHOWN, Section, Tally, interval
from tokenizers import Tokenizer, decoders, models, normalizers

CORPUS = Options(groups=("corpus",))
QUICK = Options(pairs=400, fuzz=20)


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


def counts(report: Report) -> list[tuple[str, Tally]]:
    """All that does not depend on how fast the machine is."""
    return [
        (s.name, replace(s.tally, seconds_original=0.0, seconds_rebuilt=0.0))
        for s in report.sections
    ]


def test_an_exact_model_has_no_mismatch(starcoder_like: Any, text: Path) -> None:
    options = replace(CORPUS, corpora=(str(text),))
    report = compare(starcoder_like.document, starcoder_like.model, options)
    (section,) = report.sections
    ids = starcoder_like.expected(text.read_bytes().decode())
    assert section.name == f"corpus/{text}"
    assert section.total == len(ids)
    assert section.tally.tokens_wrong == section.tally.strings_wrong == 0
    assert section.tally.round_trips_broken == 0
    assert section.tally.size_bytes == text.stat().st_size
    assert section.tally.strings > 1
    assert report.above({}) == []


def test_every_section_is_made_and_exact_where_it_must_be(starcoder_like: Any) -> None:
    report = compare(starcoder_like.document, starcoder_like.model, QUICK)
    names = [section.name for section in report.sections]
    assert {*names, "round-trip", *parity.GROUPS} == parity.threshold_names(QUICK)
    assert all(section.total > 0 for section in report.sections)
    for name in ("pairs/honest", "sample/prose", "sample/code", "sample/json", "added/in-text"):
        assert report.section(name).wrong == 0, report.section(name)
    vocabulary = report.section("vocabulary")
    added = len(starcoder_like.document["added_tokens"])
    assert vocabulary.total == report.vocabulary_size - added
    assert vocabulary.wrong == 0, vocabulary.tally.first


def test_a_lost_token_is_found_and_explained(starcoder_like: Any, tmp_path: Path) -> None:
    path = tmp_path / "wrong.txt"
    token = starcoder_like.original.decode([1100])
    path.write_text(f"x\n{token} good\n", encoding="utf-8")
    options = replace(CORPUS, corpora=(str(path),))
    report = compare(starcoder_like.document, wrong_model(starcoder_like), options)
    (section,) = report.sections
    assert section.tally.strings_wrong == section.tally.strings == 1
    assert section.tally.tokens_wrong == 1
    assert section.rate == section.tally.tokens_wrong / section.tally.tokens
    (mismatch,) = section.tally.first
    assert token in mismatch.expected
    assert token not in mismatch.got
    assert mismatch.rule == "cut inside a pre-token"
    assert f"cuts the pre-token '{token}' before" in mismatch.why
    assert report.above({}) == [section]


def test_a_changed_score_is_explained_as_the_order_of_merges(
    starcoder_like: Any, tmp_path: Path
) -> None:
    shown = starcoder_like.original.decode_batch([[i] for i in starcoder_like.expected("there")])
    assert shown == ["t", "he", "re"]
    model = sentencepiece_model_pb2.ModelProto.FromString(starcoder_like.model)
    early = starcoder_like.original.token_to_id("th")
    model.pieces[early].score = 2.0**24  # before all others
    path = tmp_path / "there.txt"
    path.write_text("there")
    options = replace(CORPUS, corpora=(str(path),))
    report = compare(starcoder_like.document, model.SerializeToString(), options)
    (section,) = report.sections
    assert section.tally.rules == {"order of merges": 1}
    (mismatch,) = section.tally.first
    assert mismatch.expected[slice(*mismatch.expected_marked)] == ("t", "he")
    assert mismatch.got[slice(*mismatch.got_marked)] == ("th", "e")
    merges = [tuple(merge) for merge in starcoder_like.document["model"]["merges"]]
    he, th = (merges.index(pair) for pair in (("h", "e"), ("t", "h")))
    assert f"the original makes 't' + 'he' (merge {he})" in mismatch.why
    assert f"made 'th' (merge {th}) + 'e'" in mismatch.why


def test_pairs_are_counted_in_three_ways(starcoder_like: Any) -> None:
    options = Options(groups=("pairs",), pairs=20_000)
    few = replace(options, pairs=500)
    exact = compare(starcoder_like.document, starcoder_like.model, few)
    assert [section.wrong for section in exact.sections] == [0, 0, 0]
    report = compare(starcoder_like.document, wrong_model(starcoder_like), options)
    honest, strict, loose = (
        report.section(f"pairs/{name}") for name in ("honest", "strict", "loose")
    )
    assert 0 < loose.wrong < strict.wrong <= honest.wrong < 20_000
    assert honest.total == strict.total == loose.total == 20_000
    assert len(honest.tally.first) == SHOWN


def test_a_lost_first_token_counts_only_as_honest(starcoder_like: Any) -> None:
    from taskpress.tokenization.comparer import Comparer

    comparer = Comparer(starcoder_like.document, starcoder_like.model)
    pair = tuple(starcoder_like.expected("def f"))
    assert len(pair) == 2

    class Losing:
        def encode(self, text: str) -> list[int]:
            return starcoder_like.got(text)[1:]

        def decode(self, ids: list[int]) -> str:
            return starcoder_like.processor.decode(ids)

    comparer.rebuilt = Losing()  # type: ignore[assignment]
    tallies = comparer.compare_pairs(["def f"], [(pair[0], pair[1])])
    assert {name: tally.strings_wrong for name, tally in tallies.items()} == {
        "pairs/honest": 1,
        "pairs/strict": 0,
        "pairs/loose": 0,
    }
    assert tallies["pairs/honest"].round_trips_broken == 1


def test_the_seed_decides(starcoder_like: Any) -> None:
    model = wrong_model(starcoder_like)
    options = Options(groups=("pairs", "fuzz"), pairs=2000, fuzz=50)
    first, again, other = (
        counts(compare(starcoder_like.document, model, replace(options, seed=seed)))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_the_number_of_processes_changes_nothing(starcoder_like: Any, text: Path) -> None:
    model = wrong_model(starcoder_like)
    options = Options(
        groups=("pairs", "corpus", "fuzz", "vocabulary"),
        pairs=1200,
        fuzz=60,
        corpora=(str(text), __file__),
    )
    one, two = (
        counts(compare(starcoder_like.document, model, replace(options, jobs=jobs)))
        for jobs in (1, 2)
    )
    assert one == two
    assert any(tally.strings_wrong for _, tally in one)


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (0, 100, 0.0, 0.036217),  # 1 - 0.025 ** (1 / 100)
        (5, 100, 0.016432, 0.112835),
        (10, 20, 0.271958, 0.728042),
        (20, 20, 0.831567, 1.0),  # 0.025 ** (1 / 20)
        (0, 1, 0.0, 0.975),
        (0, 0, 0.0, 1.0),
    ],
)
def test_bounds_have_the_known_values(count: int, total: int, low: float, high: float) -> None:
    assert interval(count, total) == pytest.approx((low, high), abs=1e-6)


def test_bounds_of_large_counts_are_near_the_normal_ones() -> None:
    low, high = interval(40_000, 10_000_000)
    deviation = (0.004 * 0.996 / 10_000_000) ** 0.5
    assert low == pytest.approx(0.004 - 1.96 * deviation, rel=1e-3)
    assert high == pytest.approx(0.004 + 1.96 * deviation, rel=1e-3)


def test_thresholds_are_of_the_section_then_of_the_group_then_of_all() -> None:
    def section(name: str) -> Section:
        return Section(name, "strings", Tally(strings=100, strings_wrong=2))

    names = ("fuzz/digits", "fuzz/code", "pairs/honest")
    report = Report(1, 1, Options(), tuple(map(section, names)))

    def above(**thresholds: float) -> list[str]:
        given = {name.replace("_", "/"): value for name, value in thresholds.items()}
        return [section.name for section in report.above({"": given.pop("all", 0.0), **given})]

    assert above() == list(names)
    assert above(all=0.02) == []
    assert above(all=1, fuzz=0.01) == ["fuzz/digits", "fuzz/code"]
    assert above(all=1, fuzz=0.01, fuzz_digits=0.02) == ["fuzz/code"]


def test_round_trips_have_a_threshold_of_their_own() -> None:
    tally = Tally(strings=10, round_trips_broken=1)
    report = Report(1, 1, Options(), (Section("bytes", "strings", tally),))
    assert [section.name for section in report.above({})] == ["round-trip"]
    assert report.round_trip.rate == 0.1
    assert report.above({"round-trip": 0.1}) == []


def test_every_byte_of_utf8_is_tried() -> None:
    found = {byte for character in parity.every_byte() for byte in character.encode()}
    assert found == set(range(0x80)) | set(range(0x80, 0xC0)) | set(range(0xC2, 0xF5))
    assert parity.every_point() == [chr(point) for point in range(0x800)]


def test_bytes_that_are_no_utf8_are_replaced(starcoder_like: Any, tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes(b"caf\xe9\n")
    options = replace(CORPUS, corpora=(str(path),))
    (section,) = compare(starcoder_like.document, starcoder_like.model, options).sections
    assert section.total == len(starcoder_like.expected("caf\ufffd\n"))


def test_progress_ends_at_one(starcoder_like: Any, text: Path) -> None:
    fractions: list[float] = []
    options = Options(groups=("pairs", "corpus", "fuzz"), pairs=2500, fuzz=5, corpora=(str(text),))
    compare(starcoder_like.document, starcoder_like.model, options, fractions.append)
    assert fractions == sorted(fractions)
    assert len(fractions) > 10
    assert fractions[-1] == 1.0


def test_what_cannot_be_read_is_refused(starcoder_like: Any, tmp_path: Path) -> None:
    def refused(path: Path) -> None:
        compare(
            starcoder_like.document, starcoder_like.model, replace(CORPUS, corpora=(str(path),))
        )

    with pytest.raises(TokenizerError, match=r"missing\.txt: No such file"):
        refused(tmp_path / "missing.txt")
    with pytest.raises(TokenizerError, match="Is a directory"):
        refused(tmp_path)
    with pytest.raises(TokenizerError, match="no ModelProto"):
        compare(starcoder_like.document, b"no model")


def metaspace_bpe() -> dict[str, Any]:
    """Gemma's steps: a sign for the space, and a piece for each byte."""
    texts = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = sorted({*"the cat sat on a mat, it is; \n".replace(" ", "▁")})
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("a", "t"), ("c", "at"), ("▁", "▁")]
    vocabulary = [*texts, *letters, *(left + right for left, right in merges)]
    bpe = models.BPE(
        vocab={text: i for i, text in enumerate(vocabulary)},
        merges=merges,
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return json.loads(tokenizer.to_str())


def test_any_original_may_be_compared() -> None:
    document = metaspace_bpe()
    report = compare(document, sentencepiece_model.build(document), QUICK)
    assert report.section("sample/prose").total > 10_000
    assert report.above({"round-trip": 0}) == []
    model = sentencepiece_model_pb2.ModelProto.FromString(sentencepiece_model.build(document))
    (the,) = (piece for piece in model.pieces if piece.piece == "▁the")
    the.score = -100.0
    broken = compare(document, model.SerializeToString(), Options(groups=("sample",)))
    assert broken.section("sample/prose").wrong == 0  # it only comes later
    the.type = sentencepiece_model_pb2.ModelProto.SentencePiece.UNUSED
    broken = compare(document, model.SerializeToString(), Options(groups=("sample",)))
    assert broken.section("sample/prose").wrong > 100
    assert broken.section("sample/prose").tally.rules.keys() == {"cut inside a pre-token"}


@pytest.mark.slow
def test_smollm2_on_the_standard_library(smollm2: Any) -> None:
    import sysconfig

    library = Path(sysconfig.get_paths()["stdlib"])
    corpora = tuple(map(str, sorted(library.glob("[a-s]*.py"))))
    options = Options(groups=("pairs", "sample", "corpus"), corpora=corpora)
    report = compare(smollm2.document, smollm2.model, options)
    assert report.above({}) == []
    python = [section for section in report.sections if section.name.startswith("corpus/")]
    assert sum(section.total for section in python) > 800_000
