"""Asks a bundle, as a phone would: its template, its tokenizer, its model, its stop tokens."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from . import BundleError
from .metadata import BundleParameters, is_utf8
from .session import Session
from .task import MODEL, TOKENIZER, read_task
from .tokenizer import load_tokenizer

# What a character is decoded to whose last bytes are still to come.
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Answer:
    """What a bundle answered.

    ended_by: the stop token, or `max_tokens` or `context_length` where it was cut off. tokens,
    prompt_tokens: ids; the stop token is not among them. Times in seconds: until the first token,
    and for the rest.
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
    """Answers one prompt greedily, on the CPU.

    The prompt is put between the bundle's prefixes. on_text: called with each new piece of text.
    Raises BundleError for a bundle that cannot be read or run, and for a prompt that does not fit.
    """
    task = read_task(bundle)
    if task.parameters.bytes_to_unicode:
        raise BundleError(
            f"{bundle}: its tokenizer is in GPT-2's byte alphabet (BYTES_TO_UNICODE), which only "
            "MediaPipe's engine maps"
        )
    processor = load_tokenizer(task.read(TOKENIZER), f"{bundle}: {TOKENIZER}").processor
    prompt_tokens = _prompt_tokens(processor, task.parameters, prompt)
    stops = {processor.PieceToId(token): token for token in task.parameters.stop_tokens}
    with Session(task.read(MODEL)) as session:
        if len(prompt_tokens) >= session.context_length:
            raise BundleError(
                f"the prompt has {len(prompt_tokens)} tokens; the bundle holds "
                f"{session.context_length} with the answer"
            )
        started = time.monotonic()
        stream = _Text(processor, on_text or (lambda text: None))
        ended_by, first = "context_length", started
        for token in _greedy(session, prompt_tokens):
            if not stream.tokens:
                first = time.monotonic()
            if token in stops:
                ended_by = stops[token]
                break
            stream.add(token)
            if len(stream.tokens) == max_tokens:
                ended_by = "max_tokens"
                break
        stream.end()
    return Answer(
        text=stream.text,
        ended_by=ended_by,
        tokens=tuple(stream.tokens),
        prompt_tokens=tuple(prompt_tokens),
        first_token_seconds=first - started,
        decode_seconds=time.monotonic() - first,
    )


def _prompt_tokens(
    processor: SentencePieceProcessor, parameters: BundleParameters, prompt: str
) -> list[int]:
    """The ids of a chat's first turn, up to where the model's answer begins."""
    text = (
        parameters.session_prefix
        + parameters.user_prefix
        + prompt
        + parameters.user_suffix
        + parameters.model_prefix
    )
    if not is_utf8(text):
        raise BundleError(f"the prompt: {prompt!r:.80} holds bytes that are no UTF-8")
    start = parameters.start_token_id
    if start is None:
        start = processor.PieceToId(parameters.start_token)
    return [start, *processor.Encode(text)]


def _greedy(session: Session, prompt_tokens: list[int]) -> Iterator[int]:
    """The most likely next token, again and again, until the cache is full."""
    session.prefill(prompt_tokens[:-1])
    token = prompt_tokens[-1]
    while session.position < session.context_length:
        token = int(session.decode(token).argmax())
        yield token


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
