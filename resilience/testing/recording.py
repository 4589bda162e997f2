"""RecordedEvents: what a registry told its listeners, for tests to query.

It listens to every type of event there is. Events arrive in the thread that
caused them, and a list's append is atomic, so it may be read from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import attrs

from ..core import events as _events
from ..core.events import State, StateChanged
from ..registry import Registry, table_of
from .handles import Target, handle_of

_Event = TypeVar("_Event")

#: Every type of event of the package.
KINDS: tuple[type[Any], ...] = tuple(
    kind for kind in vars(_events).values() if isinstance(kind, type) and attrs.has(kind))


class RecordedEvents:
    """The events of one registry since this was made, oldest first. Also a context manager.

    Args:
        registry: What to listen to.
    """

    def __init__(self, registry: Registry) -> None:
        self._events: list[Any] = []
        subscribe = table_of(registry).emitter.subscribe
        self._ends: list[Callable[[], None]] = [subscribe(kind, self._record) for kind in KINDS]

    def _record(self, event: Any) -> None:
        self._events.append(event)

    def close(self) -> None:
        """Stop listening; what is recorded stays."""
        while self._ends:
            self._ends.pop()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._events.copy())

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, index: int) -> Any:
        return self._events[index]

    def __repr__(self) -> str:
        return "\n".join([f"<{len(self)} events>", *(f"  {event}" for event in self)])

    def clear(self) -> None:
        """Forget what has been recorded so far."""
        self._events.clear()

    def of(self, kind: type[_Event], key: str | Target | None = None, **fields: Any) -> list[_Event]:
        """The events of one type.

        Args:
            kind: Such as StateChanged.
            key: Of one command only: its key, its handle or its function.
            **fields: Only those with these values, such as ``new="open"``.

        Raises:
            TypeError: The type is none of an event, or has no such field.
        """
        if kind not in KINDS:
            raise TypeError(f"{kind!r} is no type of event; there are {', '.join(each.__name__ for each in KINDS)}")
        known = [field.name for field in attrs.fields(kind)]  # type: ignore[arg-type,unused-ignore]
        for name in fields:
            if name not in known:
                raise TypeError(f"{kind.__name__} has no field {name!r}; it has {', '.join(known)}")
        if key is not None:
            fields = {**fields, "key": key if isinstance(key, str) else handle_of(key).key}
        return [event for event in self if type(event) is kind
                and all(getattr(event, name) is value or getattr(event, name) == value
                        for name, value in fields.items())]

    def states(self, key: str | Target) -> list[State]:
        """Return the states that a command's circuit went into, in order.

        Args:
            key: Key of the command, a guarded function or its handle.
        """
        return [event.new for event in sorted(self.of(StateChanged, key), key=lambda event: event.term)]

    def one(self, kind: type[_Event], key: str | Target | None = None, **fields: Any) -> _Event:
        """Return the only event of this type, key and fields.

        Args:
            kind: Class of the event.
            key: Key of the command, a guarded function or its handle; None: any command.
            **fields: Values that the event's attributes must have.

        Raises:
            AssertionError: There is none, or more than one; the message lists what was recorded.
        """
        __tracebackhide__ = True
        found = self.of(kind, key, **fields)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} instead of 1 {_wish(kind, key, fields)}; recorded: {self!r}")
        return found[0]

    def none(self, kind: type[Any], key: str | Target | None = None, **fields: Any) -> None:
        """Check that no event of this type, key and fields was recorded.

        Args:
            kind: Class of the event.
            key: Key of the command, a guarded function or its handle; None: any command.
            **fields: Values that the event's attributes must have.

        Raises:
            AssertionError: There is one; the message lists what was recorded.
        """
        __tracebackhide__ = True
        found = self.of(kind, key, **fields)
        if found:
            raise AssertionError(f"{len(found)} instead of 0 {_wish(kind, key, fields)}; recorded: {self!r}")


def _wish(kind: type[Any], key: str | Target | None, fields: dict[str, Any]) -> str:
    named = {} if key is None else {"key": key if isinstance(key, str) else handle_of(key).key}
    return f"{kind.__name__}({', '.join(f'{name}={value!r}' for name, value in {**named, **fields}.items())})"
