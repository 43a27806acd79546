"""Rebuilds a checkpoint's tokenizer as a SentencePiece model that gives the same ids."""


class TokenizerError(ValueError):
    """A tokenizer that cannot be read or rebuilt: `where: what is there; what was needed`."""
