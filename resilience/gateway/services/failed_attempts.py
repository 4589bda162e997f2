"""Failed attempts: what a request has met since its first one, and what its client is told if nobody is left."""

from __future__ import annotations

from ...errors import RejectedError
from ..answers.held_answers import HeldAnswer, OpenAnswer
from ..balancing.retry_state import Ending, RetryDecision, RetryState
from ..messages.exchange import UpstreamUnreachableError


class NobodyLeftError(Exception):
    """There is to be no further attempt."""


class FailedAttempts:
    """What one request has met since its first attempt failed.

    Attributes:
        retry_state: What is to follow.
        move: What is to follow the last answer, and after how many seconds; None: how its attempt ended will show.
    """

    __slots__ = ("_held", "_open", "_refusal", "_trouble", "move", "retry_state")

    def __init__(self, retry_state: RetryState) -> None:
        self.retry_state = retry_state
        self.move: tuple[RetryDecision, float] | None = None
        self._held: HeldAnswer | None = None
        self._open: OpenAnswer | None = None
        self._trouble: Exception | None = None
        self._refusal: RejectedError | None = None

    def hold(self, answer: HeldAnswer) -> None:
        """Hold the last answer back: it has come whole."""
        self.drop()
        self._held = answer

    def keep(self, answer: OpenAnswer) -> None:
        """Keep the last answer, which has not ended. If it does not, the one before it is the last."""
        if self._open is not None:
            self._open.drop()
        self._open = answer

    async def last_answer(self) -> HeldAnswer | None:
        """The last answer of an upstream that can be given after all."""
        found = None if self._open is None else await self._open.whole()
        return found or self._held

    def drop(self) -> None:
        """Let go of what is open: there is something better, or nobody to give it to."""
        if self._open is not None:
            self._open.drop()
            self._open = None

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
