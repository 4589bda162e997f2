"""Emitter: delivers events to listeners, outside every lock, and survives them.

A listener that raises is logged the first time and called on; it cannot harm
the call that caused the event. An event that nobody listens to costs one
dictionary look-up, and is not even built if its maker asks ``wanted`` first.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from .binding import flavour_of
from .template import Flavour

_Event = TypeVar("_Event")
_log = logging.getLogger("resilience")


class Emitter:
    """Listeners by type of event. Every method may be called from any thread.

    Attributes:
        listeners: By type of event; replaced, never changed, and without types that nobody listens to.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.listeners: dict[type, tuple[Callable[[Any], object], ...]] = {}  # replaced, never changed
        self._faulty: set[int] = set()  # ids of listeners that have been logged

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

    def wanted(self, kind: type) -> bool:
        """Whether anybody listens to this *kind*."""
        return kind in self.listeners

    def emit(self, event: object) -> None:
        """Deliver *event*, in the thread that caused it. Never raises an Exception."""
        for listener in self.listeners.get(type(event), ()):
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - whatever it is, the call goes on
                self._complain(listener, event)

    def _complain(self, listener: Callable[[Any], object], event: object) -> None:
        if id(listener) in self._faulty:
            return
        self._faulty.add(id(listener))
        try:
            _log.exception("a listener for %s raised; it stays subscribed, and is not logged again",
                           type(event).__name__)
        except Exception:  # noqa: BLE001 - no stack is left: a listener called the command that it heard of
            self._faulty.discard(id(listener))

    def renew(self) -> None:
        """Fresh lock after a fork."""
        self._lock = threading.Lock()
