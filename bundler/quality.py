"""How far a converted model's logits are from those of the checkpoint that it was made from."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..models import CheckpointError
from ..models._checkpoint import Checkpoint
from . import BundleError
from .session import Session


@dataclass(frozen=True)
class Quality:
    """Distances over a text, the next token's distribution at each of its positions.

    tokens: positions compared. kl_divergence: mean of sum p (log p - log q), in nats, p being the
    checkpoint's in float32 and q the converted model's. top1_agreement: share of positions where
    both put the same token first. max_logit_difference: over all positions and tokens.
    prefill_difference: the largest difference, over the prefill signatures, between the logits
    after a prefill and after the same tokens one by one.
    perplexity, perplexity_of_checkpoint: exp of the mean negative log likelihood of the text.
    """

    tokens: int
    kl_divergence: float
    top1_agreement: float
    max_logit_difference: float
    prefill_difference: float
    perplexity: float
    perplexity_of_checkpoint: float


def sample_text() -> str:
    """English prose of 420 SmolLM2 tokens, written for this purpose and free to use."""
    return Path(__file__).with_name("sample.txt").read_text("utf-8")


def measure(
    checkpoint: Checkpoint,
    model: Path | bytes,
    tokens: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> Quality:
    """Compares a model with its checkpoint on a text.

    The reference is the re-authored module in float32 whose weights are read from the checkpoint
    as it runs. The model runs in LiteRT, through decode token by token, and through each prefill
    signature once. tokens: as many as there are, up to the model's context length, are used.
    """
    with Session(model) as session:
        tokens = tokens[: session.context_length]
        logits = reference_logits(checkpoint, tokens)
        refuse_not_finite(checkpoint, logits)
        decoded = dict.fromkeys(min(n, len(tokens) - 1) for n in session.prefill_lengths)
        totals = _compare(session, logits, tokens, decoded, progress)
        return Quality(**totals, prefill_difference=_prefill_difference(session, tokens, decoded))


def _compare(
    session: Session,
    reference: np.ndarray,
    tokens: Sequence[int],
    decoded: dict[int, np.ndarray | None],
    progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """All of Quality that decoding token by token gives; keeps the logits of some positions."""
    divergence = agreement = loss = loss_of_checkpoint = difference = 0.0
    for i, token in enumerate(tokens):
        logits = session.decode(token)
        if not np.isfinite(logits).all():
            raise BundleError(f"the model's logits after {i + 1} tokens are not finite")
        if i in decoded:
            decoded[i] = logits
        p, q = log_softmax(reference[i]), log_softmax(logits)
        divergence += float(np.sum(np.exp(p) * (p - q)))
        agreement += float(p.argmax() == q.argmax())
        difference = max(difference, float(np.abs(reference[i] - logits).max()))
        if i + 1 < len(tokens):
            loss -= float(q[tokens[i + 1]])
            loss_of_checkpoint -= float(p[tokens[i + 1]])
        if progress:
            progress(i + 1, len(tokens))
    count = len(tokens)
    return {
        "tokens": count,
        "kl_divergence": divergence / count,
        "top1_agreement": agreement / count,
        "max_logit_difference": difference,
        "perplexity": _perplexity(loss, count - 1),
        "perplexity_of_checkpoint": _perplexity(loss_of_checkpoint, count - 1),
    }


def _perplexity(loss: float, count: int) -> float:
    # Of weights that are mere noise it may be more than a float holds.
    return math.exp(min(loss / max(1, count), 700.0))


def _prefill_difference(
    session: Session, tokens: Sequence[int], decoded: Mapping[int, np.ndarray | None]
) -> float:
    """The largest difference that it makes to the next logits to prefill instead of to decode."""
    worst = 0.0
    for length, logits in decoded.items():
        assert logits is not None
        session.reset()
        session.prefill(tokens[:length])
        worst = max(worst, float(np.abs(session.decode(tokens[length]) - logits).max()))
    return worst


def reference_logits(checkpoint: Checkpoint, tokens: Sequence[int]) -> np.ndarray:
    """The logits of the checkpoint itself after each token: [tokens, vocabulary], float32."""
    from ..models._model import streamed_logits

    return streamed_logits(checkpoint, tokens).numpy()


def refuse_not_finite(checkpoint: Checkpoint, logits: np.ndarray) -> None:
    """Raises CheckpointError where a checkpoint's own logits are not finite."""
    if not np.isfinite(logits).all():
        raise CheckpointError(
            f"{checkpoint.path}: its logits are not finite; the checkpoint is damaged, or not "
            "meant for float32"
        )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log probabilities over the last dimension."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
