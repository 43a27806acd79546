"""From a chat template to the fixed pieces of text that a bundle's METADATA can hold.

A Hub template is a program; the phone's runtime only knows a start token, a session prefix, and a
prefix and a suffix for each role. `read_template` renders chats of marked words, takes the pieces
from between the marks, puts them together again and refuses the template if any character differs.

The runtime writes the start token itself, and a start token in front of another one ruins the
answer, so it must not be in the pieces. What becomes the start token, and how:

- It is the special token with which the template's text begins: BOS for most; where a template
  begins with none, the tokenizer's BOS, said in `notes`, for there is one token more then.
- ChatML begins every message with the same token as the text. SmolLM2 puts a system message of its
  own first: its rest, "system\\nYou are ...<|im_end|>\\n", becomes the session prefix, and the user
  prefix keeps its <|im_start|>. That is exact in every engine that reads the session prefix; it
  stands in field 8, the only field that mediapipe's bundler has for a text of the session, also
  in 0.10.35 where the roles are in field 17 too. (An engine that read field 17 alone would write
  <|im_start|> twice. The token at the end of the session prefix instead would be right there, but
  lack it from the second turn on in engines that read field 8 alone, which have no model suffix.)
- Where such a template has no default system message (Qwen 3), the first user prefix is the token
  itself and the later ones must have it: it moves to the end of what stands before them, the model
  suffix and system suffix. Engines that read field 17 are exact; those that read field 8 alone are
  exact for the first turn, and later miss the model suffix, as they do with every template.

A session prefix excludes a system prefix and suffix (see `metadata.encode`): `parameters` writes
the one that makes a chat without a system message exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product

from . import BundleError
from .metadata import BundleParameters
from .render import Message, Refused, render

# what the chats say; one word each, as some templates strip, and both unlike any template's words
_PROBE = ("qzusera", "qzanswera", "qzuserb", "qzanswerb", "qzuserc")
_PROBE_SYSTEM = "qzsystem"
# for the proofs: texts that a template might treat otherwise
PROOF = ("What is 2 + 2?", "It is 4.\n\n- **four**", 'Say "hi" & <b>go</b>', "hi", "Ünï 日本 😀?")
PROOF_SYSTEM = "Be brief.\nAnswer in 'English'."
TURNS = (1, 2, 3)
AFFIXES = [
    "session_prefix",
    *(f"{role}_{side}" for role in ("user", "model", "system") for side in ("prefix", "suffix")),
]


@dataclass(frozen=True)
class ChatFormat:
    """The pieces of every chat that a template can write.

    start_token (the runtime writes it), then session_prefix, or else system_prefix + the system
    message + system_suffix; then for each turn user_prefix + text + user_suffix + model_prefix +
    answer + model_suffix. stops: special tokens with which the template ends an answer.
    no_system: why system messages cannot be expressed, or None when they can.
    writes_start: whether the template's text begins with start_token.
    notes: what differs from the template all the same, one line each.
    """

    start_token: str
    session_prefix: str
    user_prefix: str
    user_suffix: str
    model_prefix: str
    model_suffix: str
    system_prefix: str = ""
    system_suffix: str = ""
    stops: tuple[str, ...] = ()
    no_system: str | None = None
    writes_start: bool = True
    notes: tuple[str, ...] = ()

    def chat(self, messages: Sequence[Message]) -> str:
        """The text of a chat, ready for the model's next answer, without the start token."""
        before = {"system": self.system_prefix, "user": self.user_prefix, "assistant": ""}
        after = {
            "system": self.system_suffix,
            "user": self.user_suffix + self.model_prefix,
            "assistant": self.model_suffix,
        }
        head = "" if messages[0]["role"] == "system" else self.session_prefix
        return head + "".join(
            before[message["role"]] + message["content"] + after[message["role"]]
            for message in messages
        )

    def parameters(self, stop_tokens: Sequence[str]) -> BundleParameters:
        system = not self.session_prefix
        return BundleParameters(
            start_token=self.start_token,
            stop_tokens=tuple(stop_tokens),
            session_prefix=self.session_prefix,
            user_prefix=self.user_prefix,
            user_suffix=self.user_suffix,
            model_prefix=self.model_prefix,
            model_suffix=self.model_suffix,
            system_prefix=self.system_prefix if system else "",
            system_suffix=self.system_suffix if system else "",
        )


def chat_of(parameters: BundleParameters) -> ChatFormat:
    """The chats of prefixes that were given, not read from a template."""
    texts = {name: getattr(parameters, name) for name in AFFIXES}
    system = parameters.system_prefix or parameters.system_suffix
    return ChatFormat(
        parameters.start_token,
        **texts,
        stops=parameters.stop_tokens,
        no_system=None if system else "there is no prefix and suffix for one",
    )


def read_template(
    template: str,
    special_tokens: Mapping[str, str],
    added_tokens: Sequence[str],
    start_token: str | None = None,
    today: date | None = None,
) -> ChatFormat:
    """Finds the pieces, and proves them on chats of 1, 2 and 3 turns, with and without system.

    special_tokens: bos_token, eos_token ... as the template's variables. added_tokens: the texts of
    all tokens that are parsed as one. start_token: the caller's choice, else the rule above.
    today: see `render`. Raises BundleError for a template that is faulty or cannot be expressed,
    with the first difference; a system message alone that cannot be is `no_system`.
    """
    chats = _Chats(template, special_tokens, today)
    turns = _turns(chats)
    text = turns.lead + turns.user_prefix
    begin = start_token or _leading(added_tokens, text) or special_tokens.get("bos_token")
    if not begin:
        raise BundleError(
            "chat template: its text begins with no special token, and the tokenizer has no "
            "bos_token; name a start token"
        )
    found = _without_start(turns, begin)
    notes = ()
    writes_start = text.startswith(begin)
    if not writes_start:
        notes = (
            f"start token: the template does not write {begin!r}, the runtime does: "
            "chats have one token more than the template's",
        )
    found = _with_system(replace(found, writes_start=writes_start), turns, chats)
    if found.no_system is not None:
        notes += (f"system message: the prefixes cannot write it: {found.no_system}",)
    stop = _leading(added_tokens, turns.model_suffix.lstrip())
    return replace(found, stops=(stop,) if stop else (), notes=notes)


@dataclass(frozen=True)
class _Turns:
    """The pieces with the start token still in them; `lead` is what stands before user_prefix."""

    lead: str
    user_prefix: str
    user_suffix: str
    model_prefix: str
    model_suffix: str


class _Chats:
    """Every chat that is looked at, rendered in one go."""

    def __init__(
        self, template: str, special_tokens: Mapping[str, str], today: date | None
    ) -> None:
        kinds = [
            *product((False, True), (_PROBE, PROOF), (1, 3, 5), (True,)),
            *product((False,), (_PROBE,), (1, 2), (False,)),
        ]
        chats = [
            (messages_of(words[:count], _system_of(words) if system else None), open_)
            for system, words, count, open_ in kinds
        ]
        texts = render(template, chats, special_tokens, today)
        self._texts = dict(zip(kinds, texts, strict=True))

    def text(
        self, words: tuple[str, ...], count: int, *, system: bool = False, prompt: bool = True
    ) -> str:
        """The chat of the first `count` words; `prompt`: with what asks for the next answer."""
        text = self._texts[system, words, count, prompt]
        if isinstance(text, Refused):
            kind = "with a system message" if system else f"of {count} messages"
            raise BundleError(f"chat template: refuses a chat {kind}: {text.reason}")
        return text


def messages_of(words: Sequence[str], system: str | None) -> list[dict[str, str]]:
    """A chat of the words, by the user and the assistant in turn."""
    roles = ("user", "assistant", "user", "assistant", "user")
    first = [] if system is None else [{"role": "system", "content": system}]
    return [
        *first,
        *({"role": role, "content": word} for role, word in zip(roles, words, strict=False)),
    ]


def _turns(chats: _Chats) -> _Turns:
    lead, ask, between, *more, last = _split(chats.text(_PROBE, 5), _PROBE)
    if more != [ask, between] or last != ask:
        raise BundleError(
            "chat template: its turns differ, so no prefix and suffix stand for them: "
            f"{[ask, between]}, then {[*more, last]}; give the prefixes"
        )
    _, user_end = _split(chats.text(_PROBE, 1, prompt=False), _PROBE[:1])
    *_, model_end = _split(chats.text(_PROBE, 2, prompt=False), _PROBE[:2])
    # a template that asks for the answer in any case shows no end of the user's turn
    user_suffix = user_end if user_end and ask.startswith(user_end) else ask
    user_prefix = between.removeprefix(model_end)
    if not lead.endswith(user_prefix):
        # what ends a turn is written by the next one: the turns share what begins them
        user_prefix = between[len(between) - _shared(lead[::-1], between[::-1]) :]
    return _Turns(
        lead=lead.removesuffix(user_prefix),
        user_prefix=user_prefix,
        user_suffix=user_suffix,
        model_prefix=ask.removeprefix(user_suffix),
        model_suffix=between.removesuffix(user_prefix),
    )


def _split(text: str, words: Sequence[str]) -> list[str]:
    """What stands before, between and after the words."""
    pieces: list[str] = []
    for word in words:
        if text.count(word) != 1:
            raise BundleError(
                f"chat template: drops, repeats or moves messages ({word!r} in {text[:80]!r}); "
                "give the prefixes"
            )
        before, _, text = text.partition(word)
        pieces.append(before)
    return [*pieces, text]


def _leading(added_tokens: Sequence[str], text: str) -> str | None:
    """The longest token that `text` begins with; one of white space is none."""
    leading = [token for token in added_tokens if token.strip() and text.startswith(token)]
    return max(leading, key=len, default=None)


def _without_start(turns: _Turns, begin: str) -> ChatFormat:
    lead, user_prefix, model_suffix = turns.lead, turns.user_prefix, turns.model_suffix
    if lead:
        lead = lead.removeprefix(begin)
    elif user_prefix.startswith(begin):
        # each turn has the token, the first one's is the start token: the others' move forward
        user_prefix = user_prefix.removeprefix(begin)
        model_suffix += begin
    return ChatFormat(
        start_token=begin,
        session_prefix=lead,
        user_prefix=user_prefix,
        user_suffix=turns.user_suffix,
        model_prefix=turns.model_prefix,
        model_suffix=model_suffix,
    )


def _with_system(found: ChatFormat, turns: _Turns, chats: _Chats) -> ChatFormat:
    """Proves `found`, and adds the pieces around a system message, or why there are none."""
    start = found.start_token if found.writes_start else ""
    _prove(found, start, chats, system=False)
    try:
        text = chats.text(_PROBE, 1, system=True)
        before, after, *_ = _split(text, (_PROBE_SYSTEM, _PROBE[0]))
        if not before.startswith(start) or not after.endswith(turns.user_prefix):
            raise BundleError(
                "chat template: a system message changes how the chat or the first turn begins: "
                f"{before!r}, {after!r} stand around it"
            )
        moved = turns.user_prefix.removesuffix(found.user_prefix)
        complete = replace(
            found,
            system_prefix=before.removeprefix(start),
            system_suffix=after.removesuffix(turns.user_prefix) + moved,
        )
        _prove(complete, start, chats, system=True)
    except BundleError as error:
        return replace(found, no_system=str(error))
    return complete


def _prove(found: ChatFormat, start: str, chats: _Chats, *, system: bool) -> None:
    """Raises BundleError at the first character in which a chat of the pieces differs."""
    for words, turns in product((_PROBE, PROOF), TURNS):
        count = 2 * turns - 1
        wanted = chats.text(words, count, system=system)
        messages = messages_of(words[:count], _system_of(words) if system else None)
        given = start + found.chat(messages)
        if given != wanted:
            at = _shared(given, wanted)
            raise BundleError(
                f"chat template: prefixes and suffixes cannot write its chat of {turns} turns"
                f"{' with a system message' if system else ''}: at character {at} it has "
                f"{wanted[at : at + 40]!r}, they {given[at : at + 40]!r}; give the prefixes"
            )


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _system_of(words: Sequence[str]) -> str:
    return _PROBE_SYSTEM if words[0] == _PROBE[0] else PROOF_SYSTEM
