"""Checks of the functions that users give to integrations, where they are given.

An ``async def`` that nobody awaits would be taken for its answer, which is true: every request could be repeated, and
none would be counted at the door.
"""

from __future__ import annotations

from typing import Any

from ..core.callbacks import GIVE_PLAIN, is_plain
from ..errors import ConfigError


def check_function(value: Any, name: str, parameters: str) -> None:
    """Raise ConfigError unless *value* is a plain function.

    Args:
        value: What was given.
        name: Of the setting.
        parameters: What the function is called with, for the message.

    Raises:
        ConfigError: It cannot be called, or its answer would have to be awaited or iterated.
    """
    if not callable(value):
        raise ConfigError(f"{name} must be a function of {parameters}, not {value!r}", name)
    if not is_plain(value):
        raise ConfigError(f"{name} must be a plain function of {parameters}, not {value!r}; {GIVE_PLAIN}", name)
