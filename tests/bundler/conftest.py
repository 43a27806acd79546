"""A checkpoint so small that a test can build it, with all that a folder of the Hub has."""

import json
import re
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from taskpress.bundler.build import Options, build, convert
from taskpress.bundler.cli import main
from taskpress.bundler.rebuild import sentencepiece_model
from taskpress.models._checkpoint import open_checkpoint
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "vocab_size": 512,
}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message.role != 'system' %}"
    "{{ '<|im_start|>system\nYou are small.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tensors_of(config: dict[str, Any], seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of a Llama, by the Hub's names; rows about 1 long, norms about 1."""
    hidden, inner, vocabulary = (
        config[key] for key in ("hidden_size", "intermediate_size", "vocab_size")
    )
    kv = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = {
            "self_attn.q_proj": (hidden, hidden),
            "self_attn.k_proj": (kv, hidden),
            "self_attn.v_proj": (kv, hidden),
            "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
            "input_layernorm": (hidden,),
            "post_attention_layernorm": (hidden,),
        }
        shapes |= {f"model.layers.{i}.{name}.weight": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocabulary, hidden)
    random = np.random.default_rng(seed)
    return {
        name: (random.standard_normal(shape) / shape[-1] ** 0.5 + (len(shape) == 1)).astype("f4")
        for name, shape in shapes.items()
    }


def write_tokenizer(folder: Path) -> None:
    """tokenizer.json and its like: byte-level BPE with lone digits and ChatML, as SmolLM2 has."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"],
        special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = (Path(sysconfig.get_paths()["stdlib"]) / "argparse.py").read_text(encoding="utf-8")
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"bos_token": SPECIAL[1], "eos_token": SPECIAL[2], "unk_token": SPECIAL[0]}
    write_json(folder / "tokenizer_config.json", {**named, "chat_template": TEMPLATE})
    write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder; not to be changed: `checkpoint` is a copy."""
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    folder.mkdir()
    write_json(folder / "config.json", CONFIG)
    save_file(tensors_of(CONFIG), folder / "model.safetensors")
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny: Path) -> bytes:
    """The folder's tokenizer as a SentencePiece model."""
    with open_checkpoint(tiny) as checkpoint:
        return sentencepiece_model(checkpoint)


@pytest.fixture
def tokenizer_file(tiny_tokenizer: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.model"
    path.write_bytes(tiny_tokenizer)
    return path


@pytest.fixture
def checkpoint(tiny: Path, tiny_tokenizer: bytes, tmp_path: Path) -> Path:
    """A copy to spoil. It has its tokenizer.model too, so that building it takes no time."""
    folder = Path(shutil.copytree(tiny, tmp_path / "checkpoint"))
    (folder / "tokenizer.model").write_bytes(tiny_tokenizer)
    return folder


@pytest.fixture(scope="session")
def tiny_task(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder's bundle: int8, prefill of 4 and 16, context 48."""
    output = tmp_path_factory.mktemp("task") / "tiny.task"
    build(tiny, output, Options(prefill_lengths=(4, 16), context_length=48))
    return output


@pytest.fixture(scope="session")
def tiny_tflite(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder's model in float32, prefill of 4 and 16, context 48."""
    output = tmp_path_factory.mktemp("tflite") / "tiny.tflite"
    convert(tiny, output, Options("none", prefill_lengths=(4, 16), context_length=48))
    return output


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


Taskpress = Callable[..., Ran]


@pytest.fixture
def taskpress(capfd: pytest.CaptureFixture[str]) -> Taskpress:
    """Runs the command line in this process; what native code prints is caught as well."""

    def run(*arguments: object) -> Ran:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        assert isinstance(code, int)
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def refused(taskpress: Taskpress, tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must fail: exit code 1, one line, nothing left. Gives the line.

    says: an expression that it must match.
    """

    def run(*arguments: object, says: str = "") -> str:
        before = sorted(tmp_path.rglob("*"))
        ran = taskpress(*arguments)
        assert ran.code == 1, ran
        assert ran.err.startswith("error: "), ran.err
        assert ran.err.count("\n") == 1, ran.err
        assert ran.err.endswith("\n"), ran.err
        assert sorted(tmp_path.rglob("*")) == before
        line = ran.err.removeprefix("error: ").rstrip("\n")
        assert re.search(says, line), line
        assert len(line) < 500
        return line

    return run
