"""Encodes texts with both tokenizers and counts where they differ."""

import time
from collections.abc import Sequence
from typing import Any

from sentencepiece import SentencePieceProcessor

from .alignment import Comparison, Reference, tokens_wrong
from .tally import SHOWN, Tally

Pair = tuple[int, int]
HONEST, STRICT, LOOSE = "pairs/honest", "pairs/strict", "pairs/loose"


class Comparer:
    """Both tokenizers, ready for use."""

    def __init__(self, document: dict[str, Any], model: bytes) -> None:
        self.reference = Reference(document)
        self.rebuilt = SentencePieceProcessor(model_proto=model)

    def compare(self, texts: Sequence[str]) -> Tally:
        """The counts over some texts."""
        tally = Tally()
        for text in texts:
            self._compare(text, tally)
        return tally

    def compare_pairs(self, texts: Sequence[str], pairs: Sequence[Pair]) -> dict[str, Tally]:
        """The counts over the texts of id pairs, for each way to count them.

        HONEST: a pair is wrong when the ids differ at all. STRICT, as litert-torch's check counts:
        not when only the first of the original's ids is missing. LOOSE, as it counts too: of those,
        only when the original itself gives the pair back, so that it is a text as it would write.
        """
        tallies = {HONEST: Tally(), STRICT: Tally(), LOOSE: Tally()}
        for text, pair in zip(texts, pairs, strict=True):
            expected, got = self._compare(text, tallies[HONEST])
            is_strict = got not in (expected, expected[1:])
            is_loose = is_strict and expected == list(pair)
            for name, is_wrong in ((STRICT, is_strict), (LOOSE, is_loose)):
                tallies[name].add(
                    Tally(strings=1, strings_wrong=int(is_wrong), tokens=len(expected))
                )
        return tallies

    def _compare(self, text: str, tally: Tally) -> tuple[list[int], list[int]]:
        """The ids that both give, after counting them."""
        start = time.perf_counter()
        encoding = self.reference.tokenizer.encode(text, add_special_tokens=False)
        middle = time.perf_counter()
        got = self.rebuilt.encode(text)
        tally.seconds_rebuilt += time.perf_counter() - middle
        tally.seconds_original += middle - start
        expected = encoding.ids
        tally.strings += 1
        tally.tokens += len(expected)
        tally.size_bytes += len(text.encode())
        if expected != got:
            comparison = Comparison(self.reference, text, encoding, got)
            tally.strings_wrong += 1
            tally.tokens_wrong += tokens_wrong(comparison.places)
            for place in comparison.places:
                tally.rules[comparison.explain(place)[0]] += 1
            if len(tally.first) < SHOWN:
                tally.first.append(comparison.mismatch(comparison.places[0]))
        if not self._gives_back(got, text) and self._keeps(expected, text):
            tally.round_trips_broken += 1
        return expected, got

    def _gives_back(self, ids: list[int], text: str) -> bool:
        try:
            return self.rebuilt.decode(ids) == text
        except UnicodeDecodeError:  # the ids stand for a part of a character
            return False

    def _keeps(self, ids: list[int], text: str) -> bool:
        """Whether the original itself gives the text back."""
        return self.reference.tokenizer.decode(ids, skip_special_tokens=False) == text
