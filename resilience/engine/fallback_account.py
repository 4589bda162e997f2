"""FallbackAccount: the slots of one function's fallback, and the counts of how it ended."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import Any, Final

from ..core.bulkhead import Bulkhead, Slots
from ..core.events import CallFellBack
from ..core.exception_groups import is_a, is_interrupt, matches
from ..core.fallback import Fallback, takes_error
from ..core.outcome import Event, event_name
from ..errors import BulkheadFullError, FallbackRejectedError
from ..metrics.recorder import Recorder
from .emitter import Emitter

_CANCELLED: Final = (int(Event.CANCELLED),)
_SUCCESS: Final = int(Event.FALLBACK_SUCCESS)
_FAILURE: Final = int(Event.FALLBACK_FAILURE)
_EMIT: Final = (int(Event.FALLBACK_EMIT),)
_REJECTED: Final = (int(Event.FALLBACK_REJECTION), int(Event.EXCEPTIONS_THROWN))


class FallbackAccount:
    """The account of one function's fallback. Every method may be called from any thread.

    Attributes:
        function: What answers.
    """

    __slots__ = ("_clock", "_emitter", "_group", "_key", "_on", "_recorder", "_slots", "_wants_error", "function")

    def __init__(self, fallback: Fallback, *, key: str, group: str, clock: Callable[[], float], recorder: Recorder,
                 emitter: Emitter) -> None:
        self._key, self._group, self._clock = key, group, clock
        self._recorder, self._emitter = recorder, emitter
        self.function, self._on, self._wants_error = fallback.function, fallback.on, takes_error(fallback.function)
        self._slots = Slots(Bulkhead(fallback.max_concurrent), key=key)

    @property
    def in_flight(self) -> int:
        """How many fallbacks run at the moment."""
        return self._slots.in_flight

    def answers_for(self, error: BaseException) -> bool:
        """Whether the fallback answers for a call that fails with *error*."""
        return issubclass(type(error), self._on) or matches(error, self._on)

    def begin(self, error: BaseException, taken: list[list[None]]) -> None:
        """Take a slot, noted in *taken* as by Slots.take(); ended() must follow, raised or not.

        Raises:
            FallbackRejectedError: Too many run already.
        """
        try:
            self._slots.take(taken)
        except BulkheadFullError:
            self._recorder.count(_REJECTED, self._clock())
            raise FallbackRejectedError(self._key) from error

    def arguments(self, error: BaseException, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments for it."""
        return {**kwargs, "error": error} if self._wants_error else kwargs

    def ended(self, error: BaseException | None, taken: list[list[None]], emitted: int = 0) -> None:
        """Count how it ended: with its answer (None) or an *error*, after *emitted* items of a generator.

        Its slot has been given back already. With an empty *taken* it never began.
        """
        now = self._clock()
        if not taken and error is not None and not is_interrupt(error):
            return  # refused, and counted so
        if emitted:
            self._recorder.count(_EMIT, now, emitted)
        if error is None:
            self._recorder.count((_SUCCESS,), now)
            self._tell(_SUCCESS, now)
        elif is_interrupt(error) or is_a(error, concurrent.futures.CancelledError):
            self._recorder.count(_CANCELLED, now)
        else:
            self._recorder.count((_FAILURE, int(Event.EXCEPTIONS_THROWN)), now)
            self._tell(_FAILURE, now)

    def renew(self) -> None:
        """Start over in a forked child."""
        self._slots.renew()

    def _tell(self, event: int, now: float) -> None:
        if self._emitter.wanted(CallFellBack):
            self._emitter.emit(CallFellBack(self._key, self._group, event_name(event), now))
