"""KeyedCommands: the handle of a function whose ``key`` is a callable, for all its commands together.

It has what docs/reference/command.md says, and no more; a test compares the two. What
works on the commands from inside the library asks keyspace_of() for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..core.events import State, Trigger
from ..errors import ConfigError
from ..metrics.snapshot import Snapshot
from .command import Command
from .keyspace import Keyspace
from .live_changes import live_changes, takes


class KeyedCommands:
    """The commands of a function whose ``key`` is a callable: the function's ``resilience`` attribute.

    Iterating gives the commands there are at this moment. Every method may be called from any thread.
    """

    __slots__ = ("__weakref__", "_keyspace")

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace

    def __repr__(self) -> str:
        number = sum(command.state in (State.OPEN, State.FORCED_OPEN) for command in self)
        keyspace = self._keyspace
        there = f"{len(self)}" if keyspace.is_fixed else f"{len(keyspace.table)} of at most {self.max_keys} keys"
        return f"<commands of {self.key!r}: {there}, {number} open>"

    # -- look

    @property
    def key(self) -> str:
        """The function's own name, under which a file may speak of all its keys."""
        return self._keyspace.template.key

    @property
    def group(self) -> str:
        """The group of all its commands."""
        return self._keyspace.template.group

    @property
    def max_keys(self) -> int:
        """How many keys there may be at once, not counting the overflow."""
        return self._keyspace.max_keys

    @property
    def idle(self) -> float:
        """Seconds without a call after which a command goes."""
        return self._keyspace.idle

    @property
    def overflow(self) -> str:
        """The key of the command for the keys that found no room."""
        return self._keyspace.overflow

    def __iter__(self) -> Iterator[Command]:
        return iter(self._keyspace.commands())

    def __len__(self) -> int:
        return len(self._keyspace.commands())

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._keyspace.find(key) is not None

    def __getitem__(self, key: str) -> Command:
        found = self._keyspace.find(key)
        if found is None:
            raise KeyError(key)
        return found

    def get(self, key: str) -> Command | None:
        """Return the command of one key, or None if that key was not called yet, or not lately.

        Args:
            key: The key that the callable returned; of a failover's target, that with the target in brackets, or only
                the target's name if the function's key is no callable.
        """
        return self._keyspace.find(key)

    def snapshot(self) -> dict[str, Snapshot]:
        """Each command at this moment, by key."""
        return {command.key: command.snapshot() for command in self}

    # -- steer

    def force_open(self) -> None:
        """Refuse every call, of keys to come too, until release() or reset()."""
        self._keyspace.steer(Trigger.FORCED_OPEN, Trigger.FORCED_OPEN)

    def force_closed(self) -> None:
        """Let every call pass, of keys to come too, until release() or reset()."""
        self._keyspace.steer(Trigger.FORCED_CLOSED, Trigger.FORCED_CLOSED)

    def release(self) -> None:
        """End what force_open() or force_closed() began, of one key's handle too."""
        self._keyspace.steer(Trigger.RELEASED, None)

    def reset(self) -> None:
        """Close all circuits, forced ones too, and empty the rolling statistics."""
        self._keyspace.reset()

    @takes(live_changes)
    def configure(self, **changes: Any) -> None:
        """Change settings of all commands, of keys to come too; statistics and state stay. All of them, or none.

        Args:
            **changes: As for Command.configure().

        Raises:
            ConfigError: A value is out of range, or there is no such policy to change.
        """
        self._keyspace.configure(**changes)

    def clear_cache(self) -> None:
        """Forget all answers of all keys; what is being executed now will not be kept.

        Raises:
            ConfigError: There is no cache.
        """
        if self._keyspace.template.settings.cache is None:
            raise ConfigError(f"{self.key} has no cache to clear", "cache")
        for command in self:
            if command.settings.cache is not None:
                command.clear_cache()

    def clear(self) -> None:
        """Forget all keys; calls under way end under the commands they began with."""
        self._keyspace.clear()


def keyspace_of(keyed: KeyedCommands) -> Keyspace:
    """What stands behind the handle of *keyed* commands; for the library itself."""
    return keyed._keyspace
