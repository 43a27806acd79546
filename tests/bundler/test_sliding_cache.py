"""Caches of sliding layers as rings: the same answers, in our session and in LiteRT-LM."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts import random_weights
from taskpress.bundler import BundleError, metadata
from taskpress.bundler.build import Options, convert
from taskpress.bundler.run import run
from taskpress.bundler.session import Session
from taskpress.bundler.task import METADATA, MODEL, TOKENIZER, write_task
from taskpress.models._checkpoint import open_checkpoint
from taskpress.models._model import load_weights, model_without_weights
from tokenizers import Tokenizer

CONTEXT, LENGTHS, WINDOW = 150, (8, 32), 24
CONFIG = Path(__file__).parents[1] / "configs" / "gemma3_text.json"
TOKENS = np.random.default_rng(0).integers(3, 512, CONTEXT).tolist()
# The last is longer than three windows, and than the ring; the answers go on to CONTEXT.
WORDS = "def add_argument(self, name): return the number of actions that are given, or an error of"
PROMPTS = ["if", WORDS, f"{WORDS} the parser; {WORDS[40:]} {WORDS[:36]}"]
CLOSE = 2e-4


@pytest.fixture(scope="module")
def gemma(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Gemma 3 that answers in ASCII: its first and its last layer slide."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("gemma")
    values = {**json.loads(CONFIG.read_text()), "vocab_size": 512, "max_position_embeddings": 256}
    values["tie_word_embeddings"] = False  # random weights would repeat the last token for ever
    assert values["sliding_window"] == WINDOW
    model = random_weights(AutoModelForCausalLM.from_config(AutoConfig.for_model(**values)))
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    texts = [tokenizer.decode([token]) for token in range(512)]
    letters = [token for token, text in enumerate(texts) if text.isascii() and text.isprintable()]
    others = sorted(set(range(512)) - set(letters) | {0, 1, 2})
    with torch.no_grad():
        model.lm_head.weight[others] = model.lm_head.weight[letters[-1]] / 2
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def converted(gemma: Path, **options: Any) -> Path:
    path = gemma / f"{'-'.join(map(str, options.values()))}.tflite"
    convert(gemma, path, Options("none", LENGTHS, CONTEXT, **options))
    return path


@pytest.fixture(scope="module")
def models(gemma: Path) -> dict[str, Path]:
    return {cache: converted(gemma, sliding_cache=cache) for cache in ("full", "ring")}


@pytest.fixture(scope="module")
def eager(gemma: Path) -> np.ndarray:
    with open_checkpoint(gemma) as checkpoint, torch.inference_mode():
        model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        logits, _ = model(torch.tensor([TOKENS]), torch.arange(CONTEXT), model.empty_cache(CONTEXT))
        return logits[0].numpy()


def test_a_ring_is_as_long_as_window_and_longest_prefill(models: dict[str, Path]) -> None:
    """The cache of layer 1, which does not slide, comes first: it tells runtimes the context."""
    for cache, slots in {"full": CONTEXT, "ring": WINDOW + max(LENGTHS) - 1}.items():
        with Session(models[cache]) as session:
            assert session.context_length == CONTEXT
            lengths = [session._shapes[f"kv_cache_k_{i}"][2] for i in range(3)]
            assert lengths == [CONTEXT, slots, slots]


@pytest.mark.parametrize("mask", ["graph", "input"])
def test_prefill_and_decode_give_the_logits_of_one_pass(
    mask: str, gemma: Path, eager: np.ndarray
) -> None:
    """Padded chunks of both lengths, from each place of the ring on, to the end of the context."""
    path = converted(gemma, sliding_cache="ring", mask=mask)
    with Session(path) as session:
        for before in range(0, CONTEXT - 45, 7):
            session.reset()
            session.prefill(TOKENS[:before])
            session.prefill(TOKENS[before : before + 35])  # 32 and 3 of 8
            session.prefill(TOKENS[before + 35 : before + 44])  # 9 of 32
            found = session.decode(TOKENS[before + 44])
            np.testing.assert_allclose(found, eager[before + 44], atol=CLOSE)
        session.reset()
        for token, logits in zip(TOKENS, eager, strict=True):
            np.testing.assert_allclose(session.decode(token), logits, atol=CLOSE)


def test_one_slot_less_is_wrong(gemma: Path, eager: np.ndarray) -> None:
    """What the length of a ring is held against: the first position of a chunk misses one."""
    with open_checkpoint(gemma) as checkpoint, torch.inference_mode():
        model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        for longest, right in {32: True, 31: False}.items():
            cache, rows = model.empty_cache(CONTEXT, longest), []
            for start in range(0, 96, 32):
                chunk = slice(start, start + 32)
                tokens, positions = torch.tensor([TOKENS[chunk]]), torch.arange(start, start + 32)
                logits, cache = model(tokens, positions, cache)
                rows.append(logits[0].numpy())
            difference = np.abs(np.concatenate(rows) - eager[:96]).max()
            assert (difference < CLOSE) == right, (longest, difference)


def test_litert_lm_answers_the_same(models: dict[str, Path], tiny_tokenizer: bytes) -> None:
    """It also goes on to the end of the context, and not only to that of a ring."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    described = metadata.encode(metadata.BundleParameters("<|im_start|>", ("<|im_end|>",)))
    answers: dict[str, list[str]] = {}
    for cache, model in models.items():
        bundle = model.with_suffix(".task")
        entries = {MODEL: model.read_bytes(), TOKENIZER: tiny_tokenizer, METADATA: described}
        write_task(bundle, entries)
        with _opened(bundle) as engine:
            counts = [len(engine.tokenize(prompt)) for prompt in PROMPTS]
            answers[f"LiteRT-LM, {cache}"] = [_answer(engine, prompt) for prompt in PROMPTS]
        answers[f"ours, {cache}"] = [run(bundle, prompt).text for prompt in PROMPTS]
    assert counts[-1] > WINDOW + max(LENGTHS)
    assert len(set(answers["LiteRT-LM, full"])) == len(PROMPTS)
    theirs, ours = answers["LiteRT-LM, ring"], answers["ours, ring"]
    assert theirs == answers["LiteRT-LM, full"]
    assert ours == answers["ours, full"]
    # near the end of the context the engine stops a little earlier or later than we do
    assert [text[:-8] for text in ours] == [
        text[: len(other) - 8] for text, other in zip(theirs, ours, strict=True)
    ]


@contextmanager
def _opened(bundle: Path) -> Iterator[Any]:
    import litert_lm

    backend = litert_lm.Backend.CPU(thread_count=1)
    with litert_lm.Engine(str(bundle), backend, max_num_tokens=CONTEXT) as engine:
        yield engine


def _answer(engine: Any, prompt: str) -> str:
    import litert_lm

    greedy = litert_lm.SamplerConfig(top_k=1)
    with engine.create_session(apply_prompt_template=False, sampler_config=greedy) as session:
        session.run_prefill([prompt])
        return session.run_decode().texts[0]


def test_a_ring_that_would_hold_the_context_is_refused(gemma: Path, tiny: Path) -> None:
    options = Options("none", (128,), CONTEXT, sliding_cache="ring")
    with pytest.raises(BundleError, match=r"gemma.*: no layer's cache would be a ring; .* 128"):
        convert(gemma, gemma / "no.tflite", options)
    with pytest.raises(BundleError, match="no layer's cache would be a ring"):
        convert(tiny, gemma / "no.tflite", Options("none", (8,), 48, sliding_cache="ring"))
    with pytest.raises(BundleError, match="sliding cache 'half': needed `full` or `ring`"):
        convert(gemma, gemma / "no.tflite", Options("none", (8,), 48, sliding_cache="half"))
