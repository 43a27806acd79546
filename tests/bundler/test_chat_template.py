from dataclasses import replace
from typing import Any

import pytest
from taskpress.bundler.chat_template import template_of
from taskpress.bundler.render import Refused, render
from taskpress.bundler.templates import ChatFormat

CHAT = ChatFormat(
    start_token="<s>",
    session_prefix="[None 'of' your (business)\\]",
    user_prefix="<u>\n",
    user_suffix="</u>.strip()",
    model_prefix="<m> {% generation %}",
    model_suffix="<e>\n  ",
    system_prefix="<sys>{{ x }}",
    system_suffix="</sys>\t日本\n",
    stops=("<e>",),
)
WORDS = ("one", "  two\n", "{{ three }}", "'four'", "five\\")


def messages(count: int, *, system: bool = False, parts: bool = False, model: str = "model") -> Any:
    roles = ("user", model) * 3
    chat = [
        {"role": role, "content": word} for role, word in zip(roles, WORDS[:count], strict=False)
    ]
    if system:
        chat.insert(0, {"role": "system", "content": "Be\nbrief."})
    if parts:
        chat = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in chat]
    return chat


def rendered(chat: ChatFormat, asked: Any, prompt: bool = True) -> Any:
    (text,) = render(template_of(chat), [(asked, prompt)], {})
    return text


@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_it_writes_the_chat_of_the_pieces(count: int, system: bool) -> None:
    wanted = CHAT.chat(messages(count, system=system, model="assistant"))
    for parts in (False, True):
        for model in ("model", "assistant"):
            asked = messages(count, system=system, parts=parts, model=model)
            assert rendered(CHAT, asked) == wanted


def test_what_a_message_adds_begins_behind_the_stop_token() -> None:
    """LiteRT-LM renders the chat without a message and with it, and feeds the difference."""
    before = rendered(CHAT, messages(2), False)
    after = rendered(CHAT, messages(3), True)
    assert before.endswith("  two\n<e>")
    assert after.startswith(before)
    assert after[len(before) :] == "\n  <u>\n{{ three }}</u>.strip()<m> {% generation %}"


def test_a_suffix_without_a_stop_token_stays_whole() -> None:
    before = rendered(replace(CHAT, stops=()), messages(2), False)
    assert before.endswith("  two\n<e>\n  ")


def test_what_a_model_cannot_have_is_refused() -> None:
    refused = rendered(replace(CHAT, no_system="it has no place"), messages(1, system=True))
    assert isinstance(refused, Refused)
    assert "system" in refused.reason
    refused = rendered(CHAT, [{"role": "tool", "content": "x"}])
    assert isinstance(refused, Refused)
    assert "this model knows no role tool" in refused.reason
    refused = rendered(CHAT, [{"role": "user", "content": [{"type": "image"}]}])
    assert isinstance(refused, Refused)
    assert "not image" in refused.reason


def test_no_method_of_python_s_is_in_the_source() -> None:
    """LiteRT-LM looks for such, and would change a prefix that holds the same letters."""
    assert ".strip(" not in template_of(CHAT)
    assert "{% generation %}" not in template_of(CHAT)
