"""Renders a chat template that a stranger wrote: in a process of its own, with firm bounds.

`render` starts `python -m taskpress.bundler.render`, which gets the template and the chats as JSON.
Jinja's sandbox keeps a template from Python's objects, but not from looping for hours or doubling
a string forty times; the operating system's limits on the child do.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from . import BundleError

_MAX_TEXT = 1 << 18  # characters of one rendered chat
_MAX_SECONDS = 5  # of processor time, for all chats
_MAX_WAIT_SECONDS = 60  # by the clock, should the machine be busy
_MAX_MEMORY_BYTES = 1 << 29

Message = Mapping[str, str]  # "role" and "content"


@dataclass(frozen=True)
class Refused:
    """The template itself refuses a chat, or fails on it; the reason is its own, one line."""

    reason: str


def render(
    template: str,
    chats: Sequence[tuple[Sequence[Message], bool]],
    variables: Mapping[str, str],
    today: date | None = None,
) -> list[str | Refused]:
    """The text of each chat, as `transformers` renders it.

    chats: (messages, add_generation_prompt). variables: bos_token and the like.
    today: what strftime_now tells; without it that function is undefined, and a template that
    looks for it first uses its own fixed date: a bundle is read long after it was made.
    A chat that the template refuses or fails on gives the refusal in its place. Raises BundleError
    for a template that does not parse, or that takes too much time, memory or text.
    """
    request = {
        "template": template,
        "chats": [[list(map(dict, messages)), prompt] for messages, prompt in chats],
        "variables": dict(variables),
        "today": today.isoformat() if today else None,
    }
    try:
        # -P: a jinja2.py in the working folder is not what is meant
        done = subprocess.run(
            [sys.executable, "-P", "-m", __name__],
            input=json.dumps(request),
            capture_output=True,
            encoding="utf-8",
            timeout=_MAX_WAIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BundleError(f"chat template: takes more than {_MAX_WAIT_SECONDS} s") from error
    if done.returncode:
        raise BundleError(f"chat template: {_why(done.returncode, done.stderr)}")
    texts = json.loads(done.stdout)
    return [Refused(text[0]) if isinstance(text, list) else text for text in texts]


def _why(code: int, stderr: str) -> str:
    if code < 0:
        return f"takes more than {_MAX_SECONDS} s or {_MAX_MEMORY_BYTES >> 20} MiB to render"
    last_line = (stderr.strip().splitlines() or ["the renderer failed"])[-1]
    return f"{last_line[:200]}; mend it, or give the prefixes instead"


def _main() -> None:
    _limit()
    request = json.load(sys.stdin)
    today = date.fromisoformat(request["today"]) if request["today"] else None
    from jinja2 import TemplateError

    try:
        template = _environment(today).from_string(request["template"])
    except (TemplateError, RecursionError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    texts: list[str | list[str]] = []
    for messages, prompt in request["chats"]:
        given = {"messages": messages, "add_generation_prompt": prompt}
        variables = {"tools": None, "documents": None, **request["variables"], **given}
        try:
            texts.append(_bounded(template.generate(variables)))
        except (
            *(TemplateError, TypeError, ValueError, LookupError, AttributeError),
            *(ArithmeticError, RecursionError, AssertionError),
        ) as error:
            texts.append([" ".join(str(error).split())[:200] or type(error).__name__])
    json.dump(texts, sys.stdout)


def _bounded(chunks: Any) -> str:
    text = ""
    for chunk in chunks:
        text += chunk
        if len(text) > _MAX_TEXT:
            sys.exit(f"writes more than {_MAX_TEXT} characters for a chat of a few words")
    return text


def _limit() -> None:
    """Bounds this process, where the system can: on others the parent's clock is the bound."""
    if sys.platform != "linux":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_SECONDS, _MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _environment(today: date | None) -> Any:
    """What templates of the Hub are written for: the settings of transformers' own renderer."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} marks the model's words for training; here they are text like all."""

        tags = {"generation"}  # noqa: RUF012 - declared by jinja as an instance's

        def parse(self, parser: Parser) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, **how: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **how})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    if today:
        environment.globals["strftime_now"] = today.strftime
    return environment


if __name__ == "__main__":
    _main()
