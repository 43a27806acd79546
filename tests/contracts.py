"""What every architecture promises, measured on a tiny random one: `python tests/contracts.py`.

A configuration in tests/configs is a config.json of a real model type with tiny sizes; its name is
MODEL_TYPE.json, or MODEL_TYPE-VARIANT.json for another branch of the same file. Weights are random.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from openelm_reference import Reference as OpenElm
from safetensors.torch import save_file
from taskpress.converter.convert import Plan, plan_model, write_model
from taskpress.converter.signatures import decoder_signatures
from taskpress.models._checkpoint import Checkpoint, open_checkpoint
from taskpress.models._model import load_weights, model_without_weights

# Of decoders; for encoders and both together see encoder_contracts.py and
# encoder_decoder_contracts.py.
CONFIGS = sorted((Path(__file__).parent / "configs").glob("*.json"))
# Longer than any window and any original context in the configurations.
TEXT = 80
# The last chunk of a text of TEXT reaches past the end of a cache of CONTEXT.
LENGTHS = (7, 32)
CONTEXT = 84


@dataclass(frozen=True)
class Contract:
    """Largest absolute differences of logits or hidden states, and other figures.

    eager: to transformers; chunks: of prefill in chunks and decoding to one pass; tflite: of every
    float32 signature to eager; int8_kl: mean KL divergence of the int8 model, in nats; ops: of the
    first prefill and of decode; partitions: XNNPACK's, of the first prefill and of decode.
    """

    name: str
    parameters: int
    eager: float
    chunks: float
    tflite: float
    int8_kl: float
    ops: tuple[int, int]
    partitions: tuple[int, int]
    layers: int


@contextmanager
def random_model(config: Path) -> Iterator[tuple[Any, Checkpoint]]:
    """transformers' model of a configuration with random weights, and the checkpoint it saves."""
    values = json.loads(config.read_text())
    theirs = OpenElm(values) if values["model_type"] == "openelm" else _of_transformers(values)
    random_weights(theirs)
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(theirs, OpenElm):
            save_file(theirs.tensors(), Path(folder) / "model.safetensors")
        else:
            theirs.save_pretrained(folder)
        # Today's transformers rewrites some keys: what is tested is what people's files have.
        (Path(folder) / "config.json").write_text(json.dumps(values))
        with open_checkpoint(folder) as checkpoint:
            yield theirs, checkpoint


def random_weights(model: Any) -> Any:
    """The model, with the same random weights in each run."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        # Norms stay around what they start with: 1, or 0 where it is added to 1.
        center = float(parameter.detach().mean()) if parameter.dim() == 1 else 0.0
        torch.nn.init.normal_(parameter, center, 0.2)
    return model


def _of_transformers(values: dict[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = AutoConfig.for_model(**values)
    # transformers' eager attention adds ALiBi twice, to the mask and to the scores.
    attention = "sdpa" if values.get("alibi") else "eager"
    return AutoModelForCausalLM.from_config(settings, attn_implementation=attention).eval()


def tokens_of(checkpoint: Checkpoint) -> torch.Tensor:
    """A fixed random text: [1, TEXT]."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(int(checkpoint.config["vocab_size"]), (1, TEXT), generator=generator)


def one_pass(model: Any, tokens: torch.Tensor) -> np.ndarray:
    """Logits of a text in one call."""
    with torch.inference_mode():
        logits, _ = model(tokens, torch.arange(TEXT), model.empty_cache(CONTEXT))
    return logits[0].numpy()


def in_chunks(step: Callable[..., tuple[Any, Any]], cache: Any, tokens: np.ndarray) -> np.ndarray:
    """Logits of a text by step(length, tokens, positions, cache), the last ten by decoding."""
    rows, start = [], 0
    while start < TEXT:
        length = max(LENGTHS) if start + 10 < TEXT else 1
        count = min(length, TEXT - start)
        padded = np.zeros((1, length), np.int32)
        padded[0, :count] = tokens[0, start : start + count]
        positions = np.zeros(length, np.int32)
        positions[:count] = np.arange(start, start + count)
        logits, cache = step(length, padded, positions, cache)
        rows.append(logits[0, :count])
        start += count
    return np.concatenate(rows)


def eager_in_chunks(model: Any, tokens: np.ndarray, rings: bool = False) -> np.ndarray:
    def step(_: int, padded: np.ndarray, positions: np.ndarray, cache: Any) -> tuple[Any, Any]:
        with torch.inference_mode():
            logits, cache = model(torch.from_numpy(padded), torch.from_numpy(positions), cache)
        return logits.numpy(), cache

    longest = (max(LENGTHS),) if rings else ()
    return in_chunks(step, model.empty_cache(CONTEXT, *longest), tokens)


def lite_in_chunks(
    path: Path, tokens: np.ndarray, prefill: int, more: Mapping[str, np.ndarray] | None = None
) -> np.ndarray:
    """Logits from LiteRT's interpreter; the chunks go through prefill_{prefill}.

    more: inputs that are the same in all calls.
    """
    interpreter = Interpreter(str(path))
    runners: dict[int, Any] = {
        length: interpreter.get_signature_runner("decode" if length == 1 else f"prefill_{length}")
        for length in (1, prefill)
    }
    details = runners[1].get_input_details()
    cache = {n: np.zeros(d["shape"], np.float32) for n, d in details.items() if "cache" in n}

    def step(_: int, padded: np.ndarray, positions: np.ndarray, cache: Any) -> tuple[Any, Any]:
        rows, total = [], padded.shape[1]
        length = prefill if total > 1 else 1
        for start in range(0, total, length):
            part = slice(start, start + length)
            chunk, places = np.zeros((1, length), np.int32), np.zeros(length, np.int32)
            count = padded[:, part].shape[1]
            chunk[:, :count], places[:count] = padded[:, part], positions[part]
            if start and not places[0]:
                break  # only padding is left
            cache = runners[length](tokens=chunk, input_pos=places, **cache, **(more or {}))
            rows.append(cache.pop("logits")[:, :count])
        return np.concatenate(rows, 1), cache

    return in_chunks(step, cache, tokens)


def kl_divergence(expected: np.ndarray, logits: np.ndarray) -> float:
    """The mean over positions, in nats."""
    p, q = (torch.log_softmax(torch.from_numpy(x), -1) for x in (expected, logits))
    return float((p.exp() * (p - q)).sum(-1).mean())


def partitions(path: Path) -> int:
    """How many parts of the first signature XNNPACK takes."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    details = interpreter._get_ops_details()
    return Counter(op["op_name"] for op in details)["DELEGATE"]


def measure(config: Path, rings: bool = False) -> Contract:
    """All figures of one configuration; rings: with such caches where the model can have them."""
    with random_model(config) as (theirs, checkpoint), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        tokens = tokens_of(checkpoint)
        with torch.inference_mode():
            expected = theirs(tokens).logits[0].numpy()
        ours: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        eager = one_pass(ours, tokens)
        chunks = eager_in_chunks(ours, tokens.numpy(), rings)

        plan = _write(checkpoint, path, rings=rings)
        lite = [lite_in_chunks(path, tokens.numpy(), n) for n in LENGTHS]
        of_prefill = partitions(path)
        _write(checkpoint, path, only="decode", rings=rings)
        of_decode = partitions(path)
        _write(checkpoint, path, recipe="int8", rings=rings)
        int8 = lite_in_chunks(path, tokens.numpy(), max(LENGTHS))
        return Contract(
            name=config.stem,
            parameters=sum(p.numel() for p in ours.parameters()),
            eager=float(np.abs(eager - expected).max()),
            chunks=float(np.abs(chunks - eager).max()),
            tflite=max(float(np.abs(x - eager).max()) for x in lite),
            int8_kl=kl_divergence(eager, int8),
            ops=(len(plan.graphs[0].ops), len(plan.graphs[-1].ops)),
            partitions=(of_prefill, of_decode),
            layers=len(ours.empty_cache(CONTEXT)),
        )


def _write(
    checkpoint: Checkpoint,
    path: Path,
    recipe: str = "none",
    only: str | None = None,
    rings: bool = False,
) -> Plan:
    """Converts to a file, whose prefill signatures give logits too."""
    module: Any = model_without_weights(checkpoint)
    signatures = decoder_signatures(module, LENGTHS, CONTEXT, prefill_logits=True, rings=rings)
    signatures = [s for s in signatures if only in (None, s.name)]
    plan = plan_model(module, signatures, checkpoint.read_rows, recipe)
    with path.open("wb") as out:
        write_model(plan, checkpoint.read_rows, out)
    return plan


def main() -> None:
    from encoder_contracts import ENCODER_CONFIGS, SENTENCES, measure_encoder
    from encoder_decoder_contracts import ENCODER_DECODER_CONFIGS, measure_encoder_decoder

    chosen = [c for c in CONFIGS if not sys.argv[1:] or c.stem in sys.argv[1:]]
    encoders = [c for c in chosen if c in ENCODER_CONFIGS]
    both = [c for c in chosen if c in ENCODER_DECODER_CONFIGS]
    _print([measure(c) for c in chosen if c not in encoders + both])
    _print([measure_encoder(c, kind) for c in encoders for kind in SENTENCES])
    _print([measure_encoder_decoder(c) for c in both])


def _print(contracts: Sequence[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not contracts:
        return
    rows = [asdict(contract) for contract in contracts]
    table = Table(*(name.replace("_", " ") for name in rows[0]))
    for row in rows:
        table.add_row(*(_shown(name, value) for name, value in row.items()))
    Console(width=120).print(table)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5f}" if name == "int8_cosine" else f"{value:.1e}"
    if isinstance(value, tuple):
        return " / ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else value


if __name__ == "__main__":
    main()
