"""CircuitHistory: the last changes of a command's circuit, which are logged and told to listeners when they happen.

The circuit tells it of each change, in whichever thread that is. It knows neither the command nor its circuit, so that
it keeps neither of them alive.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Final

from ..core.events import State, StateChanged, Trigger
from ..core.reasons import FAILED
from ..engine.emitter import Emitter

_KEPT: Final = 5
_BLAMING: Final = (*FAILED, Trigger.PROBE_FAILED)  # triggers that a failed call pulls
_logger: Final = logging.getLogger("resilience")


class CircuitHistory:
    """The circuit's listener. It may be called by any thread.

    Attributes:
        latest: The last changes, oldest first.
        is_shadow: Whether the circuit only counts what it would refuse.
    """

    __slots__ = ("_emitter", "_key", "is_shadow", "latest")

    def __init__(self, key: str, emitter: Emitter) -> None:
        self._key, self._emitter = key, emitter
        self.latest: tuple[StateChanged, ...] = ()
        self.is_shadow = False

    def __call__(self, event: StateChanged) -> None:
        """The circuit has changed its state: log it, keep it, and tell listeners."""
        self._log(event)
        latest = sorted((*self.latest, event), key=lambda each: each.term)  # arrival is not order
        self.latest = tuple(latest[-_KEPT:])
        self._emitter.emit(event)

    def forget(self) -> None:
        """There were no changes."""
        self.latest = ()

    def _log(self, event: StateChanged) -> None:
        """One line per change; the refusals that follow log nothing."""
        level = logging.WARNING if event.new in (State.OPEN, State.FORCED_OPEN) else logging.INFO
        if not _logger.isEnabledFor(level):
            return
        failure = event.last_failure if event.trigger in _BLAMING else None
        last = "" if failure is None else f"; the last failure was {failure}"
        shadow = "; in shadow mode no call is refused" if self.is_shadow else ""
        with contextlib.suppress(Exception):  # of a logging handler or filter
            _logger.log(level, "%r: the circuit went from %s to %s: %s%s%s", self._key, event.old, event.new,
                        event.reason, last, shadow, extra={"circuit": self._key})
