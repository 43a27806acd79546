"""A real model the whole way: SmolLM2-135M-Instruct against transformers and LiteRT-LM."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from sentencepiece import SentencePieceProcessor
from taskpress.bundler import quality
from taskpress.bundler.build import Options, Report, build, convert
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.parts import MODEL, TOKENIZER
from taskpress.bundler.run import run
from taskpress.bundler.session import Session
from taskpress.models._checkpoint import open_checkpoint
from taskpress.models._model import load_weights, model_without_weights

LENGTHS = (32, 128)
# No multiple of the lengths: the last chunk of a long prompt reaches past the end of the cache.
CONTEXT = 500
QUESTION = "What is the capital of France?"
# The question as the model's chat template writes it; transformers' ids of that text.
CHAT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    f"<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def bundle(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """An int8 bundle, and its report."""
    output = tmp_path_factory.mktemp("bundle") / "smollm2.task"
    options = Options(prefill_lengths=LENGTHS, context_length=CONTEXT)
    return output, build(smollm2_gguf, output, options, compare=True)


@pytest.fixture(scope="module")
def tokenizer(bundle: tuple[Path, Report]) -> SentencePieceProcessor:
    processor = SentencePieceProcessor()
    processor.LoadFromSerializedProto(read_bundle(bundle[0]).read(TOKENIZER))
    return processor


@pytest.fixture(scope="module")
def sample(tokenizer: SentencePieceProcessor) -> list[int]:
    ids = tokenizer.Encode(quality.sample_text())
    assert len(ids) >= 300
    return ids


@pytest.fixture(scope="module")
def float32_model(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 model whose prefill signatures give logits as well."""
    output = tmp_path_factory.mktemp("float32") / "smollm2.tflite"
    options = Options("none", LENGTHS, CONTEXT, prefill_logits=True)
    convert(smollm2_gguf, output, options)
    return output


@pytest.fixture(scope="module")
def expected(smollm2_transformers: Any, sample: list[int]) -> np.ndarray:
    """transformers' logits of the first 64 tokens."""
    with torch.inference_mode():
        return smollm2_transformers(torch.tensor([sample[:64]])).logits[0].numpy()


def _logits(model: Path, signature: str, tokens: list[int]) -> np.ndarray:
    """The logits of all tokens, fed in chunks through one signature of LiteRT's interpreter."""
    runner: Any = Interpreter(str(model)).get_signature_runner(signature)
    details = runner.get_input_details()
    cache = {
        name: np.zeros(detail["shape"], np.float32)
        for name, detail in details.items()
        if name.startswith("kv_cache_")
    }
    time = int(details["input_pos"]["shape"][0])
    rows = []
    for start in range(0, len(tokens), time):
        chunk = tokens[start : start + time]
        padded = np.zeros((1, time), np.int32)
        padded[0, : len(chunk)] = chunk
        # A runtime may leave the positions of the padding at 0.
        positions = np.zeros(time, np.int32)
        positions[: len(chunk)] = np.arange(start, start + len(chunk))
        cache = runner(tokens=padded, input_pos=positions, **cache)
        rows.append(cache.pop("logits")[0, : len(chunk)])
    return np.concatenate(rows)


@pytest.mark.parametrize("signature", [*(f"prefill_{n}" for n in LENGTHS), "decode"])
def test_float32_logits_are_those_of_transformers(
    signature: str, float32_model: Path, sample: list[int], expected: np.ndarray
) -> None:
    logits = _logits(float32_model, signature, sample[:64])
    difference = np.abs(logits - expected)
    assert difference.max() <= 1e-3, np.unravel_index(difference.argmax(), difference.shape)
    np.testing.assert_array_equal(logits.argmax(-1), expected.argmax(-1))


def test_48_greedy_tokens_are_those_of_transformers(
    float32_model: Path, smollm2_gguf: Path, smollm2_transformers: Any, sample: list[int]
) -> None:
    prompt = sample[:40]
    with Session(float32_model) as session:
        session.prefill(prompt[:-1])
        tokens = [prompt[-1]]
        for _ in range(48):
            tokens.append(int(session.decode(tokens[-1]).argmax()))
    with torch.inference_mode():
        logits = smollm2_transformers(torch.tensor([prompt[:-1] + tokens])).logits[0]
    assert logits[len(prompt) - 1 : -1].argmax(-1).tolist() == tokens[1:]

    with open_checkpoint(smollm2_gguf) as checkpoint, torch.inference_mode():
        eager: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        text = torch.tensor([prompt[:-1] + tokens])
        logits, _ = eager(text, torch.arange(text.shape[1]), eager.empty_cache(text.shape[1]))
    assert logits[0, len(prompt) - 1 : -1].argmax(-1).tolist() == tokens[1:]


def test_fp16_is_close(smollm2_gguf: Path, tmp_path: Path) -> None:
    options = Options("fp16", LENGTHS, CONTEXT)
    report = convert(smollm2_gguf, tmp_path / "fp16.tflite", options, compare=True)
    assert report.quality is not None
    assert report.quality.tokens >= 300
    assert report.quality.kl_divergence <= 0.0005


def test_int8_is_close_and_says_so(bundle: tuple[Path, Report]) -> None:
    report = json.loads(json.dumps(bundle[1].to_dict()))
    assert report["quality"]["tokens"] >= 300
    assert report["quality"]["kl_divergence"] <= 0.03
    assert report["quality"]["prefill_difference"] <= 0.1
    assert report["size_bytes"] == bundle[0].stat().st_size
    assert report["predicted_size_bytes"] == pytest.approx(report["size_bytes"], rel=0.01)
    assert report["peak_memory_bytes"] <= 1.1 * report["predicted_memory_bytes"]


def test_it_names_paris(bundle: tuple[Path, Report]) -> None:
    told: list[str] = []
    answer = run(bundle[0], QUESTION, max_tokens=64, on_text=told.append)
    assert "Paris" in answer.text
    assert answer.ended_by == "<|im_end|>"
    assert "".join(told) == answer.text
    assert len(told) > 3


def test_the_prompt_has_the_ids_of_the_chat_template(
    bundle: tuple[Path, Report], smollm2_gguf: Path, smollm2_tokenizer: Any
) -> None:
    answer = run(bundle[0], QUESTION, max_tokens=1)
    assert list(answer.prompt_tokens) == smollm2_tokenizer(CHAT)["input_ids"]


def test_litert_lm_answers_the_same(bundle: tuple[Path, Report], tmp_path: Path) -> None:
    answer = run(bundle[0], QUESTION, max_tokens=64)
    packed = _litertlm(bundle[0], tmp_path)
    assert _answer_of_litert_lm(packed, CHAT, max_tokens=CONTEXT) == answer.text


def test_litert_lm_answers_from_the_bundle_itself(bundle: tuple[Path, Report]) -> None:
    """With the start token, stop tokens and prefixes that it finds in the bundle's METADATA."""
    answer = run(bundle[0], QUESTION, max_tokens=64)
    assert _answer_of_litert_lm(bundle[0], QUESTION, max_tokens=CONTEXT) == answer.text


def test_litert_lm_prefills_right_up_to_the_end_of_the_cache(
    bundle: tuple[Path, Report], tmp_path: Path, tokenizer: SentencePieceProcessor
) -> None:
    """About 470 tokens: the engine's fourth chunk of 128 reaches past the end of the cache."""
    filler = quality.sample_text() + " The tide turned at noon, and the boats came home."
    text = CHAT.replace(QUESTION, f"{filler}\n\n{QUESTION}")
    count = len(tokenizer.Encode(text))
    assert 3 * 128 + 64 < count < CONTEXT
    answer = run(bundle[0], f"{filler}\n\n{QUESTION}", max_tokens=CONTEXT - count - 4)
    packed = _litertlm(bundle[0], tmp_path)
    theirs = _answer_of_litert_lm(packed, text, max_tokens=CONTEXT)
    assert theirs[: len(answer.text) - 8] == answer.text[:-8]
    assert len(answer.text) > 20


def _litertlm(bundle: Path, folder: Path) -> Path:
    """The bundle's model and tokenizer, packed by Google's own builder."""
    from litert_lm_builder import litertlm_builder

    task = read_bundle(bundle)
    (folder / "model.tflite").write_bytes(task.read(MODEL))
    (folder / "tokenizer.spiece").write_bytes(task.read(TOKENIZER))
    metadata = folder / "metadata.textproto"
    metadata.write_text(
        f'stop_tokens {{ token_str: "<|im_end|>" }} max_num_tokens: {CONTEXT}\n'
        "llm_model_type { generic_model {} }\n"
    )
    builder = litertlm_builder.LitertLmFileBuilder()
    builder.add_system_metadata(
        litertlm_builder.Metadata(
            key="Authors", value="taskpress", dtype=litertlm_builder.DType.STRING
        )
    )
    builder.add_llm_metadata(str(metadata))
    builder.add_tflite_model(
        str(folder / "model.tflite"), litertlm_builder.TfLiteModelType.PREFILL_DECODE
    )
    builder.add_sentencepiece_tokenizer(str(folder / "tokenizer.spiece"))
    packed = folder / "smollm2.litertlm"
    with packed.open("wb") as out:
        builder.build(out)
    return packed


def _answer_of_litert_lm(packed: Path, prompt: str, max_tokens: int) -> str:
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    greedy = litert_lm.SamplerConfig(top_k=1)
    engine = litert_lm.Engine(
        str(packed), backend=litert_lm.Backend.CPU(), max_num_tokens=max_tokens
    )
    with engine, engine.create_session(sampler_config=greedy) as session:
        session.run_prefill([prompt])
        return session.run_decode().texts[0]
