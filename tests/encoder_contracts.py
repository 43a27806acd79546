"""What every encoder promises, with hidden states as its output and with two kinds of embeddings.

`python tests/contracts.py` prints it below the decoders' table.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from contracts import CONFIGS, partitions, random_weights, tokens_of
from safetensors.torch import save_file
from taskpress.converter.convert import plan_model, write_model
from taskpress.converter.signatures import encoder_signature
from taskpress.models import ENCODERS, model_type_of
from taskpress.models._checkpoint import Checkpoint, open_checkpoint
from taskpress.models._model import load_weights, model_without_weights

ENCODER_CONFIGS = [c for c in CONFIGS if model_type_of(json.loads(c.read_text())) in ENCODERS]
# Longer than TEXT, which is longer than any window in the configurations.
LENGTH = 90
DENSE = 40
POOLING = {
    "word_embedding_dimension": 64,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}
# What sentence-transformers writes behind an encoder: folder -> type and config.json. As in
# all-MiniLM-L6-v2; and all that there is, as in EmbeddingGemma, with the first token.
MEAN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "1_Pooling": ("Pooling", POOLING),
    "2_Normalize": ("Normalize", {}),
}
FIRST: Mapping[str, tuple[str, dict[str, Any]]] = {
    "1_Pooling": ("Pooling", {"embedding_dimension": 64, "pooling_mode": "cls"}),
    "2_Dense": (
        "Dense",
        {
            "in_features": 64,
            "out_features": DENSE,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    ),
    "3_Dense": (
        "Dense",
        {
            "in_features": DENSE,
            "out_features": 64,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    ),
    "4_Normalize": ("Normalize", {}),
}
SENTENCES = {"states": {}, "mean": MEAN, "first": FIRST}


@dataclass(frozen=True)
class EncoderContract:
    """Largest absolute differences of the output, and other figures.

    eager: to transformers, of a text alone and of a padded one; padding: of a padded text to the
    same alone; tflite: of the float32 signature to eager; int8_cosine: of the int8 signature's
    output to eager's, the least of three texts; ops, partitions: of the signature.
    """

    name: str
    parameters: int
    eager: float
    padding: float
    tflite: float
    int8_cosine: float
    ops: int
    partitions: int
    layers: int


@contextmanager
def random_encoder(config: Path, kind: str) -> Iterator[tuple[Any, Checkpoint]]:
    """What transformers' model makes of tokens and mask, and the checkpoint with random weights."""
    from transformers import AutoConfig, AutoModel

    values = json.loads(config.read_text())
    settings = AutoConfig.for_model(**values)
    theirs = random_weights(AutoModel.from_config(settings, attn_implementation="eager").eval())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(values))
        write_sentence(folder, SENTENCES[kind])

        def call(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                states = theirs(tokens, attention_mask=mask).last_hidden_state
            return sentence_of(states, mask, kind, folder)

        with open_checkpoint(folder) as checkpoint:
            yield call, checkpoint


def write_sentence(folder: Path, modules: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    """The files of sentence-transformers, with random weights; none for no modules."""
    if not modules:
        return
    entries = [("", "Transformer"), *((path, name) for path, (name, _) in modules.items())]
    written = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(entries)
    ]
    (folder / "modules.json").write_text(json.dumps(written))
    for path, (name, values) in modules.items():
        if values:
            (folder / path).mkdir()
            (folder / path / "config.json").write_text(json.dumps(values))
        if name == "Dense":
            tensors = {"linear.weight": torch.randn(values["out_features"], values["in_features"])}
            if values["bias"]:
                tensors["linear.bias"] = torch.randn(values["out_features"])
            save_file(tensors, folder / path / "model.safetensors")


def sentence_of(states: torch.Tensor, mask: torch.Tensor, kind: str, folder: Path) -> torch.Tensor:
    """What sentence-transformers makes of hidden states, by its documentation."""
    from safetensors.torch import load_file

    if kind == "states":
        return states[:, : int(mask.sum())]
    if kind == "mean":
        return F.normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))
    first, second = (load_file(folder / f"{n}_Dense" / "model.safetensors") for n in (2, 3))
    x = torch.tanh(states[:, 0] @ first["linear.weight"].T + first["linear.bias"])
    return F.normalize(x @ second["linear.weight"].T)


def padded(tokens: torch.Tensor, padding: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask of LENGTH, with this id as padding."""
    rest = LENGTH - tokens.shape[1]
    return F.pad(tokens, (0, rest), value=padding), F.pad(torch.ones_like(tokens), (0, rest))


def eager(model: Any, tokens: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """Our module's output, without the rows of padding."""
    with torch.inference_mode():
        (output,) = model(tokens, mask).values()
    return output[:, : int(mask.sum())].numpy() if output.dim() == 3 else output.numpy()


def lite(path: Path, texts: Sequence[torch.Tensor]) -> list[np.ndarray]:
    """The outputs of LiteRT's interpreter for padded texts, without the rows of padding."""
    runner: Any = Interpreter(str(path)).get_signature_runner("encode")
    found = []
    for text in texts:
        tokens, mask = (x.int().numpy() for x in padded(text, padding=5))
        (output,) = runner(tokens=tokens, mask=mask).values()
        found.append(output[:, : text.shape[1]] if output.ndim == 3 else output)
    return found


def measure_encoder(config: Path, kind: str) -> EncoderContract:
    """All figures of one configuration."""
    with random_encoder(config, kind) as (theirs, checkpoint), tempfile.TemporaryDirectory() as d:
        path = Path(d) / "model.tflite"
        whole = tokens_of(checkpoint)
        texts = [whole, whole[:, :7], whole[:, 3:4]]
        ours: Any = load_weights(model_without_weights(checkpoint), checkpoint.read_rows)
        alone = [eager(ours, text, torch.ones_like(text)) for text in texts]
        with_padding = [eager(ours, *padded(text, padding)) for text in texts for padding in (0, 9)]
        expected = [theirs(text, torch.ones_like(text)).numpy() for text in texts]
        expected_padded = [theirs(*padded(text, 0)).numpy() for text in texts]
        ops = write_encoder(checkpoint, path)
        in_float = lite(path, texts)
        count = partitions(path)
        write_encoder(checkpoint, path, "int8")
        in_int8 = lite(path, texts)
        return EncoderContract(
            name=f"{config.stem}, {kind}",
            parameters=sum(p.numel() for p in ours.parameters()),
            eager=max(difference(alone, expected), difference(with_padding[::2], expected_padded)),
            padding=max(difference(alone, with_padding[i::2]) for i in (0, 1)),
            tflite=difference(in_float, alone),
            int8_cosine=min(map(cosine, in_int8, alone)),
            ops=ops,
            partitions=count,
            layers=len(ours.kinds),
        )


def write_encoder(checkpoint: Checkpoint, path: Path, recipe: str = "none") -> int:
    """Converts to a file; returns the number of operators."""
    module: Any = model_without_weights(checkpoint)
    signature = encoder_signature(module, LENGTH)
    plan = plan_model(module, [signature], checkpoint.read_rows, recipe)
    with path.open("wb") as out:
        write_model(plan, checkpoint.read_rows, out)
    return len(plan.graphs[0].ops)


def difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(found, expected, strict=True))


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float((x * y).sum() / (np.linalg.norm(x) * np.linalg.norm(y)))
