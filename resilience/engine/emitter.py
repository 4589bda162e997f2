"""Emitter: delivers events to listeners, outside every lock, and survives them.

A listener that raises is logged the first time, and called again for later events; it
cannot harm the call that caused the event. It is logged by the outermost emit() of its
thread: a listener that calls the command it hears of, and so hears of it again, fails
where no stack is left for logging. What a listener calls is repeated by none of the retries
that the call it hears of is within (drivers.retry_layers). An event that nobody listens to costs one
dictionary look-up, and is not even built if its maker asks ``wanted`` first.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..core.exception_copy import traceback_of
from ..core.locks import Lock
from ..drivers.retry_layers import layer, not_repeated
from .callables import flavour_of
from .wrapper_spec import Flavour

_Event = TypeVar("_Event")
_log = logging.getLogger("resilience")


class _Delivery(threading.local):
    """What one thread is delivering: events within events, and the listeners that failed meanwhile."""

    def __init__(self) -> None:
        self.depth = 0
        self.complaints: list[tuple[str, Exception]] = []


class Emitter:
    """Listeners by type of event. Every method may be called from any thread.

    Attributes:
        listeners: By type of event; replaced, never changed, and without types that nobody listens to.
    """

    def __init__(self) -> None:
        self.renew()
        self.listeners: dict[type, tuple[Callable[[Any], object], ...]] = {}
        self._faulty: set[int] = set()  # ids of listeners that have been logged
        self._delivery = _Delivery()

    def subscribe(self, kind: type[_Event], listener: Callable[[_Event], object]) -> Callable[[], None]:
        """Call *listener* with every event of exactly this *kind*; returns what ends that."""
        if not isinstance(kind, type):
            raise TypeError(f"subscribe() takes a type of event first, such as StateChanged, not {kind!r}")
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {listener!r}")
        if flavour_of(listener) is not Flavour.SYNC:
            raise TypeError(f"a listener must be a plain function: nobody would await what {listener!r} returns; "
                            "let one start a task")

        def ours(event: _Event) -> object:  # one object per subscription: the same listener may subscribe twice
            return listener(event)

        with self._lock:
            self.listeners = {**self.listeners, kind: (*self.listeners.get(kind, ()), ours)}

        def unsubscribe() -> None:
            with self._lock:
                left = tuple(each for each in self.listeners.get(kind, ()) if each is not ours)
                self.listeners = {**self.listeners, kind: left}
                if not left:
                    self.listeners = {k: v for k, v in self.listeners.items() if v}
                self._faulty.discard(id(ours))

        return unsubscribe

    def put_back(self, listeners: dict[type, tuple[Callable[[Any], object], ...]]) -> None:
        """Let those of an earlier moment listen, and nobody else."""
        with self._lock:
            self.listeners = listeners

    def wanted(self, kind: type) -> bool:
        """Whether anybody listens to this *kind*."""
        return kind in self.listeners

    @not_repeated
    def emit(self, event: object) -> None:
        """Deliver *event*, in the thread that caused it. Never raises an Exception."""
        delivery = self._delivery
        delivery.depth += 1
        repeated = None
        try:
            listeners = self.listeners.get(type(event), ())
            if listeners and layer.get():
                repeated = layer.set([])
            for listener in listeners:
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001 - whatever it is, the call goes on
                    if id(listener) not in self._faulty:
                        self._faulty.add(id(listener))
                        delivery.complaints.append((type(event).__name__, error))
        finally:
            delivery.depth -= 1
            if repeated is not None:
                layer.reset(repeated)
            if not delivery.depth and delivery.complaints:
                self._complain(delivery)

    def _complain(self, delivery: _Delivery) -> None:
        complaints, delivery.complaints = delivery.complaints, []
        for kind, error in complaints:
            with contextlib.suppress(Exception):  # of a logging handler or filter
                _log.error("a listener for %s raised; it stays subscribed, and is not logged again", kind,
                           exc_info=(type(error), error, traceback_of(error)))

    def renew(self) -> None:
        """Start over in a forked child, with a lock that nobody holds."""
        self._lock = Lock()  # a listener, a signal handler or a finalizer may subscribe too
