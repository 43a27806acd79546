"""The doctor against bundles with one fault each, and against good ones of two makers."""

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from broken_archives import archived, good_entries
from broken_bundles import FAULTS, Fault, Parts
from broken_models import edited_model, layers
from broken_sections import KIND, TEMPLATE, good_sections, llm_metadata, sectioned
from taskpress.bundler import BundleError, engines, hf_tokenizer, metadata
from taskpress.bundler.bundle import read_bundle
from taskpress.bundler.check_model import check_layers
from taskpress.bundler.cli import main
from taskpress.bundler.diagnosis import Diagnosis, diagnose
from taskpress.bundler.findings import ERROR, NOTE, WARNING
from taskpress.bundler.known_faults import KNOWN
from taskpress.bundler.known_model_faults import MODEL_KNOWN
from taskpress.bundler.operators import read_dense_layers
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from taskpress.bundler.trial import try_model

FIXTURES = Path(__file__).parent / "fixtures"
RUN = ("trial.", "model.", "operator.", "weights.")  # what a trial has to do with


@pytest.fixture(scope="module")
def parts(tiny_task: Path) -> Parts:
    bundle = read_bundle(tiny_task)
    return Parts(bundle.read(MODEL), bundle.read(TOKENIZER), bundle.parameters)


def codes(diagnosis: Diagnosis, *levels: str) -> set[str]:
    return {each.code for each in diagnosis.findings if each.level in levels}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.code}: {fault.title}")
def test_the_fault_is_named_and_no_other(fault: Fault, parts: Parts, tmp_path: Path) -> None:
    file = tmp_path / f"broken{fault.suffix}"
    file.write_bytes(fault.make(parts))
    found = diagnose(file, trial=fault.code.startswith(RUN))
    assert fault.code in codes(found, ERROR, WARNING), found
    assert codes(found, ERROR) <= {fault.code}, found


def test_there_are_faults_enough_and_each_is_known() -> None:
    assert len(FAULTS) >= 30
    assert len({fault.title for fault in FAULTS}) == len(FAULTS)
    assert {fault.code for fault in FAULTS} <= {*KNOWN, *MODEL_KNOWN}


@pytest.mark.parametrize("runtime", [None, *engines.RUNTIMES])
def test_a_bundle_of_ours_is_good(runtime: str | None, tiny_task: Path) -> None:
    found = diagnose(tiny_task, runtime)
    assert codes(found, ERROR) == set(), found
    # LiteRT-LM opens it, and gives the model other texts: see test_what_litert_lm_drops_of_prefixes
    lost = {"template.dropped", "template.start_repeated"}
    assert codes(found, WARNING) == (lost if runtime == "litert-lm-0.18" else set())
    assert codes(found, NOTE) == {"memory.needed", "trial.ran"}


def _with_template(message: Any) -> None:
    message.jinja_prompt_template = TEMPLATE
    message.start_token.token_ids.ids.append(1)  # instead of the text


@pytest.mark.parametrize("edit", [lambda message: None, _with_template])
def test_a_bundle_with_llm_metadata_is_good(edit: Callable, parts: Parts, tmp_path: Path) -> None:
    data = llm_metadata(parts, edit)
    sections, entries = good_sections(parts), good_entries(parts)
    sections["metadata"] = replace(sections["metadata"], data=data)
    entries[METADATA] = replace(entries[METADATA], data=data)
    (tmp_path / "x.litertlm").write_bytes(sectioned(sections.values()))
    (tmp_path / "x.task").write_bytes(archived(entries.values()))
    for name in ("x.litertlm", "x.task"):
        found = diagnose(tmp_path / name, "litert-lm-0.18")
        assert codes(found, ERROR, WARNING) == set(), found
    assert codes(diagnose(tmp_path / "x.litertlm", "mediapipe-0.10.x"), WARNING) == {"file.runtime"}


def test_a_litertlm_of_ours_is_good(taskpress: Callable, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.litertlm"
    built = taskpress(
        "build", tiny, "-o", file, "--prefill-lengths", "4,16", "--context-length", 48
    )
    assert built.code == 0, built
    found = diagnose(file)
    assert codes(found, ERROR, WARNING) == set(), found


def test_tokens_by_id_and_one_message_for_both_engines(parts: Parts, tmp_path: Path) -> None:
    entries = good_entries(parts)
    by_id = replace(parts.parameters, start_token="", start_token_id=1, stop_token_ids=(2,))
    both = llm_metadata(parts) + metadata.encode(by_id)
    for data in (metadata.encode(by_id), both):
        entries[METADATA] = replace(entries[METADATA], data=data)
        (tmp_path / "x.task").write_bytes(archived(entries.values()))
        for runtime in engines.RUNTIMES:
            found = diagnose(tmp_path / "x.task", runtime, trial=False)
            assert codes(found, ERROR) == set(), found
            assert codes(found, WARNING) <= {"template.dropped", "template.start_repeated"}
    unknown = metadata.encode(replace(by_id, stop_token_ids=(100_000,)))
    entries[METADATA] = replace(entries[METADATA], data=unknown)
    (tmp_path / "x.task").write_bytes(archived(entries.values()))
    assert codes(diagnose(tmp_path / "x.task", trial=False), ERROR) == {"metadata.token"}


@pytest.mark.parametrize("runtime", [None, *engines.RUNTIMES])
def test_a_model_of_ours_is_good(runtime: str | None, tiny_tflite: Path) -> None:
    found = diagnose(tiny_tflite, runtime)
    assert codes(found, ERROR, WARNING) == set(), found


def mediapipe_bundle(parts: Parts) -> bytes:
    """Our parts as mediapipe's bundler lays them out: Python's zipfile, zeros before each header.

    METADATA is what mediapipe 0.10.35 wrote for SmolLM2's tokens, which the tiny tokenizer has too.
    """
    made = json.loads((FIXTURES / "mediapipe_metadata.json").read_text())["made"]
    described = bytes.fromhex(made[3]["metadata"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (
            (MODEL, parts.model),
            (TOKENIZER, parts.tokenizer),
            (METADATA, described),
        ):
            out.write(bytes(4 - (out.tell() + 30 + len(name)) % 4))
            archive.start_dir = out.tell()
            archive.writestr(name, data)
    return out.getvalue()


def test_a_bundle_of_mediapipe_around_our_model_is_good(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "x.task").write_bytes(mediapipe_bundle(parts))
    found = diagnose(tmp_path / "x.task")
    assert codes(found, ERROR) == set(), found
    # its prefixes are written for the runtime to put the start token before them once more
    assert codes(found, WARNING) == {"template.start_repeated"}


def test_what_the_makers_of_the_fixture_left_out(tmp_path: Path) -> None:
    # mediapipe's own bundler wrote it, around a model without anything in it, and with the flag
    found = diagnose(FIXTURES / "mediapipe.task")
    expected = {"model.no_decode", "model.no_prefill", "metadata.bytes_to_unicode"}
    assert codes(found, ERROR) == expected


def test_it_goes_on_after_the_first_fault(parts: Parts, tmp_path: Path) -> None:
    fault = next(f for f in FAULTS if f.title == "the tokenizer is a tokenizer.json")
    broken = bytearray(fault.make(parts))
    broken[-1] = 7  # the end record's comment is longer than the file
    (tmp_path / "x.task").write_bytes(broken)
    (tmp_path / "y.tflite").write_bytes(fault.make(parts))
    assert "tokenizer.json" in codes(diagnose(tmp_path / "y.tflite", trial=False), ERROR)
    assert "file.kind" in codes(diagnose(tmp_path / "y.tflite", trial=False), ERROR)
    assert codes(diagnose(tmp_path / "x.task", trial=False), ERROR)


def test_the_command(
    taskpress: Callable, refused: Callable, tiny_task: Path, parts: Parts, tmp_path: Path
) -> None:
    good = taskpress("doctor", tiny_task)
    assert (good.code, good.err) == (0, "")
    assert good.out.startswith(f"{tiny_task}: task, for mediapipe-0.10.x: 2 notes\n")
    fault = next(f for f in FAULTS if f.code == "archive.compressed")
    (tmp_path / "x.task").write_bytes(fault.make(parts))
    bad = taskpress("doctor", tmp_path / "x.task", "--no-trial")
    assert (bad.code, bad.err) == (1, "")
    assert "error archive.compressed: METADATA: is compressed (method 8)\n" in bad.out
    assert "\n  says: Expected uncompressed zip archive.\n" in bad.out
    told = json.loads(taskpress("doctor", tmp_path / "x.task", "--no-trial", "--json").out)
    assert told["kind"] == "task"
    assert told["findings"][0]["code"] == "archive.compressed"
    assert set(told["findings"][0]) == {"code", "level", "where", "what", "why", "mend", "says"}
    refused("doctor", tmp_path / "none.task", says="cannot be read")


def test_a_terminal_gets_no_commands_of_the_file(
    taskpress: Callable, parts: Parts, tmp_path: Path
) -> None:
    data = edited_model(parts.model, lambda tree, weights: _rename_decode(tree, b"a\x1b[2Jb\n"))
    (tmp_path / "x.tflite").write_bytes(data)
    assert "\x1b" not in taskpress("doctor", tmp_path / "x.tflite").out


def _rename_decode(tree: object, name: bytes) -> None:
    for each in tree.signatureDefs:  # type: ignore[attr-defined]
        if each.signatureKey == b"decode":
            each.signatureKey = name


def test_mutated_models_end_in_a_finding(parts: Parts, tmp_path: Path) -> None:
    """What LiteRT makes of numbers that we cannot check stays in the process of the trial."""
    draw = random.Random(5)
    for number in range(25):
        model = bytearray(parts.model)
        for _ in range(3):
            model[draw.randrange(40_000)] = draw.randrange(256)
        file = tmp_path / f"{number}.tflite"
        file.write_bytes(model)
        found = diagnose(file)
        ran = [each for each in found.findings if each.code.startswith("trial.")]
        assert len(ran) == 1 or "model.damaged" in codes(found, ERROR), found


def test_a_process_that_dies_is_a_finding(
    parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.tflite").write_bytes(parts.model)
    size = len(parts.model)
    assert try_model(tmp_path / "x.tflite", 0, size).outcome == "ran"
    monkeypatch.setattr("taskpress.bundler.trial._SECONDS", 0.01)
    assert try_model(tmp_path / "x.tflite", 0, size).outcome == "hung"
    monkeypatch.undo()
    monkeypatch.setattr("taskpress.bundler.trial.available_memory_bytes", lambda: size)
    assert try_model(tmp_path / "x.tflite", 0, size).outcome == "skipped"
    monkeypatch.undo()
    monkeypatch.setattr("taskpress.bundler.trial.sys.executable", "/bin/false")
    assert try_model(tmp_path / "x.tflite", 0, size).outcome == "crashed"


def test_versions_of_operators_are_those_of_litert() -> None:
    """Asks LiteRT's own registry, by opening a model that names nothing but the operator."""
    known = engines.LITERT_LM.operators
    for name, number in vars(schema.BuiltinOperator).items():
        if name.isupper() and name in known:
            assert _opens(number, known[name]), name
            assert not _opens(number, known[name] + 1), name
        elif name.isupper() and name not in ("CUSTOM", "DELEGATE"):
            assert not _opens(number, 1), name


def _opens(operator: int, version: int) -> bool:
    model = schema.ModelT()
    model.version = 3
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = operator, min(operator, 127)
    code.version = version
    model.operatorCodes, model.buffers = [code], [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [], [], []
    model.subgraphs = [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    try:
        Interpreter(model_content=bytes(builder.Output()))
    except ValueError:
        return False
    return True


def _tanh(tree: object, weights: list[bytes]) -> None:
    for _, operator, _ in layers(tree):
        operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH


def _int4(tree: object, weights: list[bytes]) -> None:
    for _, _, tensor in layers(tree):
        tensor.type = schema.TensorType.INT4
        weights[tensor.buffer] = bytes(int(np.prod(tensor.shape)) // 2)


def _per_tensor(tree: object, weights: list[bytes]) -> None:
    for _, _, tensor in layers(tree):
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.01], [0]


def _as_it_is(tree: object, weights: list[bytes]) -> None:
    pass


@pytest.mark.parametrize("edit", [_as_it_is, _int4, _per_tensor, _tanh])
def test_what_leaves_the_delegate_is_what_litert_leaves(edit: Callable, parts: Parts) -> None:
    _compare_with_litert(edited_model(parts.model, edit))


@pytest.mark.parametrize(
    "fault", [f for f in FAULTS if f.code == "weights.off_delegate"], ids=lambda f: f.title
)
def test_what_leaves_the_delegate_of_the_faults(fault: Fault, parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "x.task").write_bytes(fault.make(parts))
    _compare_with_litert(read_bundle(tmp_path / "x.task").read(MODEL))


def _compare_with_litert(model: bytes) -> None:
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    delegated = {i for node in nodes if node["op_name"] == "DELEGATE" for i in node["inputs"]}
    dense = [node for node in nodes if node["op_name"] == "FULLY_CONNECTED"]
    outside = [node for node in dense if node["inputs"][1] not in delegated]
    found = list(check_layers(read_dense_layers(model, 0, len(model), "m")))
    assert bool(found) == bool(outside), (found, len(outside), len(dense))


def test_operators_that_the_engines_alone_have(parts: Parts, tmp_path: Path) -> None:
    def edit(tree: Any, weights: list[bytes]) -> None:
        for code in tree.operatorCodes:
            if code.builtinCode == schema.BuiltinOperator.DYNAMIC_UPDATE_SLICE:
                code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
                code.customCode = b"odml.update_kv_cache"

    (tmp_path / "x.tflite").write_bytes(edited_model(parts.model, edit))
    found = diagnose(tmp_path / "x.tflite")
    assert codes(found, ERROR, WARNING) == set(), found
    assert "trial.skipped" in codes(found, NOTE)


def test_a_template_of_endless_brackets(parts: Parts, tmp_path: Path) -> None:
    def edit(message: Any) -> None:
        message.jinja_prompt_template = "{{ " + "(" * 100_000

    sections = good_sections(parts)
    sections["metadata"] = replace(sections["metadata"], data=llm_metadata(parts, edit))
    (tmp_path / "x.litertlm").write_bytes(sectioned(sections.values()))
    found = diagnose(tmp_path / "x.litertlm", trial=False)
    assert codes(found, ERROR) == {"template.syntax"}, found


def test_the_document_has_all_findings() -> None:
    text = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    for code, known in {**KNOWN, **MODEL_KNOWN}.items():
        assert f"### {code}\n\n{known.level.capitalize()}: {known.why}." in text, code
        assert all(f"- `{said}`\n" in text for said in known.says), code
    for fault in FAULTS:
        assert f"| {fault.title} ({fault.suffix}) |" in text, fault.title


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        diagnose(tmp_path)


def test_the_engines_words_are_in_the_engine() -> None:
    """Those of LiteRT-LM, as far as they are one text in its library; the rest it puts together."""
    litert_lm = pytest.importorskip("litert_lm")
    library = (Path(litert_lm.__file__).parent / "liblitert-lm.so").read_bytes()
    for code in ("archive.compressed", "archive.bounds", "stop.none", "model.no_logits"):
        for text in {**KNOWN, **MODEL_KNOWN}[code].says:
            assert text.encode() in library, text


def test_what_litert_lm_drops_of_prefixes(tiny_task: Path, tmp_path: Path) -> None:
    """Only where it has no chat template, and only where the file is for it."""
    assert codes(diagnose(tiny_task, trial=False), WARNING) == set()
    found = diagnose(tiny_task, "litert-lm-0.18", trial=False)
    whats = [each.what for each in found.findings if each.code == "template.dropped"]
    assert len(whats) == 2
    assert whats[0].startswith("session_prefix 'system\\nYou are small.")
    assert whats[1] == "model_suffix: '\\n' behind an answer is never written"
    assert codes(found, WARNING) == {"template.dropped", "template.start_repeated"}
    output = tmp_path / "x.task"
    assert main(["repack", str(tiny_task), "-o", str(output), "--metadata", "litertlm"]) == 0
    assert codes(diagnose(output, "litert-lm-0.18", trial=False), WARNING) == set()


def _tokenizer_json(edit: Callable[[dict[str, Any]], None], parts: Parts) -> bytes:
    """The start and stop tokens of the tiny model, and a few words."""
    tokens = [parts.parameters.start_token, *parts.parameters.stop_tokens]
    names = ["id", "content", "special", "normalized", "lstrip", "rstrip", "single_word"]
    added = [
        dict(zip(names, (number, token, True, *[False] * 4), strict=True))
        for number, token in enumerate(dict.fromkeys(tokens), 26)
    ]
    words = {chr(97 + i): i for i in range(26)}
    document = {
        "version": "1.0",
        "added_tokens": added,
        "model": {"type": "BPE", "vocab": words, "merges": []},
    }
    edit(document)
    return hf_tokenizer.pack(json.dumps(document).encode())


def _with_more_tokens(document: dict[str, Any]) -> None:
    added = document["added_tokens"]
    first, last = added[-1]["id"] + 1, added[-1]
    added += [{**last, "id": first + i, "content": f"<{i}>"} for i in range(60_000)]


def _with_a_hole(document: dict[str, Any]) -> None:
    added = {token["content"]: token["id"] for token in document["added_tokens"]}
    document["model"]["vocab"] |= {**added, "behind": 40}


@pytest.mark.parametrize(
    ("edit", "said", "errors"),
    [
        (lambda document: None, lambda message: None, set()),
        (lambda document: document["added_tokens"].clear(), lambda message: None,
         {"start.unknown", "stop.several_ids"}),
        (_with_more_tokens, lambda message: None,
         {"tokenizer.vocabulary"}),
        (lambda document: None, lambda message: message.stop_tokens.add(token_str="b"),
         {"stop.ordinary"}),
        (lambda document: None, lambda message: message.stop_tokens.add(token_str="\n"),
         {"stop.white_space"}),
        (lambda document: None, lambda message: message.stop_tokens.add(
            token_ids={"ids": [9_999_999]}), {"metadata.token"}),
        (_with_a_hole, lambda message: message.stop_tokens.add(
            token_ids={"ids": [40]}), {"stop.ordinary"}),
    ],
)  # fmt: skip
def test_a_tokenizer_json_is_held_against_the_other_parts(
    edit: Callable[[dict[str, Any]], None],
    said: Callable[[Any], None],
    errors: set[str],
    parts: Parts,
    tmp_path: Path,
) -> None:
    sections = good_sections(parts)
    sections["metadata"] = replace(sections["metadata"], data=llm_metadata(parts, said))
    kind, data = KIND.HF_Tokenizer_Zlib, _tokenizer_json(edit, parts)
    sections["tokenizer"] = replace(sections["tokenizer"], kind=kind, data=data)
    (tmp_path / "x.litertlm").write_bytes(sectioned(sections.values()))
    found = diagnose(tmp_path / "x.litertlm", trial=False)
    assert codes(found, ERROR) == errors, found
