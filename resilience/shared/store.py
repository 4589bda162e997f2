"""Store: what the rest of this package needs of the engine that holds the shared state.

Small on purpose, so that a store in memory, in virtual time, stands for Redis in tests of what uses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import attrs

from ..errors import ResilienceError

#: Lua that a script begins with. ``ours`` runs a command on a key, which is its first argument. Every key with our
#: prefix is ours: one that somebody else has made something of another type is deleted first, and is then as if it had
#: never been written. Else one such key would fail the script for everybody, for as long as it is there.
OURS: Final = """\
local function ours(command, key, ...)
  local answer = redis.pcall(command, key, ...)
  if type(answer) ~= 'table' or not answer.err then return answer end
  if string.find(answer.err, 'WRONGTYPE', 1, true) then redis.call('DEL', key) end
  return redis.call(command, key, ...)
end
"""


class StoreUnavailableError(ResilienceError):
    """The shared store is lost, or did not answer in time: decide locally."""


class StoreRefusalError(StoreUnavailableError):
    """The shared store is there, and refuses this question alone: decide locally, and ask on."""


@attrs.frozen
class Script:
    """A Lua script, which the server runs in one step.

    Attributes:
        text: The script.
        digest: Its SHA-1, by which the server knows it.
    """

    text: str
    digest: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class Store(Protocol):
    """A shared store as one instance sees it. For one event loop.

    Attributes:
        instance: Tells this instance from all others, and from what it was before a restart.
        prefix: Every key begins with it.
        timeout_s: Longest wait for an answer, seconds.
    """

    instance: str
    prefix: str
    timeout_s: float

    @property
    def is_connected(self) -> bool:
        """Whether the store has answered when it was last asked; if not, run() raises at once."""
        ...

    @property
    def instances(self) -> int:
        """How many instances there are, this one included, as far as is known: at least 1."""
        ...

    @property
    def epoch(self) -> str:
        """What tells the content of the store from what it was before it was wiped; empty: not known yet."""
        ...

    def start(self) -> None:
        """Begin to look for it, if that was not done yet, in the running event loop."""
        ...

    def follow(self, told: Callable[[bool], object]) -> None:
        """Let *told* be called, with whether it is connected, whenever that changes; it must not fail."""
        ...

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """What a script returns; numbers as int, text as bytes.

        Args:
            script: The script.
            keys: Those that it touches, with the prefix.
            arguments: Numbers and strings.

        Raises:
            StoreUnavailableError: The store is lost, or is so from now on.
            StoreRefusalError: It refuses this question; it is there.
        """
        ...
