"""A model that repeats its prompt: what an engine's tokenizer does, seen through the engine itself.

It has the signatures of an LLM and no weights. Prefill stores each token's id in the cache at its
position; decode stores its token too, and marks its slot. The n-th call of decode then answers the
n-th id of the prompt, and after the last one the stop token: the text that the engine streams is
the prompt, decoded token by token. With letters, each id is answered as digits that are tokens
themselves, so that the text says which ids the engine fed to the model.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from sentencepiece import SentencePieceProcessor
from taskpress.bundler import metadata
from taskpress.bundler.parts import METADATA, MODEL, TOKENIZER
from taskpress.bundler.task import write_task
from taskpress.converter.convert import plan_model, values_of, write_model
from taskpress.converter.signatures import decoder_signatures
from taskpress.models.layers import kv_cache
from torch import Tensor, nn

# A line of 100 characters may have 400 tokens, each answered as up to three digits.
CONTEXT_LENGTH = 2048
PREFILL_LENGTHS = (32, 256)


@dataclass(frozen=True)
class Letters:
    """Tokens of one character each, as the digits 0, 1, ... of numbers.

    ids: of the tokens; characters: what they are; vocabulary: the numbers are below it.
    """

    ids: tuple[int, ...]
    characters: str
    vocabulary: int

    @property
    def places(self) -> int:
        """Digits of each number."""
        places = 1
        while len(self.ids) ** places < self.vocabulary:
            places += 1
        return places

    def read(self, text: str) -> list[int]:
        """The numbers that a text says; ValueError where it is none of ours."""
        numbers = []
        for start in range(0, len(text), self.places):
            number = 0
            for character in text[start : start + self.places]:
                number = number * len(self.ids) + self.characters.index(character)
            numbers.append(number)
        return numbers


def letters_of(encode: Callable[[str], list[int]], vocabulary: int) -> Letters:
    """Up to 512 printable characters that are a token by themselves: two digits for most."""
    found: dict[int, str] = {}
    for character in filter(str.isprintable, map(chr, range(0x21, 0x3000))):
        ids = encode(character)
        # NFC makes a few characters the same as an earlier one
        if len(ids) == 1:
            found.setdefault(ids[0], character)
        if len(found) == 512:
            break
    return Letters(tuple(found), "".join(found.values()), vocabulary)


class EchoModel(nn.Module):
    """As `decoder_signatures` takes it. The cache's keys hold ids; its values mark decoded ones.

    vocabulary: number of ids. stop: the id that ends the answer. letters: None to repeat the ids
    as they are. Counts and ids are float32, as the cache is: exact below 2 ** 24.
    """

    def __init__(self, vocabulary: int, stop: int, letters: Letters | None = None) -> None:
        super().__init__()
        assert vocabulary < 1 << 20
        self.vocabulary, self.stop, self.letters = vocabulary, stop, letters

    def empty_cache(
        self, context_length: int, longest: int | None = None, /
    ) -> list[kv_cache.KeyValue]:
        return kv_cache.empty(layers=1, kv_heads=1, context_length=context_length, head_dim=1)

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Sequence[tuple[Tensor, Tensor]],
        mask: Tensor | None,
        /,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Logits [1, 1, vocabulary], 0 for the answer and less for others; in prefill, none."""
        ids, marks = cache[0]
        time, context_length = tokens.shape[1], ids.shape[2]
        place = kv_cache.window(positions, context_length)
        mark = torch.full((1, 1, time, 1), float(time == 1), device="cpu")
        ids = kv_cache.write(ids, tokens.float().reshape(1, 1, time, 1), place)
        marks = kv_cache.write(marks, mark, place)
        if time > 1:
            return tokens, [(ids, marks)]
        # An earlier text may have left marks in the slots that are still to come.
        seen = torch.arange(context_length, device="cpu") <= positions
        decoded = (marks.reshape(-1) * seen.float()).sum(0, keepdim=True)
        answer = self._answer(ids.reshape(-1), decoded - 1, positions.float() + 2 - decoded)
        distance = torch.arange(self.vocabulary, dtype=torch.float32, device="cpu") - answer
        return -distance.abs().reshape(1, 1, -1), [(ids, marks)]

    def _answer(self, ids: Tensor, step: Tensor, prompt_length: Tensor) -> Tensor:
        """The id to answer; all are float32 [1], but ids [context_length]."""
        places = self.letters.places if self.letters else 1
        index = _quotient(step, places)
        answer = ids.index_select(0, index.int())
        if self.letters:
            base = len(self.letters.ids)
            powers = torch.tensor([float(base**place) for place in reversed(range(places))])
            power = powers.index_select(0, (step - places * index).int())
            digits = _quotient(answer, power)
            digit = digits - base * _quotient(digits, base)
            answer = torch.tensor(self.letters.ids).float().index_select(0, digit.int())
        return torch.where(index < prompt_length, answer, float(self.stop))


def _quotient(dividend: Tensor, divisor: Tensor | int) -> Tensor:
    """Of whole numbers, rounded down; half of one more keeps rounding errors from mattering."""
    return ((dividend + 0.5) / divisor).int().float()


def _tflite(model: EchoModel) -> bytes:
    signatures = decoder_signatures(model, PREFILL_LENGTHS, CONTEXT_LENGTH)
    plan, out = plan_model(model, signatures, values_of(model)), BytesIO()
    write_model(plan, values_of(model), out)
    return out.getvalue()


@dataclass(frozen=True)
class Echo:
    """A tokenizer with an echo model, to be bundled.

    tokenizer: a SentencePiece model; vocabulary: ids that text may have, which is fewer than it has
    pieces where some only help it. start, stop: pieces of it, which no prompt may hold.
    """

    tokenizer: bytes
    vocabulary: int
    start: str
    stop: str
    letters: Letters | None = None

    def model(self) -> bytes:
        processor = SentencePieceProcessor(model_proto=self.tokenizer)
        stop = processor.piece_to_id(self.stop)
        return _tflite(EchoModel(self.vocabulary, stop, self.letters))

    def llm_metadata(self) -> bytes:
        """What LiteRT-LM calls for, also in a `.task`, where it needs the start token."""
        from litert_lm_builder.runtime.proto import llm_metadata_pb2

        message = llm_metadata_pb2.LlmMetadata(max_num_tokens=CONTEXT_LENGTH)
        message.start_token.token_str = self.start
        message.stop_tokens.add().token_str = self.stop
        return message.SerializeToString(deterministic=True)

    def write_task(self, output: Path, *, llm_metadata: bool = False) -> None:
        """A `.task`, its METADATA either as we build it, LlmParameters, or LlmMetadata."""
        parameters = metadata.BundleParameters(self.start, (self.stop,))
        described = self.llm_metadata() if llm_metadata else metadata.encode(parameters)
        write_task(output, {MODEL: self.model(), TOKENIZER: self.tokenizer, METADATA: described})

    def write_litertlm(self, output: Path) -> None:
        """A `.litertlm`, packed by Google's own builder."""
        from litert_lm_builder import DType, LitertLmFileBuilder, Metadata, TfLiteModelType

        builder = LitertLmFileBuilder()
        builder.add_system_metadata(Metadata("Authors", "taskpress", DType.STRING))
        with tempfile.TemporaryDirectory() as folder:
            names = ("metadata.pb", "model.tflite", "tokenizer.spiece")
            described, model, tokenizer = (Path(folder) / name for name in names)
            described.write_bytes(self.llm_metadata())
            model.write_bytes(self.model())
            tokenizer.write_bytes(self.tokenizer)
            builder.add_llm_metadata(str(described))
            builder.add_tflite_model(str(model), TfLiteModelType.PREFILL_DECODE)
            builder.add_sentencepiece_tokenizer(str(tokenizer))
            with output.open("wb") as out:
                builder.build(out)


@contextmanager
def opened(bundle: Path) -> Iterator[Any]:
    """A LiteRT-LM engine on a bundle, quiet but for errors."""
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    backend = litert_lm.Backend.CPU(thread_count=1)
    with litert_lm.Engine(str(bundle), backend, max_num_tokens=CONTEXT_LENGTH) as engine:
        yield engine


def answered(engine: Any, prompt: str) -> str:
    """The engine's greedy answer to a prompt, as one text."""
    with _prefilled(engine, prompt) as session:
        return session.run_decode().texts[0]


def streamed(engine: Any, prompt: str) -> list[str]:
    """The same, in the pieces that the engine streams.

    litert-lm-api 0.18.1 loses a piece that is not UTF-8: it fails in a callback, which Python tells
    to sys.unraisablehook.
    """
    with _prefilled(engine, prompt) as session:
        return [part.texts[0] for part in session.run_decode_async()]


@contextmanager
def _prefilled(engine: Any, prompt: str) -> Iterator[Any]:
    import litert_lm

    greedy = litert_lm.SamplerConfig(top_k=1)
    with engine.create_session(apply_prompt_template=False, sampler_config=greedy) as session:
        session.run_prefill([prompt])
        yield session
