"""Lowers a PyTorch module straight into a TFLite flatbuffer with streamed weights."""


class ConversionError(ValueError):
    """A module that cannot be converted: `where: what is there; what was needed`."""
