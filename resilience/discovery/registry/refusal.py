"""Refusals of registrations."""

from __future__ import annotations


class RefusedError(Exception):
    """A registration is refused, and nothing was changed.

    Attributes:
        status: Of HTTP.
        reason: One word for statistics.
        detail: One sentence for whoever registers.
    """

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(status, reason, detail)
        self.status, self.reason, self.detail = status, reason, detail
