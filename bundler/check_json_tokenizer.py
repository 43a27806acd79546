"""Checks the tokenizer.json of a bundle: that it loads, and that the other parts fit it."""

from collections.abc import Iterator

from tokenizers import Tokenizer

from ..tokenization import TokenizerError
from . import BundleError, hf_tokenizer
from .check_text import Prompting, check_count
from .findings import Finding, finding
from .known_faults import TEXT
from .litertlm import HF_TOKENIZER
from .parts import METADATA


def read_json_tokenizer(data: bytes, where: str) -> tuple[list[Finding], Tokenizer | None]:
    """data: the section, deflated."""
    try:
        return [], hf_tokenizer.load(data, where)
    except (BundleError, TokenizerError) as error:
        what = str(error).removeprefix(f"{where}: ")
        return [finding(TEXT, "tokenizer.unreadable", HF_TOKENIZER, what)], None


def check_json_tokens(text: Prompting, tokenizer: Tokenizer) -> Iterator[Finding]:
    """What the tokenizer makes of the start and stop tokens."""
    if text.start and tokenizer.token_to_id(text.start) is None:
        what = f"start token {text.start!r} is no token of the tokenizer.json"
        yield finding(TEXT, "start.unknown", METADATA, what)
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    for stop in text.stops:
        token = tokenizer.token_to_id(stop)
        if not stop.strip():
            code, what = "stop.white_space", "is white space; an answer would stop at the first one"
        elif token is None:
            ids = tokenizer.encode(stop, add_special_tokens=False).ids
            code, what = "stop.several_ids", f"is {len(ids)} ids {ids[:20]}; it must be one token"
        elif stop not in added:
            code = "stop.ordinary"
            what = f"is the token {token}, and none of the added ones; any answer may contain it"
        else:
            continue
        yield finding(TEXT, code, METADATA, f"stop token {stop!r} {what}")


def check_json_vocabulary(tokenizer: Tokenizer, vocabulary: int) -> Iterator[Finding]:
    """vocabulary: the model's, the number of its logits."""
    count = hf_tokenizer.count_of(tokenizer)
    return check_count(HF_TOKENIZER, count - 1, count, vocabulary)
