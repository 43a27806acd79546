"""Where ids differ, and the rule that explains it, for each rule."""

import json
from typing import Any

import pytest
from taskpress.tokenization import tokenizer_json
from taskpress.tokenization.alignment import (
    EXPLANATIONS,
    Comparison,
    Place,
    Reference,
    Rule,
    align,
    shown,
    tokens_wrong,
)
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

MERGES = [("b", "c"), ("a", "b"), ("Ġ", "a"), ("1", "2"), ("d", "d"), ("e", "f"), ("ef", "g")]


def document(without: str = "") -> dict[str, Any]:
    """GPT-2's pre-tokenizer over all bytes, a few merges, and two tokens that none makes."""
    letters = sorted({*pre_tokenizers.ByteLevel.alphabet()} - {without})
    merged = [*(left + right for left, right in MERGES), "xyz", "!1"]
    vocabulary = {token: i for i, token in enumerate([*letters, *merged])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=MERGES, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens(["<|end|>"])
    found = json.loads(tokenizer.to_str())
    tokenizer_json.validate(found, "test")
    return found


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(document())


def ids(reference: Reference, *tokens: str) -> list[int]:
    """The ids of tokens written in byte letters; <?> for an id that is not there."""
    return [
        10_000 if token == "<?>" else reference.tokenizer.token_to_id(token) for token in tokens
    ]


def explained(reference: Reference, text: str, *got: str) -> tuple[str, str]:
    encoding = reference.tokenizer.encode(text, add_special_tokens=False)
    comparison = Comparison(reference, text, encoding, ids(reference, *got))
    mismatch = comparison.mismatch(comparison.places[0])
    return mismatch.rule, mismatch.why


def test_every_rule_has_an_explanation() -> None:
    assert EXPLANATIONS.keys() == set(Rule)


@pytest.mark.parametrize(
    ("text", "got", "rule", "why"),
    [
        ("<|end|>", "< | e n d | >", Rule.ADDED, "the original finds the added token '<|end|>'"),
        ("e<|", "e <|end|>", Rule.ADDED, "the rebuilt finds the added token '<|end|>' here"),
        ("e\u0301", "e Ì ģ", Rule.NORMALIZER, "(NFC) makes 'é' of this text; the rebuilt"),
        ("qa", "q <?>", Rule.NO_TOKEN, "the rebuilt model has no token for some bytes of 'qa'"),
        ("qa", "q b", Rule.OTHER_BYTES, "original's ids stand for 'a', the rebuilt ids for 'b'"),
        ("!12", "!1 2", Rule.ACROSS, "cuts before U+0031 '1' (pre-tokenizer)"),
        ("xyz", "x y z", Rule.LOOKED_UP, "takes the pre-token 'xyz' whole (ignore_merges)"),
        ("q bc", "q Ġ b c", Rule.CUT, "the pre-token ' bc' before U+0063 'c'"),
        ("efg", "e f g", Rule.CUT, "the pre-token 'efg' before U+0066 'f'"),
        ("abc", "ab c", Rule.ORDER, "makes 'a' + 'bc' (merge 0); the rebuilt model merged in "),
        ("abc", "ab c", Rule.ORDER, "made 'ab' (merge 1) + 'c'"),
    ],
)
def test_rules(reference: Reference, text: str, got: str, rule: Rule, why: str) -> None:
    found, words = explained(reference, text, *got.split())
    assert (found, why in words) == (rule, True), words


def test_bytes_that_the_original_drops() -> None:
    without = Reference(document(without="ĉ"))  # a tab
    rule, why = explained(without, "a\tb", "ab")
    assert rule == Rule.DROPPED
    assert r"no token for '\t' and drops it, but cuts there" in why
    rule, why = explained(without, "a\t", "a", "Ġ")
    assert rule == Rule.NO_TOKEN
    assert r"the original has no token for some bytes of 'a\t'" in why


def test_two_ids_of_the_same_bytes(reference: Reference) -> None:
    doubled = Reference(reference.document)
    doubled.bytes_of = {**doubled.bytes_of, 500: b"bc"}
    encoding = doubled.tokenizer.encode("bc", add_special_tokens=False)
    comparison = Comparison(doubled, "bc", encoding, [500])
    rule, why = comparison.explain(comparison.places[0])
    assert rule == Rule.SAME_BYTES
    assert "'bc' has two ids" in why


def test_a_token_that_took_the_beginning_of_a_pre_token(reference: Reference) -> None:
    # the place of "!1" is across the cut; what is left of "12" is explained by it too
    encoding = reference.tokenizer.encode("!12dd", add_special_tokens=False)
    comparison = Comparison(reference, "!12dd", encoding, ids(reference, "!1", "2", "d", "d"))
    rules = [comparison.explain(place)[0] for place in comparison.places]
    assert rules == [Rule.ACROSS, Rule.CUT]


def test_unigram_takes_other_pieces() -> None:
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("b", -2.0), ("ab", -3.0), ("▁a", -2.5)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    reference = Reference(json.loads(tokenizer.to_str()))
    rule, why = explained(reference, "ab", "▁a", "b")
    assert rule == Rule.PIECES
    assert "best pieces are ' ' + 'ab'; the rebuilt model took ' a' + 'b'" in why


def test_a_prefix_that_is_written_otherwise() -> None:
    # the step Metaspace writes no space in front of one, SentencePiece always does
    pieces = [("<unk>", 0.0), ("▁", -1.0), ("a", -2.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    reference = Reference(json.loads(tokenizer.to_str()))
    rule, why = explained(reference, " a", "▁", "▁", "a")
    assert rule == Rule.SPACES
    assert "its ids stand for ''; the rebuilt ids for ' '" in why


def test_places_are_between_common_cuts(reference: Reference) -> None:
    def places(expected: str, got: str) -> list[Place]:
        return align(ids(reference, *expected.split()), ids(reference, *got.split()), reference)

    assert places("a bc 1", "a bc 1") == []
    assert places("a bc 1 dd", "ab c 1 d d") == [Place((0, 2), (0, 2)), Place((3, 4), (3, 5))]
    # the bytes differ: a longest common subsequence
    assert places("a b dd", "a dd") == [Place((1, 2), (1, 1))]
    assert places("a dd", "a b dd") == [Place((1, 1), (1, 2))]
    assert places("a", "") == [Place((0, 1), (0, 0))]


def test_a_lost_token_and_one_too_many_are_wrong_tokens() -> None:
    assert tokens_wrong([Place((1, 2), (1, 1))]) == 1
    assert tokens_wrong([Place((1, 1), (1, 3))]) == 1
    assert tokens_wrong([Place((0, 3), (0, 1)), Place((5, 6), (3, 5))]) == 4
    assert tokens_wrong([]) == 0


def test_what_is_shown_can_be_told_apart() -> None:
    assert shown("é a".encode()) == "é a"
    assert shown(b"\xe0\xa4") == r"\xe0\xa4"
    assert shown(b"\\xe0") == r"\\xe0"
    assert shown("\t\u200d\u00a0".encode()) == r"\t\u200d\xa0"


def test_context_and_marks(reference: Reference) -> None:
    text = "1 2 3 bc 4 5 6 7 8"
    encoding = reference.tokenizer.encode(text, add_special_tokens=False)
    got = [*encoding.ids]
    i = got.index(ids(reference, "bc")[0])
    got[i : i + 1] = ids(reference, "b", "c")
    comparison = Comparison(reference, text, encoding, got)
    mismatch = comparison.mismatch(comparison.places[0])
    assert mismatch.expected == (" ", "3", " ", "bc", " ", "4", " ")
    assert mismatch.expected[slice(*mismatch.expected_marked)] == ("bc",)
    assert mismatch.got[slice(*mismatch.got_marked)] == ("b", "c")
    assert mismatch.text == " 3 bc 4 "
