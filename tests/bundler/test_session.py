"""The session against LiteRT's own interpreter, and against the module in PyTorch."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from taskpress.bundler import BundleError
from taskpress.bundler.build import Options, convert
from taskpress.bundler.session import Session
from taskpress.models._checkpoint import open_checkpoint
from taskpress.models._model import load_weights, model_without_weights

CONTEXT = 48
TOKENS = np.random.default_rng(0).integers(3, 512, CONTEXT).tolist()
CLOSE = 2e-4  # of float32 logits of about 1, computed in another order


@pytest.fixture(scope="module")
def eager(tiny: Path) -> np.ndarray:
    """The logits after each token, by the module in PyTorch in one pass: [CONTEXT, vocabulary]."""
    with open_checkpoint(tiny) as checkpoint, torch.inference_mode():
        model: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        logits, _ = model(torch.tensor([TOKENS]), torch.arange(CONTEXT), model.empty_cache(CONTEXT))
        return logits[0].numpy()


def test_what_it_says_of_the_model(tiny_tflite: Path) -> None:
    with Session(tiny_tflite) as session:
        assert tuple(session.prefill_lengths) == (4, 16)
        assert (session.context_length, session.vocabulary) == (CONTEXT, 512)
        assert session.position == 0


@pytest.mark.parametrize("as_bytes", [False, True])
def test_the_cache_in_place_gives_the_logits_of_the_interpreter(
    as_bytes: bool, tiny_tflite: Path
) -> None:
    runner: Any = Interpreter(str(tiny_tflite)).get_signature_runner("decode")
    details = runner.get_input_details()
    cache = {n: np.zeros(d["shape"], "f4") for n, d in details.items() if n.startswith("kv")}
    with Session(tiny_tflite.read_bytes() if as_bytes else tiny_tflite) as session:
        for i, token in enumerate(TOKENS):
            inputs = {"tokens": np.array([[token]], "i4"), "input_pos": np.array([i], "i4")}
            cache = runner(**inputs, **cache)
            np.testing.assert_array_equal(session.decode(token), cache.pop("logits")[0, 0])


def test_decode_gives_the_logits_of_one_pass(tiny_tflite: Path, eager: np.ndarray) -> None:
    with Session(tiny_tflite) as session:
        found = np.stack([session.decode(token) for token in TOKENS])
    np.testing.assert_allclose(found, eager, atol=CLOSE)


@pytest.mark.parametrize("before", range(0, CONTEXT, 3))
def test_a_prefill_is_right_up_to_the_end_of_the_cache(
    before: int, tiny_tflite: Path, eager: np.ndarray
) -> None:
    """A padded chunk may reach past the end: all that fits must be right, history included."""
    with Session(tiny_tflite) as session:
        for count in {1, 3, 5, CONTEXT - 1 - before} - {0}:
            if before + count >= CONTEXT:
                continue
            session.reset()
            for token in TOKENS[:before]:
                session.decode(token)
            session.prefill(TOKENS[before : before + count])
            assert session.position == before + count
            for i in range(before + count, min(CONTEXT, before + count + 3)):
                np.testing.assert_allclose(session.decode(TOKENS[i]), eager[i], atol=CLOSE)


@pytest.mark.parametrize("mask", ["graph", "input"])
@pytest.mark.parametrize("length", [1, 7, CONTEXT])
def test_every_length_of_prefill(
    mask: str, length: int, tiny: Path, tmp_path: Path, eager: np.ndarray
) -> None:
    """All but the last token in chunks of one length, which do not divide the context."""
    output = tmp_path / "model.tflite"
    convert(tiny, output, Options("none", (length,), CONTEXT, mask=mask))
    with Session(output) as session:
        session.prefill(TOKENS[:-1])
        np.testing.assert_allclose(session.decode(TOKENS[-1]), eager[-1], atol=CLOSE)


def test_reset_forgets_the_text(tiny_tflite: Path, eager: np.ndarray) -> None:
    with Session(tiny_tflite) as session:
        session.prefill(TOKENS[::-1][:40])
        session.reset()
        assert session.position == 0
        session.prefill(TOKENS[:5])
        np.testing.assert_allclose(session.decode(TOKENS[5]), eager[5], atol=CLOSE)


def test_the_shortest_prefill_that_takes_the_rest_is_used(
    tiny_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    with Session(tiny_tflite) as session:
        inner = session._run

        def spy(signature: str, *rest: Any) -> None:
            used.append(signature)
            inner(signature, *rest)

        monkeypatch.setattr(session, "_run", spy)
        for count in (0, 1, 4, 5, 16, 17, 37):
            session.reset()
            used.append(str(count))
            session.prefill(TOKENS[:count])
    assert " ".join(used).replace("prefill_", "p") == (
        "0 1 p4 4 p4 5 p16 16 p16 17 p16 p4 37 p16 p16 p16"
    )


def test_a_text_that_is_too_long_is_refused(tiny_tflite: Path) -> None:
    with Session(tiny_tflite) as session:
        session.prefill(TOKENS)
        with pytest.raises(
            BundleError, match=r"^the text has 49 tokens; the model's cache holds 48"
        ):
            session.decode(1)
        session.reset()
        with pytest.raises(BundleError, match="the text has 49 tokens"):
            session.prefill([*TOKENS, 1])


def test_a_token_that_the_model_does_not_know_is_refused(tiny_tflite: Path) -> None:
    """EMBEDDING_LOOKUP would stop the process, or read something else."""
    with Session(tiny_tflite) as session:
        for step in (session.decode, lambda token: session.prefill([1, token])):
            with pytest.raises(BundleError, match="the token 512; the model knows 512"):
                step(512)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", "^the model: "),
        (lambda data: b"no model", "^the model: bytes 4 to 7 are b'odel'; b'TFL3' is needed"),
        (lambda data: data[:20_000], "^the model: .* cut off$"),
        (lambda data: data[:-1], "^the model: has weights at bytes .* cut off$"),
        (lambda data: data.replace(b"prefill_", b"prefixx_"), "^the model: has the signatures dec"),
        (lambda data: data.replace(b"decode", b"dec0de"), "^the model: has the signatures dec0de"),
        (
            lambda data: data.replace(b"\0logits", b"\0l0gits"),
            "^the model: decode has 4 .* 0 logits",
        ),
        (lambda data: data.replace(b"kv_cache", b"kv_cash_"), "^the model: decode has 0 caches"),
        (lambda data: data.replace(b"\0tokens", b"\0t0kens"), "decode: input tokens: is not there"),
        (
            lambda data: data.replace(b"prefill_16", b"prefill_32"),
            r"prefill_32: input tokens: int32 \[1, 16\]; needs int32 \[1, 32\]$",
        ),
        (
            lambda data: data.replace(b"\0input_pos", b"\0input_p0s"),
            "decode: input input_pos: is n",
        ),
    ],
)
def test_models_that_are_not_ours_are_refused(
    spoil: Any, message: str, tiny_tflite: Path, tmp_path: Path
) -> None:
    data = spoil(tiny_tflite.read_bytes())
    with pytest.raises(BundleError, match=message) as error:
        Session(data)
    assert "\n" not in str(error.value)
    path = tmp_path / "spoiled.tflite"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=str(path)):
        Session(path)


def test_what_litert_itself_refuses_is_one_line(tiny_tflite: Path, tmp_path: Path) -> None:
    """Also where it notices late, and would log when the model is taken down."""
    data = tiny_tflite.read_bytes()
    shape, other = (np.array([1, n, 64], "<i4").tobytes() for n in (4, 5))
    assert shape in data
    path = tmp_path / "spoiled.tflite"
    path.write_bytes(data.replace(shape, other))
    program = (
        "import sys; from pathlib import Path\n"
        "from taskpress.bundler import BundleError\n"
        "from taskpress.bundler.session import Session\n"
        "try:\n"
        "    with Session(Path(sys.argv[1])) as session:\n"
        "        session.prefill([1, 2, 3]); session.decode(1)\n"
        "except BundleError as error: print(error)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("LiteRT refuses the model: ")
    assert ran.stdout.count("\n") == 1
    assert ran.stderr == ""
