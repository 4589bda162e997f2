"""AnswerStore: a store of answers, and the executions that will fill it.

It decides what a call that found no answer does next, and what is kept of an execution. It waits for nothing.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Hashable
from typing import Any

import attrs

from ..core.cache import Cache, CacheEntry, Store
from ..core.callbacks import call_back
from ..core.exception_copy import copy_without_traceback
from ..core.exception_groups import holds, is_a, matches
from ..drivers.deadline_context import in_haste
from ..drivers.retry_layers import retried_by
from ..drivers.single_flight import Flight, Flights
from ..errors import RejectedError
from .fallback_result import FallbackResult, unmarked


@attrs.define
class CachePolicy:
    """The caching policy in force for a command. configure() replaces it.

    Attributes:
        policy: The policy; the last one, while there is none.
        is_on: Whether answers are kept and shared.
    """

    policy: Cache
    is_on: bool = True


class SharedAnswer:
    """An answer that is not its first caller's alone: others may get it too, each a copy if the policy says so.

    Attributes:
        value: The answer.
        is_stale: It had expired, and stands in for a call that failed.
        is_for_all: Whoever waits for that call gets it too: it did not fail for want of its caller's time.
    """

    __slots__ = ("is_for_all", "is_stale", "value")

    def __init__(self, value: Any, *, is_stale: bool = False, is_for_all: bool = True) -> None:
        self.value, self.is_stale, self.is_for_all = value, is_stale, is_for_all


class AnswerStore:
    """The answers of one function, for one scope. Every method may be called from any thread.

    Attributes:
        store: Those that came.
        flights: The executions under way.
    """

    __slots__ = ("_clock", "_held", "flights", "store")

    def __init__(self, held: CachePolicy, clock: Callable[[], float]) -> None:
        self._held, self._clock = held, clock
        self.store, self.flights = Store(held.policy), Flights()

    def next(self, flight: Flight) -> CacheEntry | Flight | None:
        """Decide what to do now: return this answer, wait for this leader, or (None) run the function."""
        leader = self.flights.lead_or_follow(flight)
        if leader is None:
            return self.store.get(flight.key, self._clock())  # it may have come before we boarded
        return leader if leader.home is flight.home else None

    def copied(self, value: Any) -> Any:
        """A copy of *value*, if callers are to have copies; None needs none. Raises what the user's function does."""
        copy = self._held.policy.copy
        return value if copy is None or value is None else call_back(copy, (value,), None)

    def stale(self, key: Hashable, error: BaseException) -> SharedAnswer | None:
        """What may answer for a call of *key* that failed with *error*; None: nothing, or the error is an answer."""
        if self._is_answer(error):
            return None
        entry = self.store.stale(key, self._clock())
        return None if entry is None else SharedAnswer(entry.value, is_stale=True, is_for_all=not in_haste(error))

    def came(self, flight: Flight, result: Any, epoch: int) -> Any:
        """Keep what an execution returned, if it is to be, and let those have it who wait for it."""
        if type(result) is SharedAnswer:
            flight.left_to_retry = _left_to_retry(flight)
            if result.is_for_all:
                flight.succeed(result)
            return self.copied(result.value)
        if type(result) is FallbackResult:
            if in_haste(result.error):
                return unmarked(result)  # nobody else's answer
            flight.left_to_retry = _left_to_retry(flight)
            if not flight.left_to_retry:
                self._keep(flight.key, result.error, epoch, fallback_ended=True)
            if result.failure is not None:
                flight.fail(result.failure)
                raise result.failure
            result = result.answer
            flight.succeed(result)
        else:
            try:
                self.returned(flight, result, epoch)
            except Exception as mistake:  # of the user's copy
                flight.fail(mistake)
                raise
        return result

    def returned(self, flight: Flight, result: Any, epoch: int, instead_of: CacheEntry | None = None) -> None:
        """Keep what the function returned, if it is to be, or else at least not what it returned before.

        Raises:
            Exception: What ``copy`` raised.
        """
        if result is None and not self._held.policy.cache_none:
            self.store.drop(flight.key, epoch, instead_of)
            flight.succeed(None)
            return
        if self._held.policy.copy is None:
            self.store.put(flight.key, result, self._clock(), epoch, None, instead_of)
            flight.succeed(result)
            return
        kept = self.copied(result)
        self.store.put(flight.key, kept, self._clock(), epoch, None, instead_of)
        flight.succeed(SharedAnswer(kept))

    def failed(self, flight: Flight, error: Exception, epoch: int) -> None:
        """Keep what an execution raised, if it is to be, and let those have it who wait for it."""
        if holds(error, concurrent.futures.CancelledError) or in_haste(error):
            return  # no answer, so somebody else leads
        flight.left_to_retry = _left_to_retry(flight)
        if not flight.left_to_retry:
            self._keep(flight.key, error, epoch, fallback_ended=False)
        flight.fail(error)

    def refresh_raised(self, entry: CacheEntry, error: Exception, epoch: int, *, falls_back: bool) -> bool:
        """Keep what a refresh of *entry* raised, if it is to be; whether it is."""
        return self._keep(entry.key, error, epoch, fallback_ended=falls_back, instead_of=entry)

    def _keep(self, key: Hashable, error: Any, epoch: int, *, fallback_ended: bool,
              instead_of: CacheEntry | None = None) -> bool:
        """Keep an *error* that is to be; whether it is."""
        keepsake = copy_without_traceback(error) if self._is_answer(error) else None
        if keepsake is not None:
            self.store.put(key, fallback_ended, self._clock(), epoch, keepsake, instead_of)
        return keepsake is not None

    def _is_answer(self, error: BaseException) -> bool:
        """Whether an *error* is to be kept. A refusal is not: that was the moment's."""
        kinds = self._held.policy.cache_exceptions
        return bool(kinds) and is_a(error, Exception) and matches(error, kinds) and not holds(error, RejectedError)


def _left_to_retry(flight: Flight) -> bool:
    """Whether a call that failed made fewer attempts than on its own, since the leader's caller repeats all of it."""
    return flight.scope.left_to_retry and retried_by() is not None
