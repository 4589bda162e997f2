"""FleetLink: how a gateway reads and writes what operators say to its fleet; see shared/fleet_changes.py."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from ...errors import ConfigError
from ...registry import Registry
from ...shared.connection import CONNECT_S, Connection
from ...shared.fleet_changes import (
    MOST,
    MOST_BYTES,
    READ,
    REPORTS,
    WRITE,
    Entry,
    Signature,
    UnauthenticError,
    news,
    written,
)
from ..config.shared import SharedSettings

#: Bytes that all entries may have together.
_MOST_BYTES: Final = 8 * 1024 * 1024
#: So long a gateway is remembered that is not heard of, seconds.
_REMEMBERED_S: Final = 86_400
#: After so long all entries are read, whatever the token says, seconds: a store may have evicted them to save memory.
_AGAIN_S: Final = 10.0
#: Least time for an answer, seconds: no request waits for it.
_PATIENCE_S: Final = 0.5


@attrs.frozen
class FleetMember:
    """A gateway of the fleet.

    Attributes:
        name: Its name.
        heard_s: Seconds since it was heard of.
        results: What became of each thing there: the number of the entry, whether it is in force, and why not.
    """

    name: str
    heard_s: float
    results: Mapping[str, Any]


class FleetLink:
    """The way to the store. For one event loop.

    It is none of the instances that share limits, and so its beats have keys of their own.

    Attributes:
        name: Of this gateway.
        settings: Of the shared store.
        secret: Of the fleet.
        connection: To the store.
        known: The newest entries, by thing.
        fresh: Those of them that nothing was done with yet, the oldest first, each with what was known of its thing
            before; whoever deals with them takes them out.
        foreign: Entries that no gateway of the fleet wrote.
    """

    def __init__(self, settings: SharedSettings, secret: bytes) -> None:
        """Nothing is asked yet."""
        self.settings, self.secret, self.name = settings, secret, settings.instance_name
        name = self.name
        registry = Registry()
        self._clock = registry.clock
        self.connection = Connection(
            lambda: settings.address.client(name=f"resilience:{name}:supervisor", connect_s=CONNECT_S),
            place=settings.url,
            name=f"{name}:supervisor", prefix=f"{settings.prefix}fleet:", timeout_s=max(_PATIENCE_S, settings.timeout),
            registry=registry)
        self._signature = Signature(secret, settings.prefix)
        self.known: dict[str, Entry] = {}
        self.fresh: list[tuple[Entry, Entry | None]] = []
        self.foreign = 0
        self._token, self._all_again = "", 0.0
        self._report: dict[str, Any] = {}
        self._is_told = False
        self._time = (0.0, self._clock())

    @property
    def time(self) -> float:
        """Seconds since 1970, by the store's clock, as far as it is known."""
        at, then = self._time
        return at + self._clock() - then

    async def read(self, results: Mapping[str, Any], *, leaves: bool = False) -> None:
        """Hear what the store says, and put back what it has lost.

        Args:
            results: What became of each thing here.
            leaves: This gateway ends.

        Raises:
            StoreUnavailableError: The store is lost.
        """
        asks_all = not self._token or self._clock() >= self._all_again
        report = "" if self._is_told and results == self._report else self._signature.signed(
            f"report of {self.name}", results)
        answer = await self.connection.run(READ, self._keys("changes", "token", "reports", "gateways"), (
            "" if asks_all else self._token, self.name, report, MOST, _MOST_BYTES, _REMEMBERED_S, int(leaves)))
        self._time = (float(answer[0]), self._clock())
        self._is_told, self._report = bool(answer[2]), dict(results)
        token = bytes(answer[1]).decode("latin-1")
        if len(answer) == 4:  # far too much: somebody else writes there
            self.foreign, self._token = max(1, self.foreign), token
            return
        if not asks_all and token == self._token:
            return
        self._all_again = self._clock() + _AGAIN_S
        found = [(bytes(thing).decode("utf-8", "replace"), bytes(said))
                 for thing, said in zip(answer[3::2], answer[4::2], strict=True)]
        newer, lost, foreign = news(found, self.known, self._signature)
        self._token, self.foreign = token, len(foreign)
        self.fresh.extend((entry, self.known.get(entry.thing)) for entry in newer)
        self.known.update((entry.thing, entry) for entry in newer)
        if lost and not leaves:
            with contextlib.suppress(ConfigError):  # somebody else has filled the store
                await self.write(self.texts(self.known[thing] for thing in lost))

    def texts(self, entries: Iterable[Entry]) -> list[str]:
        """What is to be written of *entries*: the things and the texts, one after the other.

        Raises:
            ConfigError: They are too many, with those that are known, or too large.
        """
        texts = {entry.thing: written(entry, self._signature) for entry in entries}
        if len(texts.keys() | self.known) > MOST:
            raise ConfigError(f"operators have spoken to the fleet of {MOST} things, and there can be no more: put "
                              "what they said into the files, stop all gateways of the fleet, and delete "
                              f"{self._keys('*')[0]} in the store")
        return [word for said in texts.items() for word in said]

    async def write(self, texts: Iterable[str]) -> bool:
        """Write *texts*, unless somebody else has written meanwhile: False, then.

        Raises:
            ConfigError: There are too many in the store.
            StoreUnavailableError: The store is lost.
        """
        token = secrets.token_hex(8)
        answer = await self.connection.run(WRITE, self._keys("changes", "token"), (self._token, token, MOST, *texts))
        if answer == -1:
            raise ConfigError(f"somebody else has filled {self._keys('changes')[0]} in the store; delete it, and the "
                              "gateways put back what was said")
        if answer == 1:
            self._token = token
        return bool(answer == 1)

    async def members(self) -> list[FleetMember]:
        """The gateways of the fleet, as they report; those that are not heard of, too, for a day.

        Raises:
            StoreUnavailableError: The store is lost.
        """
        answer = await self.connection.run(REPORTS, self._keys("reports", "gateways"), (MOST_BYTES,))
        now, found = float(answer[0]), []
        for name, at, said in zip(answer[1::3], answer[2::3], answer[3::3], strict=True):
            gateway = bytes(name).decode("utf-8", "replace")
            try:
                results = self._signature.value(f"report of {gateway}", bytes(said))
            except UnauthenticError:
                continue
            found.append(FleetMember(gateway, max(0.0, now - float(at)), results))
        return found

    def _keys(self, *names: str) -> tuple[str, ...]:
        return tuple(f"{self.connection.prefix}{name}" for name in names)
