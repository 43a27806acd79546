"""SmolLM2 in the real engine: each form of a bundle answers a chat of three turns as we do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from taskpress.bundler.build import Options, build
from taskpress.bundler.bundle import Bundle, read_bundle
from taskpress.bundler.packing import Packing, metadata_of, write_bundle
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER, Piece
from taskpress.bundler.run import Chat
from taskpress.bundler.settings import BundleSettings, parameters_for
from taskpress.bundler.tokenizer import load_tokenizer
from taskpress.models._checkpoint import open_checkpoint

CONTEXT = 512
QUESTIONS = ("What is the capital of France?", "And of Italy?", "Name a river there.")
SYSTEM = "Answer in one word."
FORMS = {
    "x.litertlm": Packing(),
    "litertlm.task": Packing(metadata="litertlm"),
    "both.task": Packing(metadata="both"),
}


@pytest.fixture(scope="module")
def bundles(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One conversion, straight into a .litertlm; the others are put together out of its parts."""
    folder = tmp_path_factory.mktemp("bundles")
    first = folder / "x.litertlm"
    build(smollm2_gguf, first, Options(prefill_lengths=(32, 128), context_length=CONTEXT))
    bundle = read_bundle(first)
    model = bundle.entries[MODEL]
    tokenizer = bundle.read(TOKENIZER)
    with open_checkpoint(smollm2_gguf) as checkpoint:
        text = parameters_for(checkpoint, tokenizer, BundleSettings())
    for name, packing in FORMS.items():
        described, _ = metadata_of(folder / name, text, tokenizer, CONTEXT, packing)
        parts = {
            MODEL: Piece(first, model.offset, model.size),
            TOKENIZER: tokenizer,
            METADATA: described,
        }
        if name == first.name:
            assert described == bundle.read(METADATA)
        else:
            write_bundle(folder / name, parts, packing)
    return {name: folder / name for name in FORMS}


@pytest.fixture(scope="module", params=FORMS)
def bundle(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Bundle:
    return read_bundle(bundles[request.param])


@pytest.fixture(scope="module")
def engine(bundle: Bundle) -> Iterator[Any]:
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    backend = litert_lm.Backend.CPU(thread_count=2)
    with litert_lm.Engine(str(bundle.path), backend=backend, max_num_tokens=CONTEXT) as opened:
        yield opened


def conversation(engine: Any, **options: Any) -> Any:
    import litert_lm

    greedy = litert_lm.SamplerConfig(top_k=1)
    return engine.create_conversation(sampler_config=greedy, **options)


def text_of(message: Any) -> str:
    return "".join(part["text"] for part in message.to_json()["content"])


@pytest.mark.parametrize("system", [None, SYSTEM])
def test_three_turns_have_the_same_tokens(bundle: Bundle, engine: Any, system: str | None) -> None:
    """The engine tells a turn's text, the ids of a text, and how many tokens it has fed so far."""
    options = {} if system is None else {"system_message": system}
    with Chat(bundle.path, system) as ours, conversation(engine, **options) as theirs:
        fed, start = 0, [engine.bos_token_id] if engine.bos_token_id >= 0 else []
        for question in QUESTIONS:
            rendered = theirs.render_message_to_string(question)
            answer = ours.ask(question)
            assert [*start, *engine.tokenize(rendered)] == list(answer.prompt_tokens)
            assert text_of(theirs.send_message(question)) == answer.text
            assert answer.ended_by == "<|im_end|>"
            fed += len(answer.prompt_tokens) + len(answer.tokens) + 1  # and the stop token
            assert theirs.token_count == fed
            start = []


@pytest.mark.parametrize("system", [None, SYSTEM])
def test_all_turns_have_the_tokens_of_the_hub_s_template(
    bundle: Bundle, smollm2_tokenizer: Any, system: str | None
) -> None:
    if bundle.path.name == "both.task":
        pytest.skip("its metadata has no place for a chat template; the build says what is lost")
    messages = [] if system is None else [{"role": "system", "content": system}]
    fed: list[int] = []
    with Chat(bundle.path, system) as chat:
        for question in QUESTIONS:
            answer = chat.ask(question)
            messages.append({"role": "user", "content": question})
            wanted = smollm2_tokenizer.apply_chat_template(messages, add_generation_prompt=True)
            fed += answer.prompt_tokens
            assert fed == wanted["input_ids"]
            fed += [*answer.tokens, smollm2_tokenizer.convert_tokens_to_ids(answer.ended_by)]
            messages.append({"role": "assistant", "content": answer.text})


def test_stop_tokens_are_one_id_each(bundle: Bundle, engine: Any) -> None:
    processor = load_tokenizer(bundle.read(TOKENIZER), "x").processor
    assert engine.eos_token_ids == [[processor.PieceToId("<|im_end|>")]]
