"""Fetches a checkpoint from the Hugging Face Hub into its cache."""

from pathlib import Path

from . import CheckpointError

_WANTED = ["*.json", "*.jinja", "*.safetensors", "tokenizer.model"]
# subfolders hold other formats, but for those of sentence-transformers (1_Pooling); Meta's and
# Mistral's own files hold the same weights again
_UNWANTED = ["[!0-9]*/*", "[0-9][!_]*/*", "consolidated*.safetensors"]


def fetch(repository: str) -> Path:
    """The folder of a repository, `organization/name`, in the Hub's cache.

    Downloads what is not there yet. Raises CheckpointError where that cannot be done.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    # the library's own base of network errors: httpx's, or requests' in its older versions
    network_error: type[BaseException] = HfHubHTTPError.__bases__[0]
    try:
        return Path(
            snapshot_download(repository, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
        )
    except (network_error, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{repository}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What a user can do about a failed download, on one line."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    match error:
        case GatedRepoError():
            return "gated; accept its licence on its page on the Hub, then `hf auth login`"
        case RepositoryNotFoundError():
            return "no file or folder here, and no repository on the Hub that you may read"
        case LocalEntryNotFoundError() | OfflineModeIsEnabled():
            return "no file or folder here, not in the Hub's cache, and the Hub is out of reach"
    return f"the download failed: {(str(error) or type(error).__name__).splitlines()[0]}"
