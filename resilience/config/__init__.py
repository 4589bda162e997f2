"""Configuration files: TOML text in, validated attrs objects out, every mistake with its file, line and key."""

from ..engine.worst_case import WorstCase
from .applied_source import check
from .configuration import Configuration, configure
from .document import Document as Document  # for the files of gateways and registries
from .events import ConfigurationApplied, ConfigurationRejected
from .explanation import Chain, Explanation, Origin, explain
from .mistakes import ConfigFileError, Mistake, Place

__all__ = ["Chain", "ConfigFileError", "Configuration", "ConfigurationApplied", "ConfigurationRejected", "Explanation",
           "Mistake", "Origin", "Place", "WorstCase", "check", "configure", "explain"]


def __dir__() -> list[str]:
    """The public names; submodules are there to be imported, not to be listed."""
    return [*__all__]
