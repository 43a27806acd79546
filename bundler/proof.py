"""Proves that the prefixes of a bundle give the very tokens that its chat template does.

`templates` proves the text; what a model reads is tokens, and those may differ where the text is
the same: a runtime encodes the pieces of a chat with the bundle's SentencePiece model, one by one,
and a special token in a prefix may be no token there.

The reference is the template's whole text, encoded by the original tokenizer, which finds the added
tokens in it. On the bundle's side a chat goes as in MediaPipe's and LiteRT-LM's engines:

- the start token is one id, put in front;
- what stands before an answer is encoded as one text: the session prefix or the system message with
  the first turn, then for each later turn what follows the stop token in the model suffix, the user
  prefix, the text, the user suffix and the model prefix;
- an answer is never encoded: its tokens are the model's own, up to the stop token that ends it. The
  proof takes them from the reference, where they must decode to the answer and end where it ends.

That the rest of the model suffix is fed with the next turn is an assumption for MediaPipe's closed
engine; LiteRT-LM does so with the chat templates that we write (`chat_template`). An app that
restores a chat feeds all of it as one text, which is proven too, and told apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from . import BundleError
from .templates import PROOF, PROOF_SYSTEM, TURNS, ChatFormat, messages_of
from .tokenizer import Tokenizer

Encode = Callable[[str], list[int]]

_TEXTS = (*PROOF, PROOF_SYSTEM)
# in the place of a text that the two tokenizers encode otherwise by itself
_PLAIN = "hi"


@dataclass(frozen=True)
class Difference:
    """The first token that differs: its place, and what each has there; None where it has ended.

    Both are None where no token ends where an answer does. text: the same for people.
    """

    at: int
    template: int | None
    prefixes: int | None
    text: str


@dataclass(frozen=True)
class ProvenChat:
    """A chat whose tokens were compared.

    tokens: of the template. replaced: how many of its texts stand back for a simple one, as the
    tokenizers themselves differ on them. difference: None where the tokens are equal; restored: the
    same when the chat is fed as one text.
    """

    turns: int
    system: bool
    tokens: int
    replaced: int
    difference: Difference | None
    restored: Difference | None

    def __str__(self) -> str:
        system = " with a system message" if self.system else ""
        return f"chat of {self.turns} turn{'s' if self.turns > 1 else ''}{system}"


def prove(
    template: ChatFormat, bundled: ChatFormat, original: Encode, tokenizer: Tokenizer
) -> tuple[ProvenChat, ...]:
    """Compares chats of 1, 2 and 3 turns, without and with a system message where there can be one.

    template: the pieces as the template writes them; bundled: as the bundle has them, with its stop
    tokens. original: the checkpoint's tokenizer, which finds added tokens in a text and adds none.
    A text of which the tokenizers themselves make other tokens is replaced: it would prove nothing
    of the prefixes. Raises BundleError where they differ on the simplest word.
    """
    if (ours := tokenizer.encode(_PLAIN)) != (theirs := original(_PLAIN)):
        raise BundleError(
            f"{tokenizer.where}: {_PLAIN!r} gives the ids {ours}, by the checkpoint's tokenizer "
            f"{theirs}; make one of that with taskpress tokenizer"
        )
    sound = [text if tokenizer.encode(text) == original(text) else _PLAIN for text in _TEXTS]
    same = [text == kept for text, kept in zip(_TEXTS, sound, strict=True)]
    start = tokenizer.processor.PieceToId(bundled.start_token)
    proven: list[ProvenChat] = []
    for system, turns in product((False, True), TURNS):
        if system and bundled.no_system is not None:
            continue
        count = 2 * turns - 1
        messages = messages_of(sound[:count], sound[-1] if system else None)
        written = template.chat(messages)
        if template.writes_start:
            reference = original(template.start_token + written)
        else:
            reference = [start, *original(written)]
        chat = _Chat(reference, tokenizer)
        whole = [start, *tokenizer.encode(bundled.chat(messages))]
        proven.append(
            ProvenChat(
                turns,
                system,
                len(reference),
                replaced=[*same[:count], not system or same[-1]].count(False),
                difference=chat.by_turns(start, bundled, messages),
                restored=chat.difference(0, whole, ends=True),
            )
        )
    return tuple(proven)


@dataclass(frozen=True)
class _Chat:
    """The template's tokens of a chat, and the tokenizer of the bundle that must give them."""

    reference: list[int]
    tokenizer: Tokenizer

    def by_turns(
        self, start: int, bundled: ChatFormat, messages: Sequence[dict[str, str]]
    ) -> Difference | None:
        """The first difference of a chat that goes turn by turn."""
        suffix = bundled.model_suffix
        stop = next(filter(suffix.startswith, bundled.stops), "")
        stops = [self.tokenizer.processor.PieceToId(stop)] if stop else []
        rest = replace(bundled, session_prefix=suffix.removeprefix(stop))
        answers = [at for at, message in enumerate(messages) if message["role"] == "assistant"]
        at, first, fed = 0, 0, [start]
        for end in (*answers, len(messages)):
            chat = rest if first else bundled
            fed += self.tokenizer.encode(chat.chat(messages[first:end]))
            last = end == len(messages)
            if difference := self.difference(at, fed, ends=last):
                return difference
            if last:
                break
            found = self._end_of(messages[end]["content"], at + len(fed), stops)
            if found is None:
                place, answer = at + len(fed), messages[end]["content"]
                text = f"from token {place} on, none of the template's ends where {answer!r} does"
                return Difference(place, None, None, text)
            at, first, fed = found, end + 1, []
        return None

    def _end_of(self, answer: str, at: int, stops: list[int]) -> int | None:
        """Where the tokens that are an answer and its stop token end, from `at` on."""
        known = len(self.tokenizer.kinds)
        for end in range(at + 1, len(self.reference) + 1):
            tokens = self.reference[at:end]
            if tokens[-1] >= known:
                return None
            behind = end + len(stops)
            if self.reference[end:behind] == stops and self.tokenizer.decode(tokens) == answer:
                return behind
        return None

    def difference(self, at: int, tokens: Sequence[int], *, ends: bool) -> Difference | None:
        """The first of `tokens` that is another than the reference has from `at` on.

        ends: whether the reference must end with them.
        """
        there = self.reference[at:] if ends else self.reference[at : at + len(tokens)]
        for place, (wanted, given) in enumerate(_pairs(there, tokens)):
            if wanted != given:
                ours, theirs = self._shown(given), self._shown(wanted)
                text = f"at token {at + place} the template has {theirs}, the prefixes {ours}"
                return Difference(at + place, wanted, given, text)
        return None

    def _shown(self, token: int | None) -> str:
        if token is None:
            return "none"
        if token >= len(self.tokenizer.kinds):
            return f"{token}, which the bundle's tokenizer lacks"
        return f"{token} {self.tokenizer.spelling(token)!r}"


def _pairs(ones: Sequence[int], others: Sequence[int]) -> list[tuple[int | None, int | None]]:
    """Both side by side; None where one has ended."""
    length = max(len(ones), len(others))
    padded = [[*each, *[None] * (length - len(each))] for each in (ones, others)]
    return list(zip(*padded, strict=True))
