"""Detours: what one request has met since its first attempt failed, and what its client is told if nobody is left."""

from __future__ import annotations

from ..errors import RejectedError
from .balancing.course import Course, Ending
from .held_answers import HeldAnswer
from .upstream import UpstreamUnreachableError


class NobodyLeftError(Exception):
    """There is to be no further attempt."""


class Detour:
    """What one request has met since its first attempt failed.

    Attributes:
        course: What is to follow.
        held: The last answer that was held back.
        then: What a rule says is to follow the last one; None: no rule says anything.
    """

    __slots__ = ("_refusal", "_trouble", "course", "held", "then")

    def __init__(self, course: Course) -> None:
        self.course = course
        self.held: HeldAnswer | None = None
        self.then: str | None = None
        self._trouble: Exception | None = None
        self._refusal: RejectedError | None = None

    def note(self, ending: Ending, error: Exception) -> None:
        """An attempt has failed."""
        if ending is not Ending.REFUSED:
            if self._trouble is None or not isinstance(error, UpstreamUnreachableError):
                self._trouble = error
        elif isinstance(error, RejectedError) and (
                self._refusal is None or (error.retry_after or 0.0) < (self._refusal.retry_after or 0.0)):
            self._refusal = error

    def most_telling(self, last: Exception) -> Exception:
        """What the client is told: a failure of what was sent, else the refusal that ends soonest, else the last."""
        trouble, refusal = self._trouble, self._refusal
        if trouble is not None and (refusal is None or not isinstance(trouble, UpstreamUnreachableError)):
            return trouble
        return last if refusal is None else refusal
