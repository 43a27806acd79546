"""Checks a bundle's text format: its tokenizer, start and stop tokens, and prefixes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from . import BundleError, llm_metadata, metadata
from .engines import MEDIAPIPE, Runtime
from .findings import NOTE, Finding, finding
from .hf_tokenizer import AnyTokenizer, texts_of
from .known_faults import TEXT
from .metadata import BundleParameters, cut_at_stop
from .parts import METADATA, TOKENIZER
from .tokenizer import Tokenizer, load_tokenizer

_SPACE = "\u2581"  # how SentencePiece writes a space
_GPT2_SPACE = "\u0120"  # how GPT-2's byte alphabet does
# In LlmParameters' bytes: a start token, to be read before or instead of the one that is missing.
_ANY_START = b"\x32\x01?"
_UNREACHED = ("unused", "unknown")  # kinds of pieces that text never becomes
_PREFIXES = tuple(
    name for name in BundleParameters.__dataclass_fields__ if name.endswith(("_prefix", "_suffix"))
)
_PYTHON_METHODS = (
    *(".get(", ".items(", ".keys(", ".values(", ".split(", ".strip(", ".lstrip(", ".rstrip("),
    *(".startswith(", ".endswith(", ".replace(", ".upper(", ".lower(", ".join(", ".append("),
)


@dataclass(frozen=True)
class Prompting:
    """What metadata says of the text, however little. start: "" for none.

    chat_template: Jinja source, or "".
    """

    start: str
    stops: tuple[str, ...]
    affixes: Mapping[str, str]
    bytes_to_unicode: bool = False
    chat_template: str = ""


def format_of(parameters: BundleParameters, chat_template: str = "") -> Prompting:
    return Prompting(
        start=parameters.start_token,
        stops=parameters.stop_tokens,
        affixes={name: getattr(parameters, name) for name in _PREFIXES},
        bytes_to_unicode=parameters.bytes_to_unicode,
        chat_template=chat_template,
    )


class _Ids:
    """The texts of ids; those that the tokenizer has not are remembered, and are no text."""

    def __init__(self, tokenizer: AnyTokenizer | None) -> None:
        self._count, self._text = (None, None) if tokenizer is None else texts_of(tokenizer)
        self._unknown: list[int] = []

    def text(self, token: int) -> str:
        if self._count is None or self._text is None:
            return f"id {token}"
        if not 0 <= token < self._count:
            self._unknown.append(token)
            return ""
        return self._text(token) or ""

    def findings(self) -> list[Finding]:
        if not self._unknown:
            return []
        what = f"names the token {self._unknown[0]}; the tokenizer has {self._count}"
        return [_found("metadata.token", METADATA, what)]


def read_parameters(
    data: bytes, where: str, tokenizer: Tokenizer | None
) -> tuple[list[Finding], Prompting | None]:
    """Of METADATA that is LlmParameters; a missing start token is one finding among others."""
    start = True
    try:
        parameters = metadata.decode(data, where)
    except BundleError as error:
        what = str(error).removeprefix(f"{where}: ")
        try:
            # protobuf reads messages that follow each other as one
            parameters, start = metadata.decode(data + _ANY_START, where), False
        except BundleError:
            return [_found("metadata.unreadable", METADATA, what)], None
    ids = _Ids(tokenizer)
    text = format_of(parameters)
    if not start:
        text = replace(text, start="")
    elif parameters.start_token_id is not None:
        text = replace(text, start=ids.text(parameters.start_token_id))
    by_id = filter(None, map(ids.text, parameters.stop_token_ids))
    text = replace(text, stops=(*text.stops, *by_id))
    return ids.findings(), text


def read_llm_metadata(
    data: bytes, where: str, tokenizer: AnyTokenizer | None
) -> tuple[list[Finding], Prompting | None]:
    """Of LlmMetadata, which may name tokens by their ids."""
    ids = _Ids(tokenizer)
    try:
        parameters, described = llm_metadata.decode(data, where, ids.text)
    except BundleError as error:
        what = str(error).removeprefix(f"{where}: ")
        return [_found("metadata.unreadable", METADATA, what)], None
    stops = tuple(filter(None, parameters.stop_tokens))
    found = ids.findings()
    if llm_metadata.has_empty_start(data, where):
        found.append(_found("start.empty", METADATA, "has a start token without text and id"))
    return found, replace(format_of(parameters, described.chat_template), stops=stops)


def read_tokenizer(data: bytes, where: str) -> tuple[list[Finding], Tokenizer | None]:
    if data.lstrip()[:1] == b"{":
        return [_found("tokenizer.json", TOKENIZER, "is JSON")], None
    try:
        tokenizer = load_tokenizer(data, where)
    except BundleError as error:
        what = str(error).removeprefix(f"{where}: ")
        return [_found("tokenizer.unreadable", TOKENIZER, what)], None
    for number in range(len(tokenizer.kinds)):
        try:
            tokenizer.processor.IdToPiece(number)
        except UnicodeDecodeError as error:
            what = f"piece {number} is no UTF-8: {error.object!r:.80}"
            return [_found("tokenizer.unreadable", TOKENIZER, what)], None
    return [], tokenizer


def check_format(text: Prompting, runtime: Runtime) -> Iterator[Finding]:
    """What can be said without a tokenizer."""
    if not text.start:
        level = None if runtime is MEDIAPIPE else NOTE  # LiteRT-LM begins with none, as meant
        yield finding(TEXT, "start.none", METADATA, "has no start token", level)
    if not text.stops:
        yield _found("stop.none", METADATA, "has no stop tokens")
    yield from _repeated_start(text, runtime)
    if runtime is not MEDIAPIPE and not text.chat_template:
        yield from _dropped(text)
    yield from _check_template(text.chat_template)


def check_tokens(text: Prompting, tokenizer: Tokenizer) -> Iterator[Finding]:
    """What the tokenizer makes of the tokens and prefixes."""
    if text.start:
        try:
            tokenizer.check_start(text.start)
        except BundleError as error:
            yield _found("start.unknown", METADATA, _said(error, tokenizer))
    for token in text.stops:
        yield from _check_stop(token, tokenizer)
    controls = [
        tokenizer.processor.IdToPiece(number)
        for number, kind in enumerate(tokenizer.kinds)
        if kind == "control"
    ]
    for name, affix in text.affixes.items():
        for control in controls:
            if control in affix:
                what = f"{name} has {control!r}, a control piece"
                yield _found("template.control_token", METADATA, what)
    yield from _check_alphabet(text, tokenizer)


def check_vocabulary(tokenizer: Tokenizer, vocabulary: int) -> Iterator[Finding]:
    """vocabulary: the model's, the number of its logits."""
    highest = max(
        (number for number, kind in enumerate(tokenizer.kinds) if kind not in _UNREACHED),
        default=-1,
    )
    yield from check_count(TOKENIZER, highest, len(tokenizer.kinds), vocabulary)


def check_count(where: str, highest: int, count: int, vocabulary: int) -> Iterator[Finding]:
    """highest: the id of a tokenizer's last piece that text becomes. count: of all its pieces."""
    if highest >= vocabulary:
        what = f"has the piece {highest}; the model has {vocabulary} logits"
        yield _found("tokenizer.vocabulary", where, what)
    elif count < vocabulary:
        what = f"has {count} pieces; the model has {vocabulary} logits"
        yield _found("tokenizer.fewer", where, what)


def begins(text: Prompting, tokenizer: Tokenizer | None) -> bool:
    """Whether there is a start token that a chat can begin with, as far as can be seen."""
    try:
        if text.start and tokenizer is not None:
            tokenizer.check_start(text.start)
    except BundleError:
        return False
    return bool(text.start)


def not_for_mediapipe() -> Finding:
    """Of METADATA in which MediaPipe's message finds no start token, but LiteRT-LM's does."""
    return _found("metadata.runtime", METADATA, "is LlmMetadata, which is LiteRT-LM's")


def _found(code: str, where: str, what: str) -> Finding:
    return finding(TEXT, code, where, what)


def _said(error: BundleError, tokenizer: Tokenizer) -> str:
    return str(error).removeprefix(f"{tokenizer.where}: ")


def _dropped(text: Prompting) -> Iterator[Finding]:
    """What LiteRT-LM's Conversation leaves out where it makes a template of the prefixes."""
    if session := text.affixes.get("session_prefix"):
        yield _found("template.dropped", METADATA, f"session_prefix {session!r} is never written")
    _, rest = cut_at_stop(text.affixes.get("model_suffix", ""), text.stops)
    if rest:
        what = f"model_suffix: {rest!r} behind an answer is never written"
        yield _found("template.dropped", METADATA, what)


def _repeated_start(text: Prompting, runtime: Runtime) -> Iterator[Finding]:
    """Of what may stand right behind the start token: the first of these that is not empty."""
    if text.chat_template:
        return  # which is rendered in the prefixes' place
    # LiteRT-LM has no place for a session prefix
    names = ("session_prefix", "user_prefix") if runtime is MEDIAPIPE else ("user_prefix",)
    first = next((name for name in names if text.affixes.get(name)), None)
    for name in dict.fromkeys(filter(None, (first, "system_prefix"))):
        if text.start and text.affixes.get(name, "").startswith(text.start):
            what = f"{name} begins with the start token {text.start!r}"
            yield _found("template.start_repeated", METADATA, what)


def _check_stop(token: str, tokenizer: Tokenizer) -> Iterator[Finding]:
    try:
        tokenizer.check_stops([token])
    except BundleError as error:
        piece = tokenizer.processor.PieceToId(token)
        if not token.strip(" \t\r\n" + _SPACE):
            code = "stop.white_space"
        elif tokenizer.processor.IdToPiece(piece) == token and tokenizer.kinds[piece] != "unknown":
            code = "stop.ordinary"
        else:
            code = "stop.several_ids"
        yield _found(code, METADATA, _said(error, tokenizer))


def _check_alphabet(text: Prompting, tokenizer: Tokenizer) -> Iterator[Finding]:
    """Whether the flag BYTES_TO_UNICODE says what the pieces say."""
    spelled = {
        tokenizer.processor.IdToPiece(number)[:1]
        for number, kind in enumerate(tokenizer.kinds)
        if kind == "normal"
    }
    in_bytes = _GPT2_SPACE in spelled and _SPACE not in spelled
    if text.bytes_to_unicode and not in_bytes:
        what = f"BYTES_TO_UNICODE is set; no piece of the tokenizer begins with {_GPT2_SPACE!r}"
        if _SPACE in spelled:
            what = f"BYTES_TO_UNICODE is set; the tokenizer writes a space as {_SPACE!r}"
        yield _found("metadata.bytes_to_unicode", METADATA, what)
    if in_bytes and not text.bytes_to_unicode:
        what = f"the tokenizer writes a space as {_GPT2_SPACE!r}; BYTES_TO_UNICODE is not set"
        yield _found("metadata.bytes_to_unicode_missing", METADATA, what)


def _check_template(source: str) -> Iterator[Finding]:
    if not source:
        return
    from jinja2 import Environment, TemplateSyntaxError

    try:
        # the extensions that Hugging Face's templates may use; Minijinja has loop controls too
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(source)
    except (TemplateSyntaxError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
        yield _found("template.syntax", METADATA, f"chat template{line}: {error}")
        return
    if used := [method for method in _PYTHON_METHODS if method in source]:
        what = f"the chat template has {', '.join(f'{method})' for method in used)}"
        yield _found("template.python", METADATA, what)
