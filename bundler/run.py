"""Asks a bundle, as a phone would: its template, its tokenizer, its model, its stop tokens."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sentencepiece import SentencePieceProcessor

from . import BundleError
from .bundle import Bundle, read_bundle
from .metadata import BundleParameters, cut_at_stop, is_utf8
from .parts import MODEL, TOKENIZER
from .render import Message, Refused, render
from .session import Session
from .tokenizer import load_tokenizer

# What a character is decoded to whose last bytes are still to come.
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Answer:
    """What a bundle answered.

    ended_by: the stop token, or `max_tokens` or `context_length` where it was cut off. tokens,
    prompt_tokens: ids of this turn; the stop token is not among them. Times in seconds: until the
    first token, and for the rest.
    """

    text: str
    ended_by: str
    tokens: tuple[int, ...]
    prompt_tokens: tuple[int, ...]
    first_token_seconds: float
    decode_seconds: float


def run(
    bundle: Path,
    prompt: str,
    max_tokens: int | None = None,
    on_text: Callable[[str], None] | None = None,
) -> Answer:
    """Answers one prompt greedily, on the CPU; arguments and errors are those of `Chat`."""
    with Chat(bundle) as chat:
        return chat.ask(prompt, max_tokens, on_text)


class Chat:
    """A conversation with a bundle, greedily, on the CPU.

    A turn's tokens are those that the bundle's runtime feeds: by LlmParameters the prefixes around
    the prompt, and behind an answer the rest of the model suffix; by LlmMetadata what the chat
    template has more when it is rendered with the prompt than without. Either way the stop token
    that ended an answer stands behind it.

    system: a message that stands before all others. Raises BundleError for a bundle that cannot be
    read or run, or that has no place for a system message.
    """

    def __init__(self, bundle: Path, system: str | None = None) -> None:
        opened = read_bundle(bundle)
        if opened.parameters.bytes_to_unicode:
            raise BundleError(
                f"{bundle}: its tokenizer is in GPT-2's byte alphabet (BYTES_TO_UNICODE), which "
                "only MediaPipe's engine maps"
            )
        if TOKENIZER not in opened.entries:
            raise BundleError(f"{bundle}: has no {TOKENIZER}; a SentencePiece model is needed")
        where = f"{bundle}: {TOKENIZER}"
        self._processor = load_tokenizer(opened.read(TOKENIZER), where).processor
        parameters = opened.parameters
        self._stops = {self._processor.PieceToId(token): token for token in parameters.stop_tokens}
        self._start = self._start_of(parameters)
        self._turns = _turns_of(opened, system)
        self._pending: list[int] = []  # of the last answer: the model has not seen it yet
        self._session = Session(opened.read(MODEL))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.__exit__()

    def ask(
        self,
        prompt: str,
        max_tokens: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answers the next prompt.

        on_text: called with each new piece of text. Raises BundleError for a prompt that does not
        fit, or is no text.
        """
        text = self._turns.next(prompt)
        if not is_utf8(text):
            raise BundleError(f"the prompt: {prompt!r:.80} holds bytes that are no UTF-8")
        session = self._session
        first = not session.position and not self._pending
        prompt_tokens = [*(self._start if first else []), *self._processor.Encode(text)]
        fed = [*self._pending, *prompt_tokens]
        if session.position + len(fed) >= session.context_length:
            behind = f", behind {session.position} of the chat" if session.position else ""
            raise BundleError(
                f"the prompt has {len(prompt_tokens)} tokens{behind}; the bundle holds "
                f"{session.context_length} with the answer"
            )
        started = time.monotonic()
        stream = _Text(self._processor, on_text or (lambda text: None))
        ended_by, first_at = "context_length", started
        for token in self._greedy(fed):
            if not stream.tokens:
                first_at = time.monotonic()
            self._pending = [token]
            if token in self._stops:
                ended_by = self._stops[token]
                break
            stream.add(token)
            if len(stream.tokens) == max_tokens:
                ended_by = "max_tokens"
                break
        stream.end()
        self._turns.answered(stream.text)
        return Answer(
            text=stream.text,
            ended_by=ended_by,
            tokens=tuple(stream.tokens),
            prompt_tokens=tuple(prompt_tokens),
            first_token_seconds=first_at - started,
            decode_seconds=time.monotonic() - first_at,
        )

    def _start_of(self, parameters: BundleParameters) -> list[int]:
        """What the runtime begins a chat with: one token, or none."""
        if parameters.start_token_id is not None:
            return [parameters.start_token_id]
        return [self._processor.PieceToId(parameters.start_token)] * bool(parameters.start_token)

    def _greedy(self, tokens: Sequence[int]) -> Iterator[int]:
        """The most likely next token, again and again, until the cache is full."""
        self._session.prefill(tokens[:-1])
        token = tokens[-1]
        while self._session.position < self._session.context_length:
            token = int(self._session.decode(token).argmax())
            yield token


class _Prefixes:
    """A chat's texts by prefixes and suffixes.

    before: what begins the chat. after: what follows the stop token of an answer.
    """

    def __init__(self, parameters: BundleParameters, before: str, after: str) -> None:
        self._parameters, self._before, self._after = parameters, before, after

    def next(self, prompt: str) -> str:
        its = self._parameters
        return self._before + its.user_prefix + prompt + its.user_suffix + its.model_prefix

    def answered(self, text: str) -> None:
        self._before = self._after


class _Template:
    """A chat's texts by a chat template: what a message adds to the text of those before it."""

    def __init__(self, template: str, where: str, system: str | None) -> None:
        self._template, self._where = template, where
        self._messages: list[Message] = []
        self._answered = False
        if system is not None:
            self._messages.append({"role": "system", "content": system})

    def next(self, prompt: str) -> str:
        before = self._rendered(False) if self._answered else ""
        self._messages.append({"role": "user", "content": prompt})
        text = self._rendered(True)
        if not text.startswith(before):
            raise BundleError(
                f"{self._where}: the chat template writes the messages before this one in another "
                "way than without it; LiteRT-LM refuses that"
            )
        return text[len(before) :]

    def answered(self, text: str) -> None:
        self._messages.append({"role": "assistant", "content": text})
        self._answered = True

    def _rendered(self, prompt: bool) -> str:
        (text,) = render(self._template, [(self._messages, prompt)], {})
        if isinstance(text, Refused):
            raise BundleError(f"{self._where}: the chat template refuses this chat: {text.reason}")
        return text


def _turns_of(bundle: Bundle, system: str | None) -> _Prefixes | _Template:
    its, described = bundle.parameters, bundle.llm_metadata
    if described is not None and described.chat_template:
        return _Template(described.chat_template, str(bundle.path), system)
    before = its.session_prefix
    if system is not None:
        if not (its.system_prefix or its.system_suffix):
            raise BundleError(f"{bundle.path}: has no prefix and suffix for a system message")
        before = its.system_prefix + system + its.system_suffix
    _, rest = cut_at_stop(its.model_suffix, its.stop_tokens)
    # of prefixes alone, LiteRT-LM makes a template whose end of an answer the model never sees
    after = "" if described is not None else rest
    return _Prefixes(its, before, after)


class _Text:
    """Text that grows token by token; a character is told when all its bytes are there."""

    def __init__(self, processor: SentencePieceProcessor, on_text: Callable[[str], None]) -> None:
        self.processor = processor
        self.on_text = on_text
        self.tokens: list[int] = []
        self.text = ""

    def add(self, token: int) -> None:
        self.tokens.append(token)
        whole = self._decoded()
        if not whole.endswith(_INCOMPLETE):
            self._tell(whole)

    def end(self) -> None:
        """Tells what is left, complete or not."""
        self._tell(self._decoded())

    def _decoded(self) -> str:
        # As bytes: a model may well give tokens that are no UTF-8 together.
        return self.processor.Decode(self.tokens, out_type=bytes).decode(errors="replace")

    def _tell(self, whole: str) -> None:
        if new := whole[len(self.text) :]:
            self.on_text(new)
        self.text = whole
