"""RateHistory: how many calls one command had in the last two minutes, in steps of five seconds.

Theory of operation. Whoever opens a dashboard in the middle of an outage wants to see how it began, and nobody was
listening then. So the recorder, which closes a slice of its rolling window once a second anyway, notes here how many
requests and how many errors the slice had: nothing per call, and 300 bytes for a command that has traffic. A stream
sends it to each new listener, once. Five seconds are half the window that rates are taken over: a finer step would show
no more.

Not locked: the recorder guards it.
"""

from __future__ import annotations

from array import array
from typing import Final

import attrs

STEP_SLICES: Final = 5  # slices of the recorder in a step
STEPS: Final = 26  # two minutes, and the window over which the rate at their beginning is taken


@attrs.frozen
class PastRates:
    """What has happened in the steps that are over.

    Attributes:
        requests: Calls that ran or were refused, per step, oldest first.
        errors: Of these, failed, timed out or refused.
        age: How many slices ago the newest step ended.
    """

    requests: list[int]
    errors: list[int]
    age: int


class RateHistory:
    """Requests and errors of the last steps. Told running totals at the end of each slice."""

    __slots__ = ("_numbers", "_slices", "_total_errors", "_total_requests")

    def __init__(self) -> None:
        self._numbers: array[int] | None = None  # requests, errors, requests, ... per step, the running one last
        self._slices = 0  # of the running step that are over
        self._total_requests = self._total_errors = 0

    def close(self, requests: int, errors: int, slices: int) -> None:
        """End a slice.

        Args:
            requests: How many there were until its end, since for ever.
            errors: Of these, how many were errors.
            slices: How many slices are over, this one included: the others had nothing.
        """
        fresh, self._total_requests = requests - self._total_requests, requests
        bad, self._total_errors = errors - self._total_errors, errors
        steps, self._slices = divmod(self._slices + slices, STEP_SLICES)
        if self._numbers is None:
            if not fresh:
                return
            self._numbers = array("I", (0, 0))
        self._numbers[-2] += fresh
        self._numbers[-1] += bad
        if steps:
            self._numbers = (self._numbers + array("I", [0, 0] * min(steps, STEPS + 1)))[-2 * (STEPS + 1) :]

    def read(self) -> PastRates:
        """The steps that are over; none if nothing has happened in any of them."""
        over = [] if self._numbers is None else self._numbers.tolist()[:-2]
        if not any(over):
            return PastRates([], [], 0)
        return PastRates(over[::2], over[1::2], self._slices)
