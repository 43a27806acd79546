"""The model as SentencePiece and protobuf read it, and what is refused."""

import copy
import json
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from taskpress.tokenization import (
    TokenizerError,
    gguf_vocabulary,
    sentencepiece_model,
    tokenizer_json,
)
from taskpress.tokenization.plan import Stage
from tokenizers import pre_tokenizers

Type = sentencepiece_model_pb2.ModelProto.SentencePiece
GPT2 = gguf_vocabulary.GPT2


def added_token(token_id: int, content: str) -> dict[str, Any]:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return {"id": token_id, "content": content} | dict.fromkeys(flags, False)


SMALL: dict[str, Any] = {
    "added_tokens": [added_token(4, "<|end|>")],
    "pre_tokenizer": GPT2,
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 7}, "merges": ["a b"]},
}


def small(**changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(SMALL)
    document.update(changes)
    tokenizer_json.validate(document, "test")
    return document


def pieces(model: bytes) -> list[tuple[str, float, int]]:
    parsed = sentencepiece_model_pb2.ModelProto.FromString(model)
    return [(piece.piece, piece.score, piece.type) for piece in parsed.pieces]


def test_pieces_of_a_small_vocabulary() -> None:
    stage = float((Stage.CUT - Stage.WORD) * sentencepiece_model.STAGE_SIZE)
    assert pieces(sentencepiece_model.build(small()))[:9] == [
        ("a", stage, Type.NORMAL),
        ("b", stage, Type.NORMAL),
        ("ab", stage, Type.NORMAL),
        ("<|hole_3|>", stage, Type.CONTROL),
        ("<|end|>", stage, Type.USER_DEFINED),
        ("<|hole_5|>", stage, Type.CONTROL),
        ("<|hole_6|>", stage, Type.CONTROL),
        (" ", stage, Type.NORMAL),
        ("<|unknown|>", stage, Type.UNKNOWN),
    ]


def test_a_small_vocabulary_encodes() -> None:
    processor = SentencePieceProcessor(model_proto=sentencepiece_model.build(small()))
    assert processor.encode("ab a<|end|>ba") == [2, 7, 0, 4, 1, 0]
    assert processor.decode([2, 7, 0, 4, 1, 0]) == "ab a<|end|>ba"


def test_the_same_document_gives_the_same_bytes(starcoder_like: Any) -> None:
    document = json.loads(json.dumps(starcoder_like.document))
    assert sentencepiece_model.build(document) == starcoder_like.model


def test_specifications_of_the_model(smollm2: Any) -> None:
    parsed = sentencepiece_model_pb2.ModelProto.FromString(smollm2.model)
    trainer = parsed.trainer_spec
    assert trainer.model_type == sentencepiece_model_pb2.TrainerSpec.BPE
    assert (trainer.bos_id, trainer.eos_id, trainer.pad_id) == (1, 2, 2)
    assert (trainer.bos_piece, trainer.eos_piece) == ("<|im_start|>", "<|im_end|>")
    assert trainer.vocab_size == len(parsed.pieces) == smollm2.processor.get_piece_size()
    for spec in (parsed.normalizer_spec, parsed.denormalizer_spec):
        assert not spec.add_dummy_prefix
        assert not spec.remove_extra_whitespaces
        assert not spec.escape_whitespaces
    assert sum(piece.type == Type.UNKNOWN for piece in parsed.pieces) == 1
    assert not parsed.trainer_spec.byte_fallback


def test_special_ids_that_are_not_known_are_none(gpt2_like: Any) -> None:
    trainer = sentencepiece_model_pb2.ModelProto.FromString(gpt2_like.model).trainer_spec
    assert (trainer.bos_id, trainer.eos_id, trainer.pad_id) == (-1, -1, -1)


def test_ids_beyond_the_vocabulary_are_glue_that_is_never_given(smollm2: Any) -> None:
    size = smollm2.original.get_vocab_size(with_added_tokens=True)
    assert {kind for _, _, kind in pieces(smollm2.model)[size:]} == {Type.UNUSED}


def test_progress_ends_at_one() -> None:
    fractions: list[float] = []
    sentencepiece_model.build(small(), fractions.append)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)


def test_an_added_token_that_a_token_also_spells_wins() -> None:
    document = small(added_tokens=[added_token(4, " ")])
    processor = SentencePieceProcessor(model_proto=sentencepiece_model.build(document))
    assert processor.encode("ab a") == tokenizer_json.original(document).encode("ab a").ids
    assert processor.encode("ab a") == [2, 4, 0]
    assert processor.decode([2, 7, 0]) == "ab a"


def split(expression: str) -> dict[str, Any]:
    pattern = {"Regex": expression}
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": [*steps, GPT2]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": {"type": "NFKC"}}, "normalizer is 'NFKC'; only none and NFC"),
        ({"pre_tokenizer": None}, "pre_tokenizer is missing; ByteLevel must"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer is Whitespace; ByteLevel must"),
        ({"pre_tokenizer": GPT2 | {"add_prefix_space": True}}, "ByteLevel has add_prefix_space"),
        (
            {"pre_tokenizer": sequence({"type": "Whitespace"})},
            "pre_tokenizer has the step Whitespace; known are",
        ),
        (
            {"pre_tokenizer": sequence(split("a") | {"behavior": "Removed"})},
            "pre_tokenizer makes .* of .*; the text that it removes",
        ),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer is 'Lowercase'; only none and NFC"),
        (
            {"added_tokens": [added_token(9, "<mine>")]},
            "the added token '<mine>' has id 9, but the tokenizers library gives it 4",
        ),
        (
            {"added_tokens": [added_token(4, "a\0")]},
            r"the added token 'a\\x00' has '\\x00'",
        ),
        (
            {"added_tokens": [added_token(4, "ƀ")]},
            "the added token 'ƀ' has 'ƀ'",
        ),
    ],
)
def test_what_cannot_be_rebuilt_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=f"^here: .*{message}") as caught:
        sentencepiece_model.build(small(**changes), where="here")
    assert "\n" not in str(caught.value)


def test_what_takes_all_of_a_text_may_remove_the_rest() -> None:
    """Phi-4's and StableLM 2's steps: inverted, so that what no expression takes is removed."""
    pattern = {"pattern": {"Regex": r"\s?\S+|\s+"}}
    isolated = sequence(split("") | pattern)
    removed = sequence(split("") | pattern | {"behavior": "Removed", "invert": True})
    model = sentencepiece_model.build(small(pre_tokenizer=removed))
    assert model == sentencepiece_model.build(small(pre_tokenizer=isolated))


def test_more_merges_than_scores_can_tell_apart_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sentencepiece_model, "MAX_RANK", 0)
    with pytest.raises(TokenizerError, match=r"^here: model.merges has more than 0 merges"):
        sentencepiece_model.build(small(), where="here")


def other_model(*kinds: int) -> bytes:
    model = sentencepiece_model_pb2.ModelProto()
    for position, kind in enumerate(kinds):
        model.pieces.add(piece=f"piece{position}", type=kind)
    return model.SerializeToString()


def test_a_model_made_by_others_is_checked(smollm2: Any) -> None:
    assert sentencepiece_model.check(other_model(Type.UNKNOWN, Type.NORMAL), "a.model") == 2
    assert sentencepiece_model.check(smollm2.model, "a.model") == len(pieces(smollm2.model))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"not a model at all", "18 bytes that are no ModelProto"),
        (b"", "0 pieces, 0 of them unknown"),
        (other_model(Type.NORMAL), "1 pieces, 0 of them unknown"),
        (other_model(Type.UNKNOWN, Type.UNKNOWN), "2 pieces, 2 of them unknown"),
        (other_model(Type.UNKNOWN, Type.BYTE), "refused by SentencePiece: .*byte"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(model: bytes, message: str) -> None:
    with pytest.raises(TokenizerError, match=f"^a.model: {message}") as caught:
        sentencepiece_model.check(model, "a.model")
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_refused(smollm2: Any) -> None:
    for length in (1, 1000, len(smollm2.model) // 2, len(smollm2.model) - 1):
        with pytest.raises(TokenizerError, match=r"^a.model: "):
            sentencepiece_model.check(smollm2.model[:length], "a.model")


def test_pre_tokenizers_of_the_library_are_recognised() -> None:
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for step in (byte_level, pre_tokenizers.Sequence([digits, byte_level])):
        document = small(pre_tokenizer=json.loads(step.__getstate__()))
        assert sentencepiece_model.build(document)
