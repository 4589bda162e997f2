"""Connection: one worker's way to the shared store, and its knowledge of whether it is there.

A round trip is a call of a command, ``shared``, with a circuit of its own: its first failure opens it. From then on
nobody waits: whoever asks is told at once. One task looks for the store in the background, first soon and then every
second, and is the only one to connect. When a beat (membership.py) has been answered within the usual timeout the
connection is there again; so a store that answers, but too late to be of use, stays lost, and costs no caller anything.

An error that the server answers to one script alone, as when it may not touch a key, is no loss: that question has no
answer, and whatever else is asked goes on. What the server says of itself, such as that it is a replica or has no
memory left, is one; and so is any error in answer to a beat.

A round trip that is late is given a few more turns of the event loop before that counts: when the loop itself was late,
the answer has arrived, and is read in the next turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from ..core.breaker import CircuitBreaker
from ..decorate.commands import command
from ..errors import CircuitOpenError
from ..registry import Registry
from .membership import BEAT, BEAT_S, LIFETIME_S, Membership
from .redis_client import clients_of
from .store import Script, StoreRefusalError, StoreUnavailableError

#: The key of the command of round trips, and its group.
KEY: Final = "shared"
#: Longest time for connecting, which no caller waits for, seconds.
CONNECT_S: Final = 2.0
#: Seconds within which each instance finds the store, once it is there again.
FOUND_S: Final = 1.0
#: Questions that are under way at once, as a rule: a beat, one about limits, one about circuits. Each has a connection,
#: which takes several round trips to make, and so is made before anybody waits for it.
_CONNECTIONS: Final = 3
#: Turns of the event loop that an answer may come after its time.
_TURNS: Final = 16
#: Keys that a message names.
_MOST_KEYS: Final = 8
#: Reasons for one loss that the log is told, each once: the first, and further ones that the server gives.
_MOST_TROUBLES: Final = 8
#: What is raised if the server says nothing.
_SILENCE: Final = ("ConnectionError", "TimeoutError")
_BREAKER: Final = CircuitBreaker(failure_rate=None, consecutive=1, open_for=0.1, open_growth=2.0,
                                 open_max=FOUND_S * 0.8, open_jitter=0.25, half_open_for=CONNECT_S)
#: What redis-py raises for an answer that is an error, if it has no class of its own for that.
_ANSWERS: Final = ("ResponseError", "NoPermissionError")
#: An error that is about the whole server: it begins with a code, or a script was cut short by one (Redis 6).
_OF_SERVER: Final = re.compile(
    r"(?!WRONGTYPE |ACL )[A-Z]{3,} |.*-(?:READONLY|OOM|MISCONF|NOREPLICAS) ", re.DOTALL).match
_log = logging.getLogger("resilience")


class Connection:
    """The connection of one worker to a shared store; a Store. For one event loop.

    Begins with start(), in a running event loop, and ends with close().

    Attributes:
        name: Of this instance, for people.
        instance: See Store.
        prefix: See Store.
        timeout_s: See Store.
        losses: How often the store was lost.
        client: The client of redis-py, for what is no script; use it within call().
    """

    def __init__(self, open_client: Callable[[], Any], *, place: str, name: str, prefix: str, timeout_s: float,
                 registry: Registry, expected: int = 1) -> None:
        """A connection; nothing is asked yet, and so it counts as lost.

        Args:
            open_client: Makes a client of redis-py, which has not connected yet.
            place: Where the store is, for messages.
            name: Of this instance, for people.
            prefix: With which every key begins.
            timeout_s: Longest wait for an answer, seconds.
            expected: How many instances there are, as long as the store has not said.
            registry: Where the command of the round trips is kept, and whose clock it goes by.

        Raises:
            ConfigError: The registry has another command with the key of that one.
        """
        self.name, self.prefix, self.timeout_s = name, prefix, timeout_s
        self.instance = secrets.token_hex(6)
        self.losses, self.round_trips = 0, 0
        self.client: Any = None
        self._open_client, self._place, self._registry, self._clock = open_client, place, registry, registry.clock
        self._members, self._epoch = Membership(expected), ""
        self._is_connected, self._since, self._trouble = False, self._clock(), "it was not asked yet"
        self._told: set[str] | None = set()  # why it is lost, as far as the log says so already; None: it is closed
        self._task: asyncio.Task[None] | None = None
        self._lost, self._asked = asyncio.Event(), asyncio.Event()
        self._refused: dict[str, str] = {}  # scripts that the server did not answer when they were last sent, and why
        self._followers: list[Callable[[bool], object]] = []
        guard = command(key=KEY, group=KEY, timeout=None, breaker=_BREAKER, max_concurrent=None, registry=registry)
        self._guard: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] = guard(_perform)

    @property
    def is_connected(self) -> bool:
        """See Store."""
        return self._is_connected

    @property
    def instances(self) -> int:
        """See Store."""
        return self._members.count

    @property
    def epoch(self) -> str:
        """See Store."""
        return self._epoch

    def report(self) -> dict[str, Any]:
        """How things are, as plain values."""
        trouble = self._trouble or next(iter(self._refused.values()), None)
        return {"place": self._place, "name": self.name, "is_connected": self._is_connected,
                "since_s": self._clock() - self._since, "trouble": trouble, "losses": self.losses,
                "round_trips": self.round_trips, "instances": self._members.count, "instances_told": self._members.told}

    def follow(self, told: Callable[[bool], object]) -> None:
        """Let *told* be called, with whether it is connected, whenever that changes; it must not fail."""
        self._followers.append(told)

    def start(self) -> None:
        """Begin to look for the store, if that was not done yet, in the running event loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="shared store")

    async def known(self) -> None:
        """Wait until the store has answered or failed to, once."""
        self.start()
        await self._asked.wait()

    def close(self) -> None:
        """Ask no more; whoever asks is told that the store is lost. It does not begin again."""
        self._is_connected, self._told = False, None
        self._asked.set()
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    async def closed(self) -> None:
        """Wait, after close(), until the store was told that this instance is no more, and nothing is open."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """See Store."""
        answer = await self.call(lambda client: _answer(client, script, keys, arguments))
        if isinstance(answer, _Refusal):
            raise StoreRefusalError(self._refusal(script, keys, answer))
        if self._refused and self._refused.pop(script.digest, ""):
            _log.warning("the shared store at %s answers again what it had refused", self._place)
        return answer

    async def call(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        """What the store answers to a *question*, which is called with the client of redis-py.

        Args:
            question: Asks with as few round trips as it can: their time counts together.

        Raises:
            StoreUnavailableError: The store is lost, or is so from now on.
        """
        if not self._is_connected:
            raise StoreUnavailableError(f"the shared store at {self._place} is lost: {self._trouble}")
        try:
            return await self._guard(functools.partial(self._timed, question))
        except Exception as error:
            self._lose(error)
            raise StoreUnavailableError(f"the shared store at {self._place} is lost: {self._trouble}") from error

    # -- within

    async def _timed(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask, for as long as the timeout allows."""
        self.round_trips += 1
        asking = asyncio.ensure_future(question(self.client))
        try:
            await asyncio.wait((asking,), timeout=self.timeout_s)
            for _ in range(_TURNS):
                if asking.done():
                    break
                await asyncio.sleep(0)
            if not asking.done():
                raise TimeoutError(f"no answer within {self.timeout_s:g} s")
            return asking.result()
        finally:
            asking.cancel()

    def _refusal(self, script: Script, keys: Sequence[str], refusal: _Refusal) -> str:
        """What is wrong with a question; it is logged once."""
        about = ", ".join(keys[:_MOST_KEYS]) + (", ..." if len(keys) > _MOST_KEYS else "") or "no key"
        said = f"the shared store at {self._place} refuses a question about {about}: {refusal.said}"
        if script.digest not in self._refused:
            _log.warning("%s; what needs it is decided locally", said)
        self._refused[script.digest] = said
        return said

    def _lose(self, error: Exception) -> None:
        if isinstance(error, CircuitOpenError) and not self._is_connected:
            return  # it was not asked, for that was a moment too soon
        self._trouble = _words(error)
        told, is_said = self._told, type(error).__name__ not in _SILENCE
        if told is not None and (not told or (is_said and self._trouble not in told and len(told) < _MOST_TROUBLES)):
            told.add(self._trouble)
            _log.warning("the shared store at %s is lost, and decisions are made locally: %s", self._place,
                         self._trouble)
        if self._is_connected:
            self._is_connected, self._since = False, self._clock()
            self.losses += 1
            self._tell()
        self._lost.set()

    def _tell(self) -> None:
        for told in self._followers:
            told(self._is_connected)

    async def _run(self) -> None:
        """Beat while the store is there, and look for it while it is not."""
        try:
            while True:
                await self._beat()
                self._asked.set()
                if self._is_connected:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(BEAT_S):
                            await self._lost.wait()
                if not self._is_connected:
                    await asyncio.sleep(self._pause_s())
                self._lost.clear()
        finally:
            await self._leave()

    def _pause_s(self) -> float:
        """Seconds until the circuit admits a probe."""
        known = self._registry.get(KEY)
        wait_s = None if known is None else known.snapshot().retry_after
        return _BREAKER.open_for if wait_s is None else max(0.001, wait_s)

    async def _beat(self) -> None:
        try:
            said, token = await self._guard(self._tell_beat if self._is_connected else self._connect)
            count, epoch = int(said), bytes.decode(token, "latin-1")
        except Exception as error:  # noqa: BLE001 - whatever it is, the store is of no use now
            self._lose(error)
            return
        self._members.hear(count, self._clock())
        self._epoch = epoch
        if not self._is_connected:
            if self._told:
                _log.warning("the shared store at %s is there again, after %.1f s", self._place,
                             self._clock() - self._since)
                self._told.clear()
            self._is_connected, self._since, self._trouble = True, self._clock(), ""
            self._tell()

    async def _connect(self) -> Any:
        """A new client, since a name may stand for another server now; what that says to a beat, if it is in time."""
        old, self.client = self.client, self._open_client()
        if old is not None:
            await _dropped(old)
        async with asyncio.timeout(CONNECT_S):
            pings = await asyncio.gather(*(self.client.ping() for _ in range(_CONNECTIONS)), return_exceptions=True)
        for trouble in pings:  # when none of them is under way any more
            if isinstance(trouble, BaseException):
                raise trouble
        return await self._tell_beat()

    async def _tell_beat(self, *, leaves: bool = False) -> Any:
        return await self._timed(lambda client: _run(
            client, BEAT, (f"{self.prefix}instances", f"{self.prefix}epoch"),
            (f"{self.name}#{self.instance}", LIFETIME_S, self._epoch, secrets.token_hex(8), int(leaves))))

    async def _leave(self) -> None:
        """Say that this instance is no more, if that is quickly done."""
        if self.client is None:
            return
        with contextlib.suppress(Exception):
            await self._tell_beat(leaves=True)
        await _dropped(self.client)


async def _perform(action: Callable[[], Awaitable[Any]]) -> Any:
    return await action()


async def _run(client: Any, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """What a script returns, which the server may not know yet."""
    try:
        return await client.execute_command("EVALSHA", script.digest, len(keys), *keys, *arguments)
    except Exception as error:
        if type(error).__name__ != "NoScriptError":
            raise
    return await client.execute_command("EVAL", script.text, len(keys), *keys, *arguments)


def _words(error: Exception) -> str:
    """What is wrong with a store that is lost."""
    said = str(error).partition(" script: ")[0] or type(error).__name__  # which of ours it was, nobody can tell by that
    if type(error).__name__ == "AuthenticationError":  # what the server says then is about how it is spoken to
        return f"it takes no questions without a right password and user: {said}"
    return said


class _Refusal:
    """Takes the place of the answer to a script that the server refuses, for the store is there.

    Attributes:
        said: The server's words.
    """

    def __init__(self, said: str) -> None:
        self.said = said


async def _answer(client: Any, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """What a script returns; a refusal, if the server has answered an error that is about this script alone."""
    try:
        return await _run(client, script, keys, arguments)
    except Exception as error:
        said = str(error)
        if type(error).__name__ not in _ANSWERS or _OF_SERVER(said):
            raise
        return _Refusal(said)


async def _dropped(client: Any) -> None:
    """Close the connections of a client, which may not answer any more."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CONNECT_S):
            for each in clients_of(client):
                await each.aclose()
