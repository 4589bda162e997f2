"""Sharing: one object for all that are equal, where thousands of commands would each keep their own.

A set of names takes up to 728 bytes, and most commands say the same.
"""

from __future__ import annotations

import functools
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def shared(value: _Value) -> _Value:
    """The first of the values that are equal to *value*, which must be immutable, and is kept for long."""
    return _first(value)  # type: ignore[no-any-return]


@functools.lru_cache(maxsize=512)
def _first(value: Any) -> Any:
    return value
