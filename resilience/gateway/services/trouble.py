"""Trouble: why exchanges with an endpoint failed, in a few words for the log, once for each change.

Never for the client: the words have addresses in them.
"""

from __future__ import annotations

from math import inf
from typing import Final

from ...errors import CallTimeoutError
from ..messages.exchange import RuledAnswerError, UpstreamStatusError

#: The same reason is not told again before so many seconds have passed,
SAY_AGAIN_S: Final = 60.0
#: unless the endpoint has answered meanwhile, and has not failed for it for so long.
WELL_S: Final = 5.0
_MOST: Final = 16  # reasons that are remembered


def trouble_of(error: BaseException) -> str:
    """The reason, with what is behind it."""
    if isinstance(error, (UpstreamStatusError, RuledAnswerError)):
        return str(error)
    if isinstance(error, CallTimeoutError):
        return f"no answer within {error.timeout:g} s"
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return "no connection in time"
    return f"{cause or ''}" or f"{error}" or type(error).__name__


class Troubles:
    """The reasons why one endpoint failed, as far as they were told of. Of one event loop."""

    __slots__ = ("_over_at", "_told")

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, float]] = {}  # when it was told of, and when it was met last
        self._over_at = -inf

    def are_told_of(self, reason: str, now: float) -> bool:
        """Whether to tell of this *reason* now; it counts as told then."""
        told, met = self._told.get(reason, (-inf, -inf))
        if now - told < SAY_AGAIN_S and (told > self._over_at or now - met < WELL_S):
            self._told[reason] = told, now
            return False
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[reason] = now, now
        return True

    def are_over(self, now: float) -> None:
        """The endpoint answers again."""
        self._over_at = now
