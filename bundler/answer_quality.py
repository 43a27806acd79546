"""How far a converted encoder-decoder's logits are from those of its checkpoint."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..models._checkpoint import Checkpoint
from . import BundleError
from .embedding_quality import sentences
from .progress import Progress
from .quality import log_softmax, refuse_not_finite
from .rebuild import Encode
from .session import compiled, complaints, native_log, silence_at_exit


@dataclass(frozen=True)
class AnswerQuality:
    """Distances over the sentences of a text, which the encoder takes and the decoder repeats.

    texts: sentences; tokens: positions of the decoder that are compared. All else as in `Quality`.
    """

    texts: int
    tokens: int
    kl_divergence: float
    top1_agreement: float
    max_logit_difference: float

    def __str__(self) -> str:
        return (
            f"over {self.tokens} tokens of {self.texts} texts, KL {self.kl_divergence:.5f} to the "
            f"checkpoint in float32, first choice the same at {self.top1_agreement:.1%}"
        )


def measure_answers(
    checkpoint: Checkpoint, model: Path | bytes, encode: Encode, progress: Progress
) -> AnswerQuality:
    """Compares a model with its checkpoint on the sentences of the sample text.

    Through `encode` and, token by token, `decode`. Raises BundleError where LiteRT refuses the
    model, or its logits are not finite.
    """
    from ..models._model import streamed_answers
    from .calibrate import answer_to, encoder_tokens, one_thread

    silence_at_exit()
    with native_log() as log:
        try:
            runner = _Runner(model)
            most = min(runner.encode_length, runner.context_length)
            texts = [encoder_tokens(checkpoint, encode, text, most) for text in sentences()]
            pairs = [(text, answer_to(checkpoint, text)) for text in texts]
            found = []
            for text, answer in pairs:
                found.append(runner.logits(text, answer))
                progress(len(found), len(pairs))
        except RuntimeError as error:
            # Its frames hold the model, which logs once more when it goes: that must be now.
            error.with_traceback(None)
            raise BundleError(f"LiteRT refuses the model: {complaints(log)}") from error
        finally:
            runner = None
            gc.collect()
    with one_thread():
        expected = np.concatenate([x.numpy() for x in streamed_answers(checkpoint, pairs)])
    refuse_not_finite(checkpoint, expected)
    logits = np.concatenate(found)
    if not np.isfinite(logits).all():
        raise BundleError("the model's logits are not finite")
    p, q = log_softmax(expected), log_softmax(logits)
    return AnswerQuality(
        texts=len(texts),
        tokens=len(logits),
        kl_divergence=float((np.exp(p) * (p - q)).sum(-1).mean()),
        top1_agreement=float((p.argmax(-1) == q.argmax(-1)).mean()),
        max_logit_difference=float(np.abs(expected - logits).max()),
    )


class _Runner:
    """A model's `encode` and `decode`, whose tensors go from one to the other in place."""

    def __init__(self, model: Path | bytes) -> None:
        self.model: Any = compiled(model, 1)
        self.takes = self.model.get_input_tensor_details("decode")
        self.inputs = self._buffers("decode", self.takes)
        self.text = self._buffers("encode", self.model.get_input_tensor_details("encode"))
        self.memory = {name: x for name, x in self.inputs.items() if name.startswith("cross_")}
        caches = {name: x for name, x in self.inputs.items() if name.startswith("kv_cache_")}
        for name, cache in caches.items():
            # What is not written yet is masked, but 0 times a NaN is one.
            cache.write(np.zeros(self.takes[name]["shape"], np.float32))
        gives = self.model.get_output_tensor_details("decode")["logits"]
        self.vocabulary = int(gives["shape"][-1])
        self.result = self.model.create_output_buffer_by_name("decode", "logits")
        self.outputs = {**caches, "logits": self.result}
        self.encode_length = int(self.takes["encoder_mask"]["shape"][-1])
        self.context_length = int(self.takes["kv_cache_k_0"]["shape"][2])

    def _buffers(self, signature: str, names: Sequence[str]) -> dict[str, Any]:
        create = self.model.create_input_buffer_by_name
        return {name: create(signature, name) for name in names}

    def logits(self, text: Sequence[int], answer: Sequence[int]) -> np.ndarray:
        """What it says after each token of an answer to a text: [tokens, vocabulary]."""
        padding = [0] * (self.encode_length - len(text))
        mask = np.array([[*[1] * len(text), *padding]], np.int32)
        self.text["tokens"].write(np.array([[*text, *padding]], np.int32))
        self.text["mask"].write(mask)
        self.model.run_by_name("encode", self.text, self.memory)
        self.inputs["encoder_mask"].write(mask)
        rows = []
        for position, token in enumerate(answer):
            self.inputs["tokens"].write(np.array([[token]], np.int32))
            self.inputs["input_pos"].write(np.array([position], np.int32))
            if "mask" in self.inputs:
                visible = np.arange(self.context_length) <= position
                scores = np.where(visible, 0.0, -1e9).astype(np.float32)
                self.inputs["mask"].write(scores[None, None, None])
            self.model.run_by_name("decode", self.inputs, self.outputs)
            rows.append(self.result.read(self.vocabulary, np.float32))
        return np.array(rows)
