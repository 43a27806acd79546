"""Linear layers and embedding tables whose weights come from a checkpoint."""

from torch import nn


class Linear(nn.Linear):
    """y = x @ weight.T + bias. weight: [out_features, in_features]; bias: [out_features] or None.

    Differs from torch's in not being initialized: every value is read from a checkpoint, and
    torch's initialization imports its compiler on the meta device (2.6 s, 70 MB).
    """

    def reset_parameters(self) -> None:
        """Leaves the parameters as they were allocated."""


class Embedding(nn.Embedding):
    """Rows of weight [num_embeddings, embedding_dim] by token id; not initialized either."""

    def reset_parameters(self) -> None:
        """Leaves the parameters as they were allocated."""
