"""Peers: how many connections each client address has, and how fast it asks. Pure: told the time."""

from __future__ import annotations

import math
from typing import Final

from ..client_addresses import ClientAddresses, network_of
from .refusal import Refusal

#: Addresses remembered for their rate; the oldest are forgotten, who then begin anew.
_MAX_REMEMBERED: Final = 65_536


class Peers:
    """The clients of one listener, by address.

    Every enter() that was let in must be followed by one leave().
    """

    def __init__(self, *, max_connections: int | None, rate: float | None, burst: int) -> None:
        """Nobody is there yet.

        Args:
            max_connections: Of one address at a time; None: any number.
            rate: Requests a second of one address in the long run; None: any.
            burst: Requests of one address at once.
        """
        self._max_connections, self._rate, self._burst = max_connections, rate, burst
        self._connections: dict[str, int] = {}
        self._due: dict[str, float] = {}  # GCRA: when the last request would have come, had all come evenly

    def configure(self, *, max_connections: int | None, rate: float | None, burst: int, now: float) -> None:
        """Other bounds from *now* on; what was counted stays counted. See Peers()."""
        if rate is None or self._rate is None:
            self._due.clear()
        elif rate != self._rate:
            self._due = {address: now + (due - now) * self._rate / rate for address, due in self._due.items()}
        self._max_connections, self._rate, self._burst = max_connections, rate, burst

    @property
    def has_rate(self) -> bool:
        """Whether wait() may say anything but 0."""
        return self._rate is not None

    def enter(self, address: str) -> bool:
        """Whether another connection of this *address* may be had."""
        count = self._connections.get(address, 0)
        if self._max_connections is not None and count >= self._max_connections:
            return False
        self._connections[address] = count + 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was let in has ended."""
        count = self._connections.get(address, 0)
        if count > 1:
            self._connections[address] = count - 1
        else:
            self._connections.pop(address, None)

    def wait(self, address: str, now: float) -> int:
        """Take a request of this *address*; 0 if it may be served, else the whole seconds to wait."""
        if self._rate is None:
            return 0
        due = max(self._due.pop(address, now), now)
        early = due - now - (self._burst - 1) / self._rate
        if early > 1e-9:
            self._due[address] = due
            return math.ceil(early)
        self._due[address] = due + 1.0 / self._rate
        if len(self._due) > _MAX_REMEMBERED:
            del self._due[next(iter(self._due))]
        return 0

    @property
    def connections(self) -> int:
        """How many are counted."""
        return sum(self._connections.values())


class Peer:
    """The one among the peers whom a connection counts for. What enters, must leave."""

    __slots__ = ("_address", "_counted", "_peers")

    def __init__(self, peers: Peers) -> None:
        """The connection counts for nobody yet."""
        self._peers = peers
        self._address = ""
        self._counted = False

    def enter(self, address: str, clients: ClientAddresses) -> bool:
        """Count the connection for this *address*, once.

        Args:
            address: The client's.
            clients: Know the trusted proxies, which are counted neither by their connections nor by their requests.

        Returns:
            Whether it may stay; else the address has too many connections.
        """
        if self._counted or clients.is_trusted(address):
            return True
        self._address = network_of(address)
        self._counted = self._peers.enter(self._address)
        return self._counted

    def leave(self) -> None:
        """The connection has ended; that can be said more than once."""
        if self._counted:
            self._counted = False
            self._peers.leave(self._address)

    def refusal(self, now: float) -> Refusal | None:
        """Count a request; what to answer instead of serving it."""
        if not self._address or not self._peers.has_rate:
            return None
        wait = self._peers.wait(self._address, now)
        return Refusal(429, "this address sends too many requests", wait) if wait else None
