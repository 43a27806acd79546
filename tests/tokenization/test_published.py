"""Each form of tokenizer is told by its content, and gives the ids of its own library."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer
from taskpress.tokenization import (
    TokenizerError,
    published,
    sentencepiece_document,
    sentencepiece_model,
    tokenizer_json,
)
from taskpress.tokenization.published import Given

PROSE = [
    f"{number} Sätze über Äpfel,  日本語 and spaces{' ' * (number % 5)}are here; "
    f"the {word} of {word}s sees {number * 7919} things"
    for number, word in enumerate(["apple", "tree", "house", "river", "stone", "cloud"] * 40)
]
CHAT = ["<|user|>", "<|end|>", "<|assistant|>"]
BYTES = [bytes([byte]) for byte in range(256)]


def train(path: Path, model_type: str) -> Path:
    """A model of the SentencePiece library's own trainer."""
    SentencePieceTrainer.train(
        sentence_iterator=iter(PROSE),
        model_prefix=str(path.with_suffix("")),
        model_type=model_type,
        vocab_size=420,
        byte_fallback=model_type == "bpe",
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return path.with_suffix(".model")


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("bpe") / "bpe.model", "bpe")


def added(token_id: int, content: str, **flags: bool) -> dict[str, Any]:
    unset = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, **unset, "special": True, **flags}


def folder_of_both(path: Path, bpe: Path, **flags: bool) -> tuple[Path, dict[str, Any]]:
    """A folder as Phi-3's: tokenizer.json has added tokens that tokenizer.model lacks."""
    document = sentencepiece_document.document(bpe.read_bytes(), "bpe")
    size = len(document["model"]["vocab"])
    texts = [(0, "<unk>"), (1, "<s>"), (2, "</s>")]
    texts += [(size + i, text) for i, text in enumerate(CHAT)]
    document["added_tokens"] = [added(i, text, **flags) for i, text in texts]
    path.mkdir()
    (path / "tokenizer.json").write_text(json.dumps(document))
    (path / "tokenizer.model").write_bytes(bpe.read_bytes())
    return path, document


def test_a_sentencepiece_model_is_passed_through(bpe: Path, tmp_path: Path) -> None:
    assert published.read(bpe).build() == bpe.read_bytes()
    (tmp_path / "tokenizer.model").write_bytes(bpe.read_bytes())
    assert published.read(tmp_path).build() == bpe.read_bytes()


def test_the_document_of_a_sentencepiece_model_gives_its_ids(bpe: Path) -> None:
    processor = SentencePieceProcessor(model_file=str(bpe))
    tokenizer = tokenizer_json.original(published.read(bpe).as_document())
    for text in PROSE:
        assert tokenizer.encode(text, add_special_tokens=False).ids == processor.encode(text)
        assert tokenizer.decode(processor.encode(text)) == text


def test_the_prefix_stands_in_front_of_a_text_that_begins_with_an_added_token(bpe: Path) -> None:
    """SentencePiece writes it once a text, and none behind user-defined pieces."""
    parsed = sentencepiece_document.parse(bpe.read_bytes(), "bpe")
    contents = ["[DOC_1]", "[DOC_10]", "(?|a", "\n\n", "two words"]
    for content in contents:
        parsed.pieces.add(
            piece=content.replace(" ", "\u2581"),
            score=0.0,
            type=sentencepiece_document.Type.USER_DEFINED,
        )
    model = parsed.SerializeToString()
    processor = SentencePieceProcessor(model_proto=model)
    document = sentencepiece_document.document(model, "bpe")
    tokenizer = tokenizer_json.original(document)
    rebuilt = SentencePieceProcessor(model_proto=sentencepiece_model.build(document))
    forms = ("{0} is", "{0}is", " {0}  is", "is{0}", "is {0}{0} is", "{0}{1}", "{0}0]", "{0}\n")
    for text in (form.format(one, contents[0]) for one in contents for form in forms):
        ids = processor.encode(text)
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids, text
        assert rebuilt.encode(text) == ids, text
        assert tokenizer.decode(ids) == processor.decode(ids)


def test_added_tokens_that_a_model_lacks_are_put_in(bpe: Path, tmp_path: Path) -> None:
    folder, document = folder_of_both(tmp_path / "phi", bpe)
    own = SentencePieceProcessor(model_file=str(bpe))
    assert len(own.encode(CHAT[0])) > 1
    processor = SentencePieceProcessor(model_proto=published.read(folder).build())
    size = own.get_piece_size()
    assert [processor.piece_to_id(text) for text in CHAT] == [size, size + 1, size + 2]
    for text in PROSE:
        assert processor.encode(text) == own.encode(text)
    text = f"{PROSE[0]}{CHAT[0]}" + "</s>"
    expected = tokenizer_json.original(document).encode(text, add_special_tokens=False).ids
    assert processor.encode(text) == expected
    assert processor.decode(expected) == text


def test_a_model_that_is_complete_is_not_touched(bpe: Path, tmp_path: Path) -> None:
    folder, _ = folder_of_both(tmp_path / "f", bpe)
    complete = published.read(folder).build()
    (folder / "tokenizer.model").write_bytes(complete)
    assert published.read(folder).build() == complete


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("text", r"tokenizer.model: 300 is '.*'; tokenizer.json has 'changed' for it"),
        ("order", r"tokenizer.model: gives \d+ where tokenizer.json gives \d+, in "),
        (
            "missing",
            r"tokenizer.model: has \d+ pieces; tokenizer.json has 'more' for \d+, which is no",
        ),
        ("unigram", "a model of type UNIGRAM; tokenizer.json is one of type BPE"),
        ("rstrip", "the added token '<unk>' has rstrip; SentencePiece would leave the spaces"),
    ],
)
def test_a_contradiction_is_named(bpe: Path, tmp_path: Path, change: str, message: str) -> None:
    folder, document = folder_of_both(tmp_path / "f", bpe, rstrip=change == "rstrip")
    model = document["model"]
    if change == "text":
        text = next(text for text, token_id in model["vocab"].items() if token_id == 300)
        model["merges"] = [merge for merge in model["merges"] if text not in "".join(merge)]
        model["vocab"] = {("changed" if i == 300 else t): i for t, i in model["vocab"].items()}
    elif change == "order":
        model["merges"] = model["merges"][::-1]
        document["added_tokens"] = document["added_tokens"][:3]
    elif change == "missing":
        document["added_tokens"] = []
        model["vocab"]["more"] = len(model["vocab"])
    elif change == "unigram":
        train(folder / "tokenizer.model", "unigram")
    (folder / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(TokenizerError, match=message) as caught:
        published.read(folder).build()
    assert "\n" not in str(caught.value)
    if change == "rstrip":
        assert "--ignore-flags builds" in str(caught.value)
        built = published.read(folder).build(ignore_flags=True)
        unflagged, _ = folder_of_both(tmp_path / "g", bpe, rstrip=False)
        assert built == published.read(unflagged).build()


def table(path: Path) -> Path:
    tokens = [*BYTES, b"ab", b"12", b"123"]
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)]
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize("pattern", ["llama3", r"\p{N}{1,3}|\P{N}+"])
def test_a_table_of_ranks_with_its_pattern(tmp_path: Path, pattern: str) -> None:
    import tiktoken

    path = table(tmp_path / "tokenizer.model")
    given = Given(pattern, {"<|end|>": 300})
    ranks = {base64.b64decode(a): int(b) for a, b in map(str.split, path.read_text().splitlines())}
    theirs = tiktoken.Encoding(
        name="test",
        pat_str=published.PATTERNS.get(pattern, pattern),
        mergeable_ranks=ranks,
        special_tokens={"<|end|>": 300},
    )
    text = "abc 12345 ab<|end|>12"
    for source in (path, tmp_path):
        document = published.read(source, given).as_document()
        ids = tokenizer_json.original(document).encode(text, add_special_tokens=False).ids
        assert ids == theirs.encode(text, allowed_special="all")


def test_a_table_of_ranks_says_what_it_needs(tmp_path: Path, bpe: Path) -> None:
    table(tmp_path / "tokenizer.model")
    with pytest.raises(TokenizerError, match=r"--pattern must name it .*gpt2, cl100k, llama3"):
        published.read(tmp_path)
    with pytest.raises(TokenizerError, match="is no table of ranks; --pattern and --special"):
        published.read(bpe, Given("gpt2"))


def test_the_first_file_of_a_folder_counts(tmp_path: Path, bpe: Path) -> None:
    with pytest.raises(
        TokenizerError, match=r"needs one of tokenizer.json, tekken.json, tokenizer"
    ):
        published.read(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes(bpe.read_bytes())
    entries = [
        {"rank": rank, "token_bytes": base64.b64encode(token).decode()}
        for rank, token in enumerate(BYTES)
    ]
    config = {"pattern": ".+", "default_vocab_size": 276, "default_num_special_tokens": 20}
    (tmp_path / "tekken.json").write_text(json.dumps({"config": config, "vocab": entries}))
    found = published.read(tmp_path)
    assert found.as_document()["model"]["vocab"]["a"] == 20 + ord("a")
    assert (found.specials.bos, found.specials.eos) == (1, 2)
    document = sentencepiece_document.document(bpe.read_bytes(), "bpe")
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    assert published.read(tmp_path).as_document() == document


def test_a_rebuilt_model_has_no_document_of_its_own(gpt2_like: Any, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(gpt2_like.model)
    with pytest.raises(TokenizerError, match="has a denormalizer, so that it was rebuilt"):
        published.read(path).as_document()
    (tmp_path / "tokenizer.json").write_text(json.dumps(gpt2_like.document))
    assert published.read(tmp_path).build() == gpt2_like.model


@pytest.mark.parametrize("model_type", ["word", "char"])
def test_other_sentencepiece_models_have_no_document(tmp_path: Path, model_type: str) -> None:
    path = train(tmp_path / "m.model", model_type)
    with pytest.raises(TokenizerError, match=f"type {model_type.upper()}; BPE or UNIGRAM"):
        published.read(path).as_document()
