import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from handmade_sentencepiece import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, model
from sentencepiece import SentencePieceProcessor
from taskpress.bundler import BundleError
from taskpress.bundler.proof import Difference, ProvenChat, prove
from taskpress.bundler.settings import BundleSettings, parameters_for
from taskpress.bundler.templates import PROOF, PROOF_SYSTEM, ChatFormat, messages_of
from taskpress.bundler.tokenizer import load_tokenizer
from taskpress.models._checkpoint import open_checkpoint
from taskpress.tokenization import sentencepiece_document
from taskpress.tokenization.tokenizer_json import original

PIECES = [
    ("<unk>", UNKNOWN),
    ("<s>", CONTROL),
    ("</s>", CONTROL),
    ("<end>", USER_DEFINED),
    *((letter, NORMAL) for letter in "hiab"),
    ("ib", NORMAL),
    ("▁", NORMAL),
    *((f"<0x{byte:02X}>", BYTE) for byte in range(256)),
]
CHAT = ChatFormat(
    start_token="<s>",
    session_prefix="",
    user_prefix="a",
    user_suffix="<end>",
    model_prefix="b",
    model_suffix="<end>a",
    system_prefix="ab",
    system_suffix="<end>",
    stops=("<end>",),
)


def proven(chat: ChatFormat, bundled: ChatFormat | None = None) -> list[ProvenChat]:
    data = model(*PIECES)
    reference = original(sentencepiece_document.document(data, "t", controls=True), "t")
    encode = lambda text: reference.encode(text, add_special_tokens=False).ids  # noqa: E731
    return list(prove(chat, bundled or chat, encode, load_tokenizer(data, "t")))


def test_chats_of_one_to_three_turns_without_and_with_a_system_message() -> None:
    found = proven(CHAT)
    kinds = [(turns, system) for system in (False, True) for turns in (1, 2, 3)]
    assert [(chat.turns, chat.system) for chat in found] == kinds
    assert not any(chat.difference or chat.restored for chat in found)
    assert found[0].tokens == len("_a") + len(PROOF[0]) + len("_b")
    assert {chat.replaced for chat in found} == {0}
    assert str(found[4]) == "chat of 2 turns with a system message"
    assert len(proven(replace(CHAT, no_system="never"))) == 3


def test_a_start_token_that_the_template_does_not_write() -> None:
    found = proven(replace(CHAT, writes_start=False))
    assert not any(chat.difference or chat.restored for chat in found)
    assert found[0].tokens == proven(CHAT)[0].tokens


def test_a_control_token_in_a_prefix_is_no_token() -> None:
    """SentencePiece finds none in a text."""
    first = proven(replace(CHAT, user_suffix="</s>"))[0]
    at = len("_a") + len(PROOF[0])
    assert first.difference == first.restored
    assert first.difference == Difference(
        at, 2, 10 + ord("<"), f"at token {at} the template has 2 '</s>', the prefixes 70 '<0x3C>'"
    )


def test_the_stop_token_is_the_models_own_until_a_chat_is_restored() -> None:
    found = proven(replace(CHAT, model_suffix="</s>a", stops=("<end>", "</s>")))
    assert [chat.difference for chat in found] == [None] * 6
    assert [chat.restored is None for chat in found] == [True, False, False] * 2
    found = proven(replace(CHAT, model_suffix="</s>a"))  # one that stops nothing
    assert [chat.difference is None for chat in found] == [True, False, False] * 2


def test_a_token_over_the_end_of_an_answer() -> None:
    """The second answer is "hi", and a "b" behind it makes one token with its end."""
    found = proven(replace(CHAT, model_suffix="b"))
    assert [chat.difference is None for chat in found[:3]] == [True, True, False]
    assert found[2].restored is None
    difference = found[2].difference
    assert difference is not None
    assert (difference.template, difference.prefixes) == (None, None)
    assert difference.text.endswith("on, none of the template's ends where 'hi' does")


def test_another_tokenizer_is_refused() -> None:
    tokenizer = load_tokenizer(model(*PIECES), "t.model")
    message = (
        r"^t\.model: 'hi' gives the ids \[4, 5\], by the checkpoint's tokenizer \[7\]; make one"
    )
    with pytest.raises(BundleError, match=message):
        prove(CHAT, CHAT, lambda text: [7], tokenizer)


def test_texts_that_the_tokenizers_encode_otherwise_prove_nothing() -> None:
    tokenizer = load_tokenizer(model(*PIECES), "t.model")

    def otherwise(text: str) -> list[int]:
        """An original that would write digits otherwise."""
        return tokenizer.encode(text.replace("2", "3"))

    found = prove(replace(CHAT, writes_start=False), CHAT, otherwise, tokenizer)
    assert [chat.difference for chat in found] == [None] * 6
    assert found[0].tokens == len("_ahi_b")
    assert [chat.replaced for chat in found] == [1] * 6


def test_prefixes_that_lack_the_end() -> None:
    difference = proven(CHAT, replace(CHAT, model_prefix=""))[0].difference
    assert difference is not None
    assert difference.text.endswith("the template has 7 'b', the prefixes none")
    difference = proven(CHAT, replace(CHAT, model_prefix="bb"))[0].difference
    assert difference is not None
    assert difference.text.endswith("the template has none, the prefixes 7 'b'")


ROLES = ("user", "assistant") * 3


def test_the_tokens_are_those_of_transformers(tiny: Path, tiny_tokenizer: bytes) -> None:
    from transformers import PreTrainedTokenizerFast

    with open_checkpoint(tiny) as checkpoint:
        text = parameters_for(checkpoint, tiny_tokenizer, BundleSettings())
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(tiny / "tokenizer.json"))
    template = json.loads((tiny / "tokenizer_config.json").read_text())["chat_template"]
    ours = SentencePieceProcessor(model_proto=tiny_tokenizer)
    assert text.notes == ()
    assert len(text.proven) == 6
    for chat in text.proven:
        assert (chat.difference, chat.restored) == (None, None)
        system = PROOF_SYSTEM if chat.system else None
        messages = messages_of(PROOF[: 2 * chat.turns - 1], system)
        ids: Any = theirs.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=True, return_dict=False
        )
        assert len(ids) == chat.tokens
        start = ours.piece_to_id(text.parameters.start_token)
        assert ids == [start, *ours.encode(text.chat.chat(messages))]


def test_a_bundle_whose_tokenizer_does_not_find_the_templates_tokens(
    tiny: Path, tiny_tokenizer: bytes
) -> None:
    parsed = sentencepiece_document.parse(tiny_tokenizer, "t")
    parsed.pieces[2].type = CONTROL
    with (
        open_checkpoint(tiny) as checkpoint,
        pytest.raises(BundleError, match=r"^chat template: prefixes and suffixes do ") as caught,
    ):
        parameters_for(checkpoint, parsed.SerializeToString(), BundleSettings())
    assert "chat of 1 turn: at token " in str(caught.value)
    assert "the template has 2 '<|im_end|>', the prefixes " in str(caught.value)
