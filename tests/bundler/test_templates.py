import time
from collections.abc import Sequence
from datetime import date

import pytest
from taskpress.bundler import BundleError
from taskpress.bundler.metadata import BundleParameters
from taskpress.bundler.render import Refused, render
from taskpress.bundler.templates import ChatFormat, read_template

NAMED = {"bos_token": "<s>", "eos_token": "</s>"}
ADDED = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im", "\n", "<turn>", "<end>", "[INST]")

LOOP = "{% for m in messages %}"
END = "{% endfor %}"
# of the shapes that the Hub's templates have
SMOLLM2 = (
    LOOP
    + "{% if loop.first and m['role'] != 'system' %}"
    + "{{ '<|im_start|>system\nYou are SmolLM<|im_end|>\n' }}{% endif %}"
    + "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    + END
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHATML = SMOLLM2.replace("loop.first", "false")
DATED = (
    "{{ bos_token }}{% if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}"
    "{% else %}{% set today = '26 Jul 2024' %}{% endif %}"
    "{% if messages[0].role == 'system' %}"
    "{% set system = messages[0].content|trim %}{% set messages = messages[1:] %}"
    "{% else %}{% set system = '' %}{% endif %}"
    "{{ '<turn>system: ' + today + '\n' + system + '<end>' }}"
    + LOOP
    + "{{ '<turn>' + m.role + '\n' + m.content|trim + '<end>' }}"
    + END
    + "{% if add_generation_prompt %}{{ '<turn>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% set first = '' %}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
    + LOOP
    + "{{ '<turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    + "{{ (first if loop.first else '') + m.content|trim + '<end>\n' }}"
    + END
    + "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
LLAMA2 = (
    LOOP
    + "{% if m.role == 'system' %}{{ raise_exception('Only user and assistant roles!') }}"
    + "{% elif m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
    + "{% else %}{{ m.content + eos_token }}{% endif %}"
    + END
)
ZEPHYR = (
    LOOP
    + "{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}"
    + "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    + END
)
WRITTEN_BY_THE_NEXT = (  # what ends a turn
    "{{ bos_token }}"
    + LOOP
    + "{% if not loop.first %}{{ '\n\n' }}{% endif %}{{ m.role + ': ' + m.content }}"
    + END
    + "{% if add_generation_prompt %}{{ '\n\nassistant: ' }}{% endif %}"
)


def pieces(template: str) -> ChatFormat:
    return read_template(template, NAMED, ADDED)


def test_smollm2_has_its_default_system_message_as_session_prefix() -> None:
    assert pieces(SMOLLM2) == ChatFormat(
        start_token="<|im_start|>",
        session_prefix="system\nYou are SmolLM<|im_end|>\n",
        user_prefix="<|im_start|>user\n",
        user_suffix="<|im_end|>\n",
        model_prefix="<|im_start|>assistant\n",
        model_suffix="<|im_end|>\n",
        system_prefix="system\n",
        system_suffix="<|im_end|>\n",
        stops=("<|im_end|>",),
    )


def test_without_one_the_repeated_start_token_moves_to_the_end_of_what_is_before() -> None:
    assert pieces(CHATML) == ChatFormat(
        start_token="<|im_start|>",
        session_prefix="",
        user_prefix="user\n",
        user_suffix="<|im_end|>\n",
        model_prefix="<|im_start|>assistant\n",
        model_suffix="<|im_end|>\n<|im_start|>",
        system_prefix="system\n",
        system_suffix="<|im_end|>\n<|im_start|>",
        stops=("<|im_end|>",),
    )


def test_a_dated_template_takes_its_own_date_or_the_one_given() -> None:
    found = pieces(DATED)
    assert found.session_prefix == "<turn>system: 26 Jul 2024\n<end>"
    assert found.system_prefix == "<turn>system: 26 Jul 2024\n"
    assert (found.start_token, found.stops) == ("<s>", ("<end>",))
    dated = read_template(DATED, NAMED, ADDED, today=date(2031, 2, 3))
    assert dated.session_prefix == "<turn>system: 03 Feb 2031\n<end>"


def test_a_system_message_inside_the_first_turn_is_said_to_be_so() -> None:
    found = pieces(GEMMA)
    assert (found.user_prefix, found.model_prefix) == ("<turn>user\n", "<turn>model\n")
    assert (found.system_prefix, found.system_suffix) == ("", "")
    assert found.no_system is not None
    assert "a system message changes how the chat or the first turn begins" in found.no_system


def test_a_start_token_in_each_turn_and_a_refused_system_message() -> None:
    found = pieces(LLAMA2)
    assert (found.start_token, found.user_prefix, found.user_suffix) == (
        "<s>",
        "[INST] ",
        " [/INST]",
    )
    assert (found.model_prefix, found.model_suffix) == ("", "</s><s>")
    assert found.no_system is not None
    assert found.no_system.endswith("system message: Only user and assistant roles!")


def test_bos_where_the_template_begins_with_no_special_token_is_noted() -> None:
    found = pieces(ZEPHYR)
    assert (found.start_token, found.user_prefix) == ("<s>", "<|user|>\n")
    assert found.system_prefix == "<|system|>\n"
    assert len(found.notes) == 1
    assert "one token more than the template's" in found.notes[0]


def test_what_ends_a_turn_may_be_written_by_the_next() -> None:
    found = pieces(WRITTEN_BY_THE_NEXT)
    assert (found.user_prefix, found.user_suffix) == ("user: ", "\n\nassistant: ")
    assert (found.model_prefix, found.model_suffix) == ("", "\n\n")
    assert (found.system_prefix, found.system_suffix) == ("system: ", "\n\n")


def test_a_start_token_that_is_given_is_taken() -> None:
    assert read_template(GEMMA, NAMED, (), start_token="<s>").start_token == "<s>"
    found = read_template(GEMMA, NAMED, ADDED, start_token="<bos>")
    assert found.start_token == "<bos>"
    assert found.user_prefix == "<turn>user\n"
    assert found.session_prefix == "<s>"
    assert found.notes


ROLES = ("user", "assistant") * 3


def chat(words: Sequence[str], system: str | None) -> list[dict[str, str]]:
    first = [] if system is None else [{"role": "system", "content": system}]
    return first + [{"role": r, "content": w} for r, w in zip(ROLES, words, strict=False)]


@pytest.mark.parametrize("template", [SMOLLM2, CHATML, DATED, WRITTEN_BY_THE_NEXT])
def test_the_pieces_write_what_transformers_writes(template: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = template.replace("strftime_now is defined", "false")
    found = pieces(template)
    for count in (1, 3, 5):
        for system in (None, "Answer in verse."):
            messages = chat(["Hi!", "Hello.\nYou?", "2 < 3?", "Yes & no", "ok"][:count], system)
            (theirs,), _ = render_jinja_template(
                [messages], chat_template=template, add_generation_prompt=True, **NAMED
            )
            assert found.start_token + found.chat(messages) == theirs


def test_parameters_have_a_session_prefix_or_a_system_prefix() -> None:
    assert pieces(SMOLLM2).parameters(["<|im_end|>"]) == BundleParameters(
        start_token="<|im_start|>",
        stop_tokens=("<|im_end|>",),
        session_prefix="system\nYou are SmolLM<|im_end|>\n",
        user_prefix="<|im_start|>user\n",
        user_suffix="<|im_end|>\n",
        model_prefix="<|im_start|>assistant\n",
        model_suffix="<|im_end|>\n",
    )
    assert pieces(ZEPHYR).parameters(["</s>"]).system_prefix == "<|system|>\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% if %}", r"TemplateSyntaxError: Expected an expression.*; mend it, or give"),
        ("{{ raise_exception('never') }}", "refuses a chat of 5 messages: never"),
        ("{{ messages[9].content }}", "refuses a chat of 5 messages: .* has no "),
        ("{{ 1 / 0 }}", "refuses a chat of 5 messages: division by zero"),
        ("{{ strftime_now('%Y') }}", "refuses .*'strftime_now' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "refuses .* unsafe"),
        ("{{ messages.append(1) }}", "refuses .* unsafe|refuses .* not callable"),
        ("hello", "drops, repeats or moves messages"),
        ("{{ messages }}{{ messages }}", "drops, repeats or moves messages"),
        (LOOP + "{{ loop.index ~ m.content }}" + END, "its turns differ"),
        (LOOP + "{{ m.content }}" + END, "begins with no special token, and the tokenizer has no"),
        (
            "<s>" + LOOP + "{{ m.role ~ (m.content|upper if '?' in m.content else m.content) }}"
            + END + "{{ 'assistant' if add_generation_prompt }}",
            r"cannot write its chat of 1 turns: at character 8 it has 'HAT IS 2 \+ 2\?assistant', "
            r"they 'hat is 2 \+ 2\?assistant'; give the prefixes",
        ),
    ],
)  # fmt: skip
def test_templates_that_cannot_be_taken(template: str, message: str) -> None:
    with pytest.raises(BundleError, match=f"^chat template: .*{message}") as caught:
        read_template(template, {}, ("<s>",))
    assert "\n" not in str(caught.value)


USER = [({"role": "user", "content": "x"},)]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ 'x' * 10 ** 12 }}", "MemoryError"),
        (
            "{% set n = namespace(x='ab') %}"
            "{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "MemoryError",
        ),
        ("{% for i in range(99999) %}abcdef{% endfor %}", "writes more than 262144 characters"),
        ("{{" + "-" * 100_000 + "1 }}", "RecursionError"),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "takes more than 5 s or 512 MiB to render",
        ),
    ],
)
def test_greedy_templates_are_bounded(template: str, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(BundleError, match=f"^chat template: .*{message}"):
        render(template, [(USER[0], True)], {})
    assert time.monotonic() - began < 60


def test_a_large_range_is_refused_by_the_sandbox() -> None:
    (refused,) = render("{% for i in range(10 ** 6) %}{% endfor %}", [(USER[0], True)], {})
    assert isinstance(refused, Refused)
    assert "Range too big" in refused.reason


def test_the_settings_are_those_of_transformers() -> None:
    template = (
        "  {% for i in range(9) %}\n{{ i }}{% if i == 1 %}{% break %}{% endif %}\n{% endfor %}\n"
        "{% generation %}{{ messages[0]|tojson }}{{ ['é', '<']|tojson(indent=1) }}"
        "{% endgeneration %}{{ tools is none }}{{ missing is defined }}{{ bos_token }}"
    )
    (ours,) = render(template, [(USER[0], True)], {"bos_token": "<s>"})
    from transformers.utils.chat_template_utils import render_jinja_template

    (theirs,), _ = render_jinja_template(
        [list(USER[0])], chat_template=template, add_generation_prompt=True, bos_token="<s>"
    )
    assert ours == theirs
