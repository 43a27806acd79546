"""Re-authored architectures, one file each, and the checkpoints that they are read from."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read: `where: what is there; what was needed`."""
