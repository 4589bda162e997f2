"""structlog: what happens to commands as log lines of keys and values.

    log_events()

A change of a circuit, or of its configuration, is a line of its own. What happens to single calls is not: an open
circuit refuses a hundred thousand a second. Of those events one line is logged for each command and each way a call can
go, then none for ten seconds, and the next line says in ``count`` how many there were since the last one, itself
included.

| line | level | a line for each |
|---|---|---|
| ``circuit_state_changed`` | warning if it opens, else info | change |
| ``call_rejected``, ``call_failed``, ``refresh_failed`` | warning | 10 s |
| ``call_retried``, ``call_hedged``, ``call_failed_over``, ``call_fell_back`` | info | 10 s |
| ``command_configured``, ``configuration_applied`` | info | change |
| ``configuration_rejected`` | error | change |
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Final

import structlog

from ..config.events import ConfigurationApplied, ConfigurationRejected
from ..core.events import (
    CallFailed,
    CallFailedOver,
    CallFellBack,
    CallHedged,
    CallRejected,
    CallRetried,
    CommandConfigured,
    CommandRemoved,
    RefreshFailed,
    State,
    StateChanged,
)
from ..core.locks import Lock
from ..metrics.protocols import check_registry
from ..registry import Registry, default_registry

__all__ = ["log_events"]

_QUIET_S: Final = 10.0  # between two lines of one kind, the rolling window of the statistics
_CHANGES: Final[dict[type, tuple[str, Callable[[Any], str], Callable[[Any], dict[str, Any]]]]] = {
    StateChanged: (
        "circuit_state_changed", lambda event: "warning" if event.new in (State.OPEN, State.FORCED_OPEN) else "info",
        lambda event: {"command": event.key, "group": event.group, "old": event.old.value, "new": event.new.value,
                       "trigger": event.trigger.value, "term": event.term, "reason": event.reason,
                       "last_failure": None if event.last_failure is None else str(event.last_failure)}),
    CommandConfigured: (
        "command_configured", lambda _: "info",
        lambda event: {"command": event.key, "group": event.group, "changes": list(event.changes)}),
    ConfigurationApplied: (
        "configuration_applied", lambda _: "info",
        lambda event: {"file": event.file, "changed": list(event.changed)}),
    ConfigurationRejected: (
        "configuration_rejected", lambda _: "error",
        lambda event: {"file": event.file, "mistakes": [str(mistake) for mistake in event.mistakes]}),
}
_CALLS: Final[dict[type, tuple[str, str, Callable[[Any], dict[str, Any]]]]] = {
    CallRejected: ("call_rejected", "warning", lambda event: {
        "event_counted": event.event, "error": str(event.error)}),
    CallFailed: ("call_failed", "warning", lambda event: {
        "event_counted": event.event, "error": type(event.error).__qualname__, "duration": event.duration}),
    CallRetried: ("call_retried", "info", lambda event: {
        "event_counted": event.event, "error": None if event.error is None else type(event.error).__qualname__,
        "attempt": event.attempt, "delay": event.delay}),
    CallHedged: ("call_hedged", "info", lambda event: {"attempt": event.attempt, "after": event.after}),
    CallFailedOver: ("call_failed_over", "info", lambda event: {
        "event_counted": event.event, "error": type(event.error).__qualname__, "next": event.next_key}),
    CallFellBack: ("call_fell_back", "info", lambda event: {"event_counted": event.event}),
    RefreshFailed: ("refresh_failed", "warning", lambda event: {"error": type(event.error).__qualname__}),
}


class _Sparse:
    """Counts what happens to calls, and says when a line about it is due. From any thread."""

    def __init__(self) -> None:
        self.renew()
        _all.add(self)

    def renew(self) -> None:
        """Begin anew, in a forked child with a lock of its own."""
        self._lock = Lock()  # a signal handler's call may be counted in the middle of another
        self._counted: dict[str, dict[tuple[str, str], tuple[float, int]]] = {}  # by key: next line due at, count

    def due(self, key: str, what: tuple[str, str], at: float) -> int | None:
        """Count *what* happened to a command; how often it did since the last line, or None if no line is due."""
        with self._lock:
            counted = self._counted.setdefault(key, {})
            due, count = counted.get(what, (at, 0))
            if at < due:
                counted[what] = due, count + 1
                return None
            counted[what] = at + _QUIET_S, 0
            return count + 1

    def forget(self, event: CommandRemoved) -> None:
        """Drop what is counted of a command that has gone."""
        with self._lock:
            self._counted.pop(event.key, None)


_all: weakref.WeakSet[_Sparse] = weakref.WeakSet()


def _after_fork() -> None:
    for sparse in _all:
        sparse.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def log_events(registry: Registry = default_registry, logger: Any = None) -> Callable[[], None]:
    """Log what happens to the commands of *registry* with structlog.

    Args:
        registry: Whose events.
        logger: A structlog logger; None: ``structlog.get_logger("resilience")``.

    Returns:
        A function that ends this.

    Raises:
        TypeError: *registry* is none.
    """
    check_registry(registry)
    log = structlog.get_logger("resilience") if logger is None else logger
    sparse = _Sparse()

    def of_change(name: str, level: Callable[[Any], str], fields: Callable[[Any], dict[str, Any]]) -> Any:
        return lambda event: getattr(log, level(event))(name, **fields(event))

    def of_call(name: str, level: str, fields: Callable[[Any], dict[str, Any]]) -> Any:
        def listen(event: Any) -> None:
            count = sparse.due(event.key, (name, getattr(event, "event", "")), event.at)
            if count is not None:
                getattr(log, level)(name, command=event.key, group=event.group, count=count, **fields(event))

        return listen

    ends = [registry.subscribe(CommandRemoved, sparse.forget),
            *(registry.subscribe(kind, of_change(*row)) for kind, row in _CHANGES.items()),
            *(registry.subscribe(kind, of_call(*row)) for kind, row in _CALLS.items())]

    def end() -> None:
        for each in ends:
            each()

    return end
