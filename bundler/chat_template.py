"""A chat format as a Jinja template that LiteRT-LM can run, and that gives its very tokens.

The Hub's templates are written for Jinja2; LiteRT-LM has Minijinja, which lacks Python's methods,
hands over a message's content as a list of parts, and says "model" or "assistant" for the same
role. More than that, the engine renders the chat twice at each turn, without and with the new
message, and gives the model what is new at the end. What a template writes behind an answer is
therefore never seen by the model: it has its own stop token, and then the next user's prefix. The
template here writes the rest of the model suffix, "\\n" for ChatML, in front of the next message,
so that the model reads what it was trained on.

The start token is not in it: the engine begins with that by itself.
"""

from .metadata import cut_at_stop
from .templates import ChatFormat

# Written as escapes: what ends a string of Jinja's, and what LiteRT-LM's search for Python's
# methods in a template's source, such as ".strip(", would find in a prefix.
_ESCAPED = "\\'(){}%"

_TEMPLATE = """\
{%- macro text(content) -%}
{%- if content is string -%}{{ content }}
{%- else -%}
{%- for part in content -%}
{%- if part.type == 'text' -%}{{ part.text }}
{%- else -%}{{ raise_exception('this model reads text alone, not ' ~ part.type) }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
{%- if not loop.first and loop.previtem.role in ['model', 'assistant'] -%}{{ AFTER_STOP }}
{%- endif -%}
{%- if message.role == 'system' -%}
SYSTEM
{%- elif message.role == 'user' -%}
{%- if loop.first -%}{{ SESSION_PREFIX }}{%- endif -%}
{{ USER_PREFIX }}{{ text(message.content) }}{{ USER_SUFFIX }}
{%- elif message.role in ['model', 'assistant'] -%}
{{ MODEL_PREFIX }}{{ text(message.content) }}{{ STOP }}
{%- else -%}{{ raise_exception('this model knows no role ' ~ message.role) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ MODEL_PREFIX }}{%- endif -%}
"""


def template_of(chat: ChatFormat) -> str:
    """The template's source. chat.stops: the stop token that the model suffix begins with."""
    stop, rest = cut_at_stop(chat.model_suffix, chat.stops)
    system = (
        "{{ SYSTEM_PREFIX }}{{ text(message.content) }}{{ SYSTEM_SUFFIX }}"
        if chat.no_system is None
        else "{{ raise_exception(" + _literal("this model takes no system message") + ") }}"
    )
    texts = {
        # without a stop token that is known, all of the suffix is written where it belongs
        "AFTER_STOP": rest if stop else "",
        "STOP": stop or rest,
        "SESSION_PREFIX": chat.session_prefix,
        "USER_PREFIX": chat.user_prefix,
        "USER_SUFFIX": chat.user_suffix,
        "MODEL_PREFIX": chat.model_prefix,
        "SYSTEM_PREFIX": chat.system_prefix,
        "SYSTEM_SUFFIX": chat.system_suffix,
    }
    template = _TEMPLATE.replace("SYSTEM\n", f"{system}\n", 1)
    for name, text in texts.items():
        template = template.replace(f"{{{{ {name} }}}}", f"{{{{ {_literal(text)} }}}}")
    return template


def _literal(text: str) -> str:
    """A string of Jinja's, in either implementation."""
    escaped = "".join(
        f"\\u{ord(character):04x}" if character in _ESCAPED or ord(character) < 0x20 else character
        for character in text
    )
    return f"'{escaped}'"
