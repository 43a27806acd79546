"""The building blocks from which an architecture is re-authored."""
