"""The bundles that the Android app's reader is tested on are what taskpress writes and shows.

The other half is `BundleInfoTest.kt` of android_sample, which compares what the app reads of the
same files with the same JSON. After a change that is meant, write them anew:
    .venv/bin/python tests/bundler/test_android_bundles.py
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from taskpress.bundler import both_metadata, llm_metadata
from taskpress.bundler.build import Options, build
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.cli import main
from taskpress.bundler.litertlm import write_litertlm
from taskpress.bundler.llm_metadata import LlmMetadata, Sampler
from taskpress.bundler.metadata import BundleParameters, Channel, encode
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from taskpress.bundler.settings import TextFormat
from taskpress.bundler.summary import summarize
from taskpress.bundler.task import write_task
from taskpress.bundler.templates import ChatFormat

ROOT = Path(__file__).parents[2]
RESOURCES = ROOT / "android_sample/app/src/test/resources"
TOKENIZER_OF = ROOT / "tests/bundler/fixtures/mediapipe.task"
CACHE = "kv_cache_k_0"
CONTEXT = 48

CHATML = BundleParameters(
    start_token="<|im_start|>",
    stop_tokens=("<|im_end|>", "<|endoftext|>"),
    user_prefix="user\n",
    user_suffix="<|im_end|>\n",
    model_prefix="<|im_start|>assistant\n",
    model_suffix="<|im_end|>\n<|im_start|>",
    system_prefix="system\n",
    system_suffix="<|im_end|>\n<|im_start|>",
    bytes_to_unicode=True,
)
SESSION = BundleParameters(
    start_token="<s>",
    stop_tokens=("</s>",),
    session_prefix="Antworte auf Deutsch: äöü \U0001f600\n",
    user_prefix="[INST] ",
    user_suffix=" [/INST]",
    user_role_token="<user>",
    system_role_token="<system>",
    model_role_token="<model>",
    end_role_token="<end>",
    stop_token_ids=(2, 300),
    suppressed_tokens=(7,),
    channels=(Channel("thought", "<think>", "</think>"),),
    vocab_size=22,
    num_draft_tokens=3,
)
PLAIN = BundleParameters(
    "<s>", ("</s>",), user_prefix="U ", user_suffix=" V", model_prefix="M ", model_suffix=" W"
)
LITERT_LM = LlmMetadata(
    max_num_tokens=CONTEXT, sampler=Sampler("top_k", k=40, p=0.95, temperature=0.8)
)
TOKEN_IDS = {"<s>": 1, "</s>": 2}  # of the tokenizer that the bundles have
METADATA_OF = {
    "chatml.task": lambda: encode(CHATML),
    "session.task": lambda: encode(SESSION),
    "litertlm.task": lambda: llm_metadata.encode(PLAIN, LITERT_LM, TOKEN_IDS.__getitem__),
    "both.task": lambda: both_metadata.encode(
        TextFormat(PLAIN, ChatFormat("<s>", "", "U ", " V", "M ", " W")),
        LITERT_LM,
        TOKEN_IDS.__getitem__,
    ),
    "small.litertlm": lambda: llm_metadata.encode(PLAIN, LITERT_LM, TOKEN_IDS.__getitem__),
}


def small_model() -> bytes:
    """A TFLite model without operators; its cache is [1, heads, context, head_dim]."""
    model = schema.ModelT()
    model.version = 3
    model.buffers, model.subgraphs, model.signatureDefs = [schema.BufferT()], [], []
    for number, (name, length) in enumerate({"prefill_16": 16, "decode": 1}.items()):
        graph = schema.SubGraphT()
        shapes = {"tokens": [1, length], CACHE: [1, 2, CONTEXT, 4]}
        graph.tensors, graph.inputs, graph.outputs = [], [0, 1], [1]
        for tensor_name, shape in shapes.items():
            tensor = schema.TensorT()
            tensor.name, tensor.shape = tensor_name.encode(), shape
            tensor.type = schema.TensorType.INT32 if tensor_name == "tokens" else 0
            graph.tensors.append(tensor)
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = name.encode(), number
        signature.inputs = [entry(key, at) for at, key in enumerate(shapes)]
        signature.outputs = [entry(CACHE, 1)]
        model.subgraphs.append(graph)
        model.signatureDefs.append(signature)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def entry(name: str, tensor: int) -> schema.TensorMapT:
    made = schema.TensorMapT()
    made.name, made.tensorIndex = name.encode(), tensor
    return made


def write(folder: Path) -> None:
    for name, metadata in METADATA_OF.items():
        entries = {
            MODEL: small_model(),
            TOKENIZER: read_bundle(TOKENIZER_OF).read(TOKENIZER),
            METADATA: metadata(),
        }
        writer = write_litertlm if name.endswith(".litertlm") else write_task
        writer(folder / name, entries, force=True)
        (folder / json_name(name)).write_text(inspected(folder, name), encoding="utf-8")


def json_name(name: str) -> str:
    return f"{name.replace('.', '-of-')}.json"


def inspected(folder: Path, name: str) -> str:
    """What `taskpress inspect --json` prints, run in the bundle's folder."""
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        assert main(["inspect", "--json", name]) == 0
    return printed.getvalue()


@pytest.mark.parametrize("name", METADATA_OF)
def test_taskpress_still_writes_and_shows_the_bundles(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    for path in (name, json_name(name)):
        assert (RESOURCES / path).read_bytes() == (tmp_path / path).read_bytes()


def test_the_json_holds_what_the_app_compares() -> None:
    for name, parameters in {"chatml.task": CHATML, "session.task": SESSION}.items():
        shown = json.loads((RESOURCES / json_name(name)).read_text(encoding="utf-8"))
        assert shown["parameters"]["user_prefix"] == parameters.user_prefix
        assert shown["parameters"]["stop_tokens"] == list(parameters.stop_tokens)
        shapes = [
            tensor["shape"]
            for signature in shown["model"]["signatures"]
            for tensor in signature["inputs"]
            if tensor["name"] == CACHE
        ]
        assert shapes == [[1, 2, CONTEXT, 4]] * 2


def test_a_built_bundle_has_its_cache_where_the_app_looks(tiny: Path, tmp_path: Path) -> None:
    build(tiny, tmp_path / "x.task", Options(prefill_lengths=(4,), context_length=CONTEXT))
    model = summarize(tmp_path / "x.task").model
    assert model is not None
    for signature in model.signatures:
        (cache,) = (tensor for tensor in signature.inputs if tensor.name == CACHE)
        assert len(cache.shape) == 4
        assert max(cache.shape[1:3]) == CONTEXT


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        write(Path(made))
        for file in Path(made).iterdir():
            (RESOURCES / file.name).write_bytes(file.read_bytes())
