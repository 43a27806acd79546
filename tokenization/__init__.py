"""Rebuilds a checkpoint's tokenizer as a SentencePiece model that gives the same ids."""

FULL, PLAIN = FORMS = ("full", "plain")  # of a rebuilt model, see `sentencepiece_model.build`


class TokenizerError(ValueError):
    """A tokenizer that cannot be read or rebuilt: `where: what is there; what was needed`."""
