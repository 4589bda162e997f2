"""UnreadableBodyError: a body cannot be read, and what a client is told whose request it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class UnreadableBodyError(ValueError):
    """A body cannot be read; the message says why.

    Attributes:
        status: What a client is told whose request it is.
        headers: Beside the status.
    """

    status: ClassVar[int] = 400
    headers: ClassVar[Mapping[str, str]] = {}

    @property
    def detail(self) -> str:
        """One sentence for that client."""
        return f"{self}"
