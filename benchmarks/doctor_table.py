"""What `taskpress doctor` finds in each broken bundle, and what the LiteRT-LM engine says of it.

`python benchmarks/doctor_table.py` prints the end of docs/doctor.md. The bundles are made of a tiny
Llama with random weights, the one of the tests. The engine is litert-lm-api 0.18.1 on the CPU,
in a process of its own for each file, as some of them crash it: it opens the file, prefills
"hello world", decodes until it stops or the cache is full, and renders a chat.
"""

import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from broken_archives import archived, good_entries
from broken_bundles import FAULTS, Fault, Parts
from broken_sections import good_sections, sectioned
from safetensors.numpy import save_file
from taskpress.bundler.build import Options, build
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.diagnosis import Diagnosis, diagnose
from taskpress.bundler.known_faults import KNOWN
from taskpress.bundler.known_model_faults import MODEL_KNOWN
from taskpress.bundler.parts import MODEL, TOKENIZER

PROMPT = "hello world"
CONTEXT_LENGTH = 48
SECONDS = 60
_SAYING = re.compile(  # what lines begin with that tell what went wrong
    r"Failed|Check failed|Section|Signature|Selected|Input|Output|No |Invalid|flatbuffer|Didn't|"
    r"Encountered|unsupported|Error|RuntimeError|[\w/.]+:\d+ filter|INTERNAL:|"
    r"FAILED_PRECONDITION:|terminate|Unimpl"
)
CONFTEST = Path(__file__).parents[1] / "tests" / "bundler" / "conftest.py"


def tiny_bundle(folder: Path) -> Path:
    """The bundle that the tests build: int8, prefill of 4 and 16."""
    tests: dict[str, Any] = runpy.run_path(str(CONFTEST))
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    tests["write_json"](checkpoint / "config.json", tests["CONFIG"])
    save_file(tests["tensors_of"](tests["CONFIG"]), checkpoint / "model.safetensors")
    tests["write_tokenizer"](checkpoint)
    options = Options(prefill_lengths=(4, 16), context_length=CONTEXT_LENGTH)
    with redirect_stdout(sys.stderr):  # it tells its size, and stdout is the table's
        build(checkpoint, folder / "tiny.task", options)
    return folder / "tiny.task"


def parts_of(bundle: Path) -> Parts:
    read = read_bundle(bundle)
    return Parts(read.read(MODEL), read.read(TOKENIZER), read.parameters)


def ask_engine(file: Path) -> None:
    """In a process of its own: prints what the engine answers and renders, in bytes."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    backend = litert_lm.Backend.CPU(thread_count=1)
    greedy = litert_lm.SamplerConfig(top_k=1)
    with litert_lm.Engine(str(file), backend, max_num_tokens=CONTEXT_LENGTH) as engine:
        with engine.create_session(apply_prompt_template=False, sampler_config=greedy) as session:
            session.run_prefill([PROMPT])
            try:
                answer = session.run_decode().texts[0].encode()
            except UnicodeDecodeError as error:  # random weights write no UTF-8
                answer = error.object
        with engine.create_conversation() as chat:
            answer += chat.render_message_to_string(PROMPT).encode()
    sys.stdout.buffer.write(answer)


def engine_says(file: Path, right: bytes | None = None) -> tuple[str, bytes]:
    """What happened, in the engine's own words where it has any, and what it answered."""
    command = [sys.executable, __file__, "--ask", str(file)]
    try:
        ran = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"hangs: no answer within {SECONDS} s", b""
    words = _words(ran.stderr.decode(errors="replace"))
    if ran.returncode == 0:
        same = "answers the same" if ran.stdout == right else "answers otherwise"
        return words or same, ran.stdout
    if ran.returncode < 0:
        return f"killed by signal {-ran.returncode}" + (f": {words}" if words else ""), b""
    return words, b""


def _words(log: str) -> str:
    """The lines of a log that say something, without times, threads and source lines."""
    found = []
    for line in log.splitlines():
        line = re.sub(r"^[EF]\d+ [\d:.]+ +\d+ ", "", line).removeprefix("└ ")
        line = re.sub(r"^[\w.]+\.cc:\d+\] ", "", line)
        line = re.sub(r"ERROR: \[[\w/.]+:\d+\] ?", "", line).removeprefix("ERROR: ").strip()
        said = _SAYING.match(line)
        if said and not line.startswith("RuntimeError: Failed to create LiteRT-LM engine"):
            found.append(line)
    told = [line for line in dict.fromkeys(found) if not _within(line, found)]
    if len(told) > 1:
        told = [line for line in told if not line.startswith("RuntimeError")]
    # the cause stands first, and may be told of many nodes
    return "; ".join(line.rstrip(":") for line in dict.fromkeys([*told[:2], *told[-2:]]))


def _within(line: str, lines: list[str]) -> bool:
    return any(line != other and line in other for other in lines)


def row(fault: Fault, diagnosis: Diagnosis, says: str) -> str:
    found = next((each for each in diagnosis.findings if each.code == fault.code), None)
    shown = f"{found.level} `{found.code}`" if found else "**not found**"
    words = "".join(c if c.isprintable() else repr(c)[1:-1] for c in says)
    cells = (f"{fault.title} ({fault.suffix})", shown, words)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def findings() -> Iterator[str]:
    """What is known of each finding, by its code."""
    for code, known in {**KNOWN, **MODEL_KNOWN}.items():
        yield f"\n### {code}\n\n{known.level.capitalize()}: {known.why}. To mend: {known.mend}."
        if known.says:
            yield "\n".join(["\nAn engine may say:\n", *(f"- `{text}`" for text in known.says)])


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = parts_of(tiny_bundle(folder))
        right = {}
        for suffix, data in (
            (".task", archived(good_entries(parts).values())),
            (".litertlm", sectioned(good_sections(parts).values())),
        ):
            good = folder / f"good{suffix}"
            good.write_bytes(data)
            right[suffix] = engine_says(good)[1]
            assert right[suffix], good
        print("\n## Broken files\n\n| fault | finding | LiteRT-LM 0.18.1 |")
        print("|---|---|---|")
        for number, fault in enumerate(FAULTS):
            file = folder / f"{number}{fault.suffix}"
            file.write_bytes(fault.make(parts))
            says, _ = engine_says(file, right[fault.suffix])
            print(row(fault, diagnose(file), says.replace(str(folder), "")), flush=True)
            for made in folder.glob(f"{number}{fault.suffix}*"):
                made.unlink()  # the engine leaves a cache beside it
    print("\n## All findings")
    print("\n".join(findings()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        ask_engine(Path(sys.argv[2]))
    else:
        main()
