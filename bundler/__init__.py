"""Packs a model and its tokenizer into a `.task` bundle, and holds the command line."""


class BundleError(ValueError):
    """A bundle that cannot be written or read: `where: what is there; what was needed`."""
