"""unpack, repack and diff, on the tiny bundle that the other tests build."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from litert_lm_builder.runtime.proto import llm_metadata_pb2
from taskpress.bundler import BundleError
from taskpress.bundler.bundle import Bundle, read_bundle
from taskpress.bundler.cli import main
from taskpress.bundler.comparing import Difference, differences
from taskpress.bundler.litertlm import write_litertlm
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from taskpress.bundler.run import Chat
from taskpress.bundler.summary import summarize
from taskpress.bundler.unpacking import unpack

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def run() -> Callable[..., None]:
    """Runs a verb that succeeds."""

    def run(*arguments: object) -> None:
        assert main([str(argument) for argument in arguments]) == 0

    return run


@pytest.fixture(scope="module")
def forms(
    tiny_task: Path, run: Callable[..., None], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    """The tiny bundle in each form that repack makes of it."""
    folder = tmp_path_factory.mktemp("forms")
    run("repack", tiny_task, "-o", folder / "x.litertlm")
    run("repack", tiny_task, "-o", folder / "litertlm.task", "--metadata", "litertlm")
    run("repack", tiny_task, "-o", folder / "both.task", "--metadata", "both")
    names = ("x.litertlm", "litertlm.task", "both.task")
    return {"task": read_bundle(tiny_task)} | {name: read_bundle(folder / name) for name in names}


def test_the_parts_are_the_same_bytes(forms: dict[str, Bundle]) -> None:
    for bundle in forms.values():
        for name in (MODEL, TOKENIZER):
            assert bundle.read(name) == forms["task"].read(name)


def test_the_other_format_has_the_same_tokens(forms: dict[str, Bundle]) -> None:
    prompts = {}
    for name in ("task", "x.litertlm", "litertlm.task"):
        with Chat(forms[name].path) as chat:
            prompts[name] = chat.ask("a", 1).prompt_tokens
    assert len(set(prompts.values())) == 1


def test_there_and_back_changes_no_chat(
    forms: dict[str, Bundle], run: Callable[..., None], tmp_path: Path
) -> None:
    run("repack", forms["x.litertlm"].path, "-o", tmp_path / "back.task")
    back, first = read_bundle(tmp_path / "back.task").parameters, forms["task"].parameters
    assert (back.start_token, back.stop_tokens) == (first.start_token, first.stop_tokens)
    # where one prefix ends and the next begins is not told by the chats: the texts are
    assert back.session_prefix + back.user_prefix == first.session_prefix + first.user_prefix
    assert back.user_suffix + back.model_prefix == first.user_suffix + first.model_prefix
    assert back.model_suffix + back.user_prefix == first.model_suffix + first.user_prefix


def test_what_is_not_changed_keeps_its_bytes(
    forms: dict[str, Bundle], run: Callable[..., None], tmp_path: Path
) -> None:
    for name, bundle in forms.items():
        output = tmp_path / f"again-{name}{'.task' if name == 'task' else ''}"
        run("repack", bundle.path, "-o", output)
        assert output.read_bytes() == bundle.path.read_bytes()


def theirs(path: Path) -> llm_metadata_pb2.LlmMetadata:
    return llm_metadata_pb2.LlmMetadata.FromString(read_bundle(path).read(METADATA))


def test_metadata_is_changed(
    forms: dict[str, Bundle], run: Callable[..., None], tmp_path: Path
) -> None:
    output = tmp_path / "out.litertlm"
    run(
        "repack", forms["x.litertlm"].path, "-o", output, "--temperature", "0.5", "--top-k", "7",
        "--model-type", "qwen3",
    )  # fmt: skip
    message = theirs(output)
    assert message.sampler_params.k == 7
    assert message.llm_model_type.WhichOneof("model_type") == "qwen3"
    before = theirs(forms["x.litertlm"].path)
    assert message.jinja_prompt_template == before.jinja_prompt_template
    run("repack", output, "-o", tmp_path / "2.litertlm", "--stop-token", "<|endoftext|>")
    again = read_bundle(tmp_path / "2.litertlm")
    assert again.parameters.stop_tokens == ("<|endoftext|>",)
    assert again.llm_metadata is not None
    assert again.llm_metadata.sampler is not None
    assert again.llm_metadata.sampler.k == 7


def test_a_token_that_there_is_not_is_refused(refused: Refused, forms: dict[str, Bundle]) -> None:
    path = forms["task"].path
    output = path.with_name("refused.task")
    refused("repack", path, "-o", output, "--stop-token", "<none>", says="'<none>' is .* ids")
    refused("repack", path, "-o", output, "--top-k", "3", says="is for LiteRT-LM; give --metadata")
    refused("repack", path, "-o", path, says="exists; give another name")
    assert not output.exists()


@pytest.mark.parametrize("name", ["task", "x.litertlm"])
def test_unpacked_files_are_the_parts(forms: dict[str, Bundle], name: str, tmp_path: Path) -> None:
    bundle = forms[name]
    files = unpack(bundle.path, tmp_path / "out")
    assert {file.name for file in files} == {
        f"{MODEL}.tflite", f"{TOKENIZER}.model", f"{METADATA}.pb", f"{METADATA}.json",
    }  # fmt: skip
    for part, ending in ((MODEL, ".tflite"), (TOKENIZER, ".model"), (METADATA, ".pb")):
        assert (tmp_path / "out" / f"{part}{ending}").read_bytes() == bundle.read(part)
    described = json.loads((tmp_path / "out" / f"{METADATA}.json").read_text())
    assert described["parameters"]["stop_tokens"] == list(bundle.parameters.stop_tokens)
    with pytest.raises(BundleError, match="out: exists; name a folder that does not"):
        unpack(bundle.path, tmp_path / "out")


def test_a_damaged_part_leaves_no_folder(forms: dict[str, Bundle], tmp_path: Path) -> None:
    data = bytearray(forms["task"].path.read_bytes())
    data[forms["task"].entries[MODEL].offset + 5000] ^= 1
    (tmp_path / "x.task").write_bytes(data)
    with pytest.raises(BundleError, match="TF_LITE_PREFILL_DECODE: its CRC-32 is not the one"):
        unpack(tmp_path / "x.task", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["x.task"]


def test_differences(forms: dict[str, Bundle], run: Callable[..., None], tmp_path: Path) -> None:
    task = forms["task"].path
    assert list(differences(task, task)) == []
    found = {each.where for each in differences(task, forms["x.litertlm"].path)}
    assert {"format", "metadata: chat_template"} <= found
    assert MODEL not in found
    run("repack", task, "-o", tmp_path / "y.task", "--stop-token", "<|endoftext|>")
    assert list(differences(task, tmp_path / "y.task")) == [
        Difference("metadata: stop_tokens", "('<|im_end|>',)", "('<|endoftext|>',)")
    ]


def test_what_a_header_says_of_a_section_is_a_difference(
    forms: dict[str, Bundle],
    run: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = forms["x.litertlm"]
    parts = {name: plain.read(name) for name in plain.entries}
    said = tmp_path / "said.litertlm"
    write_litertlm(said, parts, items={MODEL: {"backend_constraint": "cpu"}})
    where = f"{MODEL}: backend_constraint"
    assert list(differences(plain.path, said)) == [Difference(f"header: {where}", "none", "'cpu'")]
    run("repack", said, "-o", tmp_path / "again.litertlm", "--model-suffix", "<|im_end|>\n")
    kept = [each.where for each in differences(said, tmp_path / "again.litertlm")]
    assert f"header: {where}" not in kept
    run("repack", said, "-o", tmp_path / "x.task")
    assert f"note: header: {where} 'cpu': not carried over\n" in capsys.readouterr().out


def test_differing_models_and_tokenizers(forms: dict[str, Bundle], tmp_path: Path) -> None:
    task = forms["task"]
    data = bytearray(task.path.read_bytes())
    at = task.entries[TOKENIZER].offset + task.read(TOKENIZER).index(b"<|im_end|>")
    data[at : at + 10] = b"<|IM_END|>"
    (tmp_path / "x.task").write_bytes(data)
    with pytest.raises(BundleError, match="CRC-32"):  # it is read to tell the pieces
        list(differences(task.path, tmp_path / "x.task"))


def test_the_exit_code_of_diff(
    forms: dict[str, Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    from taskpress.bundler.cli import main

    task, other = str(forms["task"].path), str(forms["both.task"].path)
    assert main(["diff", task, task]) == 0
    assert capsys.readouterr().out == ""
    assert main(["diff", task, other, "--json"]) == 1
    assert {"where", "first", "second"} == set(json.loads(capsys.readouterr().out)[0])


def test_a_tokenizer_json_is_bundled_as_it_is(
    tiny: Path, refused: Refused, run: Callable[..., None], tmp_path: Path
) -> None:
    output, sizes = tmp_path / "x.litertlm", ("--prefill-lengths", 4, "--context-length", 48)
    form = ("--tokenizer-form", "json")
    run("build", tiny, "-o", output, *sizes, *form, "--no-smoothing")
    bundle = read_bundle(output)
    assert (bundle.parameters.start_token, bundle.parameters.stop_tokens) == (
        "<|im_start|>", ("<|im_end|>",),
    )  # fmt: skip
    unpack(output, tmp_path / "out")
    unpacked = json.loads((tmp_path / "out" / "HF_TOKENIZER.json").read_bytes())
    assert unpacked == json.loads((tiny / "tokenizer.json").read_bytes())
    tokenizer = summarize(output).tokenizer
    assert tokenizer is not None
    assert (tokenizer.model_type, tokenizer.vocabulary) == ("tokenizer.json", 512)
    assert "tokenizer.json, " in summarize(output).table()
    run("repack", output, "-o", tmp_path / "again.litertlm")
    assert (tmp_path / "again.litertlm").read_bytes() == output.read_bytes()
    says = "has a tokenizer.json, and no TOKENIZER_MODEL"
    refused("repack", output, "-o", tmp_path / "y.task", says=says)
    says = "a .task holds a SentencePiece model; a tokenizer.json needs a .litertlm"
    refused("build", tiny, "-o", tmp_path / "y.task", *sizes, *form, says=says)
    refused("run", output, "hi", says="has no TOKENIZER_MODEL; a SentencePiece model is needed")


def test_a_file_without_an_llm_shows_its_parts(tmp_path: Path) -> None:
    from litert_lm_builder import LitertLmFileBuilder, TfLiteModelType

    (tmp_path / "m.tflite").write_bytes(b"model")
    builder = LitertLmFileBuilder()
    builder.add_tflite_model(str(tmp_path / "m.tflite"), TfLiteModelType.TEXT_ENCODER)
    with (tmp_path / "x.litertlm").open("wb") as out:
        builder.build(out)
    summary = summarize(tmp_path / "x.litertlm")
    assert [entry.name for entry in summary.entries] == ["TF_LITE_TEXT_ENCODER"]
    assert summary.model is None
    assert [path.name for path in unpack(tmp_path / "x.litertlm", tmp_path / "out")] == [
        "TF_LITE_TEXT_ENCODER.tflite"
    ]


def test_what_is_not_asked_for_stays(
    forms: dict[str, Bundle], run: Callable[..., None], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Of a file of others: a template that no prefixes can write, a field that we do not know."""
    bundle = forms["x.litertlm"]
    message = theirs(bundle.path)
    message.jinja_prompt_template = "{% for m in messages %}{{ m.content[::-1] }}{% endfor %}"
    message.min_runtime_version = "0.17.0"
    message.kv_cache_init_value = 3
    message.llm_model_type.qwen3.SetInParent()
    parts = {name: bundle.read(name) for name in bundle.entries}
    parts[METADATA] = message.SerializeToString()
    write_litertlm(tmp_path / "theirs.litertlm", parts)
    run("repack", tmp_path / "theirs.litertlm", "-o", tmp_path / "x.litertlm", "--top-k", "9")
    assert "METADATA: field 10: not carried over" in capsys.readouterr().out
    found = theirs(tmp_path / "x.litertlm")
    assert found.jinja_prompt_template == message.jinja_prompt_template
    assert found.min_runtime_version == "0.17.0"
    assert found.llm_model_type.WhichOneof("model_type") == "qwen3"
    assert found.sampler_params.k == 9
    again = ("repack", tmp_path / "x.litertlm", "-o", tmp_path / "y.litertlm")
    run(*again, "--model-type", "generic_model")
    found = theirs(tmp_path / "y.litertlm")
    assert found.llm_model_type.WhichOneof("model_type") == "generic_model"
    assert found.sampler_params.k == 9
