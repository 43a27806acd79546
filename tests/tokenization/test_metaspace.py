"""Tokenizers that came from SentencePiece: the same ids as the tokenizers library, everywhere."""

import json
import random
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from taskpress.tokenization import TokenizerError, sentencepiece_model, tokenizer_json
from taskpress.tokenization.tokenizer_json import SpecialIds
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
NAMES = ["<unk>", "<s>", "</s>"]
TEXTS = [(STANDARD_LIBRARY / name).read_text(encoding="utf-8") for name in ("ast.py", "this.py")]
LINES = [
    line for text in [*TEXTS, "Grüße aus Köln, 日本語 и мир " * 20] for line in text.split("\n")
]


def with_bytes(document: dict[str, Any]) -> dict[str, Any]:
    """Adds a piece for each byte behind the special tokens, as Llama 2 has them."""
    model = document["model"]
    texts = sorted(model["vocab"], key=lambda text: model["vocab"][text])
    texts = [*NAMES, *BYTES, *(text for text in texts if text not in NAMES)]
    model["vocab"] = {text: position for position, text in enumerate(texts)}
    model |= {"byte_fallback": True, "unk_token": "<unk>", "fuse_unk": True}
    return document


def bpe(prefix: bool) -> dict[str, Any]:
    """Llama 2's steps with a prefix, Gemma's without."""
    replace: normalizers.Normalizer = normalizers.Replace(" ", "▁")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), replace]) if prefix else replace
    )
    if not prefix:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=NAMES, show_progress=False)
    tokenizer.train_from_iterator(LINES, trainer)
    return with_bytes(json.loads(tokenizer.to_str()))


def unigram() -> dict[str, Any]:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=NAMES, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return json.loads(tokenizer.to_str())


DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "llama2": lambda: bpe(prefix=True),
    "gemma": lambda: bpe(prefix=False),
    "unigram": unigram,
}


@pytest.fixture(scope="module", params=DOCUMENTS)
def metaspace(request: pytest.FixtureRequest) -> tuple[Tokenizer, Any, str]:
    from sentencepiece import SentencePieceProcessor

    document = DOCUMENTS[request.param]()
    tokenizer_json.validate(document, "test")
    model = sentencepiece_model.build(document, specials=SpecialIds(bos=1, eos=2))
    original = tokenizer_json.original(document)
    return original, SentencePieceProcessor(model_proto=model), request.param


def expected(original: Tokenizer, text: str) -> list[int]:
    return original.encode(text, add_special_tokens=False).ids


def agree(metaspace: tuple[Tokenizer, Any, str], text: str) -> bool:
    """The same ids; of Unigram also others of the same score, which float32 cannot tell apart."""
    original, processor, name = metaspace
    ids, got = expected(original, text), processor.encode(text)
    if name != "unigram" or ids == got:
        return ids == got
    scores = [sum(processor.get_score(i) for i in some) for some in (ids, got)]
    same_text = original.decode(ids) == original.decode(got)
    return same_text and scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_source_code_and_prose(metaspace: tuple[Tokenizer, Any, str]) -> None:
    original, processor, name = metaspace
    for line in map(str.lstrip, LINES) if name == "unigram" else LINES:
        if line:
            assert agree(metaspace, line)
            assert processor.decode(processor.encode(line)) in (
                line,
                original.decode(expected(original, line)),
            )


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), min_size=1))
def test_any_text(metaspace: tuple[Tokenizer, Any, str], text: str) -> None:
    original, processor, name = metaspace
    if name != "unigram":  # without pieces for bytes, unknown characters differ in how they join
        assert processor.encode(text) == expected(original, text)


def test_special_tokens_in_a_text(metaspace: tuple[Tokenizer, Any, str]) -> None:
    original, processor, name = metaspace
    if name == "gemma":  # a prefix is not written again behind an added token
        assert processor.encode("a <s> b</s>c") == expected(original, "a <s> b</s>c")
    assert processor.encode("def</s>")[-1] == processor.piece_to_id("</s>") == 2


def test_random_pairs(metaspace: tuple[Tokenizer, Any, str]) -> None:
    original, _, name = metaspace
    draw = random.Random(0)
    ids = list(range(259 if "<0x00>" in original.get_vocab() else 3, 500))
    for _ in range(2000):
        text = original.decode(draw.sample(ids, 2))
        text = text.lstrip() if name == "unigram" else text
        if text:
            assert agree(metaspace, text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "normalizer has the step Lowercase"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer has the step Whitespace"),
        ({"normalizer": {"type": "Strip"}}, "normalizer has the step Strip"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "x"}},
            "normalizer has the step Replace",
        ),
        (
            {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "?"}},
            "a map in base64 is needed",
        ),
    ],
)
def test_what_has_no_flag_is_refused(change: dict[str, Any], message: str) -> None:
    document = unigram() | change
    with pytest.raises(TokenizerError, match=f"^here: .*{message}"):
        sentencepiece_model.build(document, where="here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab": []}, r"model.vocab is \[\]; a list"),
        ({"vocab": [["a", "b"]]}, r"model.vocab\[0\] is \['a', 'b'\]; a text"),
        ({"vocab": [["a", 0.0], ["a", -1.0]]}, r"model.vocab\[1\]"),
        ({"unk_id": 10_000_000}, "model.unk_id is 10000000"),
    ],
)
def test_a_wrong_unigram_model_is_refused(change: dict[str, Any], message: str) -> None:
    document = unigram()
    document["model"] |= change
    document["added_tokens"] = []
    with pytest.raises(TokenizerError, match=message):
        tokenizer_json.validate(document, "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropout": 0.1}, "model has dropout"),
        ({"end_of_word_suffix": "</w>"}, "model has end_of_word_suffix"),
        ({"fuse_unk": False, "byte_fallback": False}, "model.fuse_unk is false and 0 bytes"),
    ],
)
def test_what_sentencepiece_would_do_otherwise_is_refused(
    change: dict[str, Any], message: str
) -> None:
    document = bpe(prefix=True)
    document["model"] |= change
    with pytest.raises(TokenizerError, match=f"^here: {message}"):
        sentencepiece_model.build(document, where="here")


def built(document: dict[str, Any]) -> tuple[Tokenizer, Any]:
    from sentencepiece import SentencePieceProcessor

    tokenizer_json.validate(document, "test")
    model = sentencepiece_model.build(document)
    return tokenizer_json.original(document), SentencePieceProcessor(model_proto=model)


def test_words_that_begin_with_each_space() -> None:
    document = bpe(prefix=False) | {"normalizer": None}
    step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}
    original, processor = built(document | {"pre_tokenizer": step})
    assert any("▁" in token[1:] for token in document["model"]["vocab"])
    assert all(processor.encode(line) == expected(original, line) for line in LINES)


@pytest.mark.parametrize(
    "steps",
    [
        [("Strip", {"strip_left": False, "strip_right": True}), ("Replace", {"content": "▁"})],
        [("Strip", {"strip_left": True, "strip_right": True}), ("Replace", {"content": " "})],
    ],
)
def test_spaces_at_the_ends_are_stripped(steps: list[tuple[str, dict[str, Any]]]) -> None:
    """XLM-R's and DeBERTa's steps."""
    parts = [{"type": kind} | options for kind, options in steps]
    parts[1]["pattern"] = {"Regex": " {2,}"}
    document = unigram() | {"normalizer": {"type": "Sequence", "normalizers": parts}}
    original, processor = built(document)
    for text in ("a  b", " a", "  a  b  ", "a ", "  "):
        assert processor.encode(text) == expected(original, text)


def test_a_step_that_removes_all_kinds_of_spaces() -> None:
    """T5's, without its map, which makes a space of the others."""
    document = unigram()
    steps = [{"type": "WhitespaceSplit"}, document["pre_tokenizer"]]
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    original, processor = built(document)
    for text in ("def\n\tself", "a\u00a0 b\r\n", "\u3000a\u2028b\x85", " a "):
        assert processor.encode(text) == expected(original, text)


def test_an_added_token_with_a_space() -> None:
    document = bpe(prefix=False)
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    token = {"id": len(document["model"]["vocab"]), "content": "<a b>"} | flags
    document["added_tokens"].append(token)
    original, processor = built(document)
    ids = processor.encode("def <a b>self")
    assert ids == expected(original, "def <a b>self")
    assert token["id"] in ids
    assert processor.decode(ids) == "def <a b>self"
