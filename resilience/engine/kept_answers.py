"""KeptAnswers: a store of answers, and the executions that will fill it.

It decides what a call that found no answer does next, and what is kept of an execution. It waits for nothing.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from ..core.cache import Cache, Entry, Store
from ..core.exception_copy import copy_without_traceback
from ..core.exception_groups import holds, is_a, matches
from ..drivers.deadline_context import in_haste
from ..drivers.single_flight import Flight, Flights
from ..errors import RejectedError
from .fallback_result import FallbackResult, unmarked


@attrs.define
class CachePolicy:
    """The caching policy in force for a command. configure() replaces it."""

    policy: Cache


class KeptAnswers:
    """The answers of one function, for one scope. Every method may be called from any thread.

    Attributes:
        store: Those that came.
        flights: The executions under way.
    """

    __slots__ = ("_clock", "_held", "flights", "store")

    def __init__(self, held: CachePolicy, clock: Callable[[], float]) -> None:
        self._held, self._clock = held, clock
        self.store, self.flights = Store(held.policy), Flights()

    def next(self, flight: Flight) -> Entry | Flight | None:
        """Decide what to do now: return this answer, wait for this leader, or (None) run the function."""
        leader = self.flights.lead_or_follow(flight)
        if leader is None:
            return self.store.get(flight.key, self._clock())  # it may have come before we boarded
        return leader if leader.home is flight.home else None

    def came(self, flight: Flight, result: Any, epoch: int) -> Any:
        """Keep what an execution returned, if it is to be, and let those have it who wait for it."""
        if type(result) is FallbackResult:
            if in_haste(result.error):
                return unmarked(result)  # nobody else's answer
            self._keep(flight.key, result.error, epoch, fallback_ended=True)
            if result.failure is not None:
                flight.fail(result.failure)
                raise result.failure
            result = result.answer
        elif result is not None or self._held.policy.cache_none:
            self.store.put(flight.key, result, self._clock(), epoch)
        flight.succeed(result)
        return result

    def failed(self, flight: Flight, error: Exception, epoch: int) -> None:
        """Keep what an execution raised, if it is to be, and let those have it who wait for it."""
        if holds(error, concurrent.futures.CancelledError) or in_haste(error):
            return  # no answer, so somebody else leads
        self._keep(flight.key, error, epoch, fallback_ended=False)
        flight.fail(error)

    def _keep(self, key: Hashable, error: Any, epoch: int, *, fallback_ended: bool) -> None:
        """Keep an *error* that is to be, unless it is a refusal: that was the moment's, and no answer."""
        kinds = self._held.policy.cache_exceptions
        if kinds and is_a(error, Exception) and matches(error, kinds) and not holds(error, RejectedError):
            keepsake = copy_without_traceback(error)
            if keepsake is not None:
                self.store.put(key, fallback_ended, self._clock(), epoch, keepsake)
