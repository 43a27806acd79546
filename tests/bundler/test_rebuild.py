"""What is said of a rebuilt tokenizer."""

from typing import Any

from taskpress.bundler.rebuild import parity_notes
from taskpress.tokenization import gguf_vocabulary, sentencepiece_model
from taskpress.tokenization.published import Published
from taskpress.tokenization.tokenizer_json import BYTE_LETTERS


def document(*merges: tuple[str, str]) -> dict[str, Any]:
    vocabulary = {letter: byte for byte, letter in BYTE_LETTERS.items()}
    vocabulary |= {a + b: 256 + rank for rank, (a, b) in enumerate([("e", "r"), ("t", "h")])}
    return {
        "pre_tokenizer": gguf_vocabulary.GPT2,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": list(map(list, merges))},
    }


def test_a_rebuilt_tokenizer_that_is_far_off_is_told_of() -> None:
    both, one = document(("e", "r"), ("t", "h")), document(("e", "r"))
    right, wrong = sentencepiece_model.build(both), sentencepiece_model.build(one)
    found = Published(both, None, "here")
    assert parity_notes(found, right) == ()
    (note,) = parity_notes(found, wrong)
    assert note.startswith("the rebuilt tokenizer gives other tokens than the original, in ")
    assert " % of prose" in note
    assert parity_notes(Published(both, wrong, "here"), wrong) == ()  # it was published so
