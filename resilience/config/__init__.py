"""Configuration files: TOML text in, validated attrs objects out, every mistake with its file, line and key."""

from .applied_source import check
from .configuration import Configuration, configure
from .document import Document
from .events import ConfigurationApplied, ConfigurationRejected
from .explanation import Chain, Explanation, Origin, explain
from .mistakes import ConfigFileError, Mistake, Place

__all__ = ["Chain", "ConfigFileError", "Configuration", "ConfigurationApplied", "ConfigurationRejected", "Document",
           "Explanation", "Mistake", "Origin", "Place", "check", "configure",
           "explain"]
