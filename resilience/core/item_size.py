"""The size of an item of a stream, in bytes, where its first items are held back up to so many."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

from .plain_numbers import is_number


def item_size(item: Any, measure: Callable[[Any], float] | None) -> int:
    """Return how many bytes *item* has, at least one, so that what is held back has an end.

    Args:
        item: What came of the stream.
        measure: Returns its size; None: it is text, which counts as UTF-8, or bytes of any kind.

    Raises:
        TypeError: The item is neither, and *measure* is None; or what this returned is no number.
    """
    if measure is not None:
        size = measure(item)
        if not is_number(size):
            raise TypeError(f"hold_size must return how many bytes an item has, a number, not {size!r}")
        return max(1, ceil(size))
    if isinstance(item, str):
        return max(1, len(item) if item.isascii() else len(item.encode("utf-8", "surrogatepass")))
    if isinstance(item, memoryview):
        return max(1, item.nbytes)
    if isinstance(item, (bytes, bytearray)):
        return max(1, len(item))
    raise TypeError(f"hold_bytes does not know the size of an item of type {type(item).__name__}: pass a function that "
                    "returns it as hold_size, such as hold_size=lambda item: len(item['text'])")
