"""A real GGUF file: SmolLM2's, against the gguf package and transformers' own loader."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from taskpress.models import architecture
from taskpress.models._checkpoint import check_tensors, open_checkpoint
from taskpress.models._config import read_config
from taskpress.models._gguf import GgufFile


def test_smollm2_as_the_gguf_package_reads_it(smollm2_gguf: Path) -> None:
    other = gguf.GGUFReader(smollm2_gguf)
    reader = GgufFile(smollm2_gguf)
    expected = {key: field.contents() for key, field in other.fields.items()}
    assert reader.metadata == {k: v for k, v in expected.items() if not k.startswith("GGUF.")}
    assert list(reader.tensors) == [tensor.name for tensor in other.tensors]
    for one in other.tensors:
        values = gguf.dequantize(one.data, one.tensor_type)
        np.testing.assert_array_equal(
            reader.read_rows(one.name, np.arange(values.shape[0])), values, one.name
        )
    reader.close()


def test_opening_smollm2_takes_little_memory(smollm2_gguf: Path) -> None:
    # not ru_maxrss, which a new process inherits from the one that started it
    script = (
        "import re, sys, gguf; from pathlib import Path; "
        "from taskpress.models._gguf import GgufFile\n"
        "def peak(): return int(re.search('VmHWM: *(.+) kB', Path('/proc/self/status').read_text())"
        "[1])\nbefore = peak(); file = GgufFile(Path(sys.argv[1])); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, smollm2_gguf], capture_output=True, text=True, check=True
    )
    kilobytes = int(done.stdout)
    assert 1_000 < kilobytes < 40_000, f"{kilobytes} KB; 12 MB were measured, GGUFReader takes 160"


def test_smollm2_as_transformers_loads_it(smollm2_gguf: Path, smollm2_transformers: Any) -> None:
    other = smollm2_transformers
    state = other.state_dict()
    with open_checkpoint(smollm2_gguf) as checkpoint:
        assert checkpoint.config["tie_word_embeddings"] is True
        assert checkpoint.tensors.keys() == state.keys() - {"lm_head.weight"}
        for name in checkpoint.tensors:
            np.testing.assert_array_equal(
                checkpoint.read_rows(name, 0, len(state[name])), state[name].numpy(), name
            )
        config = read_config(checkpoint.config, architecture("llama").Config, "SmolLM2")
        check_tensors(
            checkpoint,
            {name: tuple(tensor.shape) for name, tensor in state.items()},
            "models/llama.py",
            {"lm_head.weight": "model.embed_tokens.weight"},
        )
    for key in ("hidden_size", "num_key_value_heads", "head_dim", "max_position_embeddings"):
        assert getattr(config, key) == getattr(other.config, key)
    assert config.rope_theta == other.config.rope_parameters["rope_theta"]
    assert np.float32(config.rms_norm_eps) == np.float32(other.config.rms_norm_eps)


def test_the_metadata_needs_neither_torch_nor_an_architecture(smollm2_gguf: Path) -> None:
    script = (
        "import sys; from taskpress.models._checkpoint import open_checkpoint; "
        f"checkpoint = open_checkpoint({str(smollm2_gguf)!r}); "
        "print(len(checkpoint.metadata['tokenizer.ggml.tokens']), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["49152", "False"]
