"""The published expressions that cut a text into pre-tokens, by the names that they go by.

Tables of ranks and GGUF files name such an expression at best; tokenizer.json and tekken.json hold
it. Each is that of the models' own tokenizer.json.
"""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_MARKS_AND_SPACES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_O200K_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _cased(ending: str) -> str:
    """Words cut where an upper case letter follows a lower case one, with an ending each."""
    front = r"[^\r\n\p{L}\p{N}]?"
    return rf"{front}{_UPPER}*{_LOWER}+{ending}|{front}{_UPPER}+{_LOWER}*{ending}"


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = rf"{_WORDS}|\p{{N}}{{1,3}}|{_MARKS_AND_SPACES}"  # Llama 3's too
QWEN2 = rf"{_WORDS}|\p{{N}}|{_MARKS_AND_SPACES}"
QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = rf"{_cased('')}|\p{{N}}|{_O200K_MARKS}"
O200K = rf"{_cased(_CONTRACTIONS + '?')}|\p{{N}}{{1,3}}|{_O200K_MARKS}"  # Llama 4's too

PATTERNS = {
    "gpt2": GPT2,
    "cl100k": CL100K,
    "llama3": CL100K,
    "o200k": O200K,
    "llama4": O200K,
    "qwen2": QWEN2,
    "qwen3.5": QWEN35,
    "tekken": TEKKEN,
}
