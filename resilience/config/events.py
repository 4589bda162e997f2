"""What happens to a configuration, as listeners of its registry are told it."""

from __future__ import annotations

import attrs

from .mistakes import Mistake


@attrs.frozen
class ConfigurationApplied:
    """A configuration was read and is in force; *changed* are the keys of the commands that it changed."""

    file: str
    changed: tuple[str, ...]
    at: float


@attrs.frozen
class ConfigurationRejected:
    """A configuration, or what it says of one command or target, has mistakes and is not in force."""

    file: str
    mistakes: tuple[Mistake, ...]
    at: float
