"""Configuration files: TOML text in, validated attrs objects out, every mistake with its file, line and key."""

from .document import Document
from .mistakes import ConfigFileError, Mistake

__all__ = ["ConfigFileError", "Document", "Mistake"]
