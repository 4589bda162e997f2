"""The other registries of a registry, and the store that they may keep their list in. For one event loop.

A registry that has others waits for the first of them that is complete, or for a store that is, before it lists or
evicts anything, for clients would take what is missing in its list for gone. It takes registrations and renewals
meanwhile. If none is complete within a time, they have all just started, and what has registered by then is all there
is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from ... import Registry
from .change import Change
from .instance_registry import InstanceRegistry
from .lease_table import Key
from .moment import Moment
from .peer import Ask, Peer, PeerTerms
from .records import Records
from .storage import Storage

_FLUSH_S: Final = 1.0
#: Longest time for telling the store that this registry is no more, seconds.
_CLOSE_S: Final = 2.0
_logger = logging.getLogger(__name__)


@attrs.frozen
class PeerPlace:
    """Where a peer is.

    Attributes:
        url: Its base URL.
        ask: Sends requests to it.
        terms: How it is dealt with.
        identity: Whatever must be the same for a peer to stay the same when settings change.
    """

    url: str
    ask: Ask = attrs.field(repr=False)  # there may be a token in it, as in the identity
    terms: PeerTerms
    identity: Any = attrs.field(default=None, repr=False)


@attrs.frozen
class StoragePlace:
    """The store that registries keep their list in together.

    Attributes:
        open: Makes the way to it; nothing is asked before it is started.
        most_queued: Instances that it has not been told of; with more, it is compared instead.
        identity: Whatever must be the same for it to stay the same when settings change.
    """

    open: Callable[[], Records]
    most_queued: int = 20_000
    identity: Any = None


class Peers:
    """All others. Nothing is asked before start().

    Args:
        registry: This one.
        clock: Returns the time.
    """

    def __init__(self, registry: InstanceRegistry, clock: Callable[[], Moment]) -> None:
        self._registry, self._clock = registry, clock
        self._commands = Registry(clock=lambda: clock().s)
        self._peers: dict[str, tuple[PeerPlace, Peer, asyncio.Task[None]]] = {}
        self._storage: tuple[StoragePlace, Storage, asyncio.Task[None]] | None = None
        self._closing = set[asyncio.Task[None]]()
        self._waiting: asyncio.Task[None] | None = None

    def __iter__(self) -> Any:
        """Each peer."""
        return iter([peer for _, peer, _ in self._peers.values()])

    @property
    def storage(self) -> Storage | None:
        """The store; None: there is none."""
        return None if self._storage is None else self._storage[1]

    def start(self, places: Iterable[PeerPlace], wait_s: float, storage: StoragePlace | None = None) -> None:
        """Begin with these.

        Args:
            places: Where they are.
            wait_s: How long one that is complete is waited for.
            storage: The store that they keep their list in; None: there is none.
        """
        self._registry.changed = self._changed
        self.go_by(places, storage)
        if (self._peers or self._storage) and wait_s > 0:
            self._registry.is_complete = False
            self._waiting = asyncio.ensure_future(self._wait(wait_s))

    def go_by(self, places: Iterable[PeerPlace], storage: StoragePlace | None = None) -> None:
        """Have these peers, this store, and no others from now on; those that are the same go on."""
        wanted = {each.url: each for each in places}
        for url, (place, _, task) in list(self._peers.items()):
            there = wanted.get(url)
            if there is None or (there.identity, there.terms) != (place.identity, place.terms):
                task.cancel()
                del self._peers[url]
                with contextlib.suppress(KeyError):
                    self._commands.remove(f"registry peer {url}")
        for url, place in wanted.items():
            if url not in self._peers:
                peer = Peer(url, self._registry, place.ask, self._clock, place.terms, commands=self._commands,
                            complete=self._complete)
                self._peers[url] = place, peer, asyncio.ensure_future(peer.run())
        self._keep_in(storage)
        if self._peers or self._storage:
            self._registry.has_peers()

    def _keep_in(self, place: StoragePlace | None) -> None:
        """Have this store from now on."""
        if self._storage is not None:
            there, storage, task = self._storage
            if place is not None and (there.identity, there.most_queued) == (place.identity, place.most_queued):
                return
            task.cancel()
            storage.close()
            closing = asyncio.ensure_future(storage.closed())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._storage = None
        if place is not None:
            storage = Storage(place.open(), self._registry, self._clock, most_queued=place.most_queued,
                              complete=self._complete)
            self._storage = place, storage, asyncio.ensure_future(storage.run())

    async def close(self) -> None:
        """Tell the others what they have not heard of, if that is quick, and end."""
        tasks = [task for _, _, task in self._peers.values()]
        tasks += [] if self._waiting is None else [self._waiting]
        tasks += [] if self._storage is None else [self._storage[2]]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        told = [*self, *([] if self.storage is None else [self.storage])]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await asyncio.gather(*(each.flush() for each in told), return_exceptions=True)
        self._peers.clear()
        self._keep_in(None)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_S)

    def report(self, now: Moment) -> list[Mapping[str, Any]]:
        """What there is to say of each, for JSON."""
        return [{
            "url": peer.url, "registry": peer.name, "kind": {None: "unknown", True: "resilience", False: "eureka"}[
                peer.is_ours],
            "state": peer.state.value, "circuit": peer.circuit, "queue": len(peer.queue),
            "lag_s": round(peer.lag_s(now), 3),
            "last_success_ago_s": None if peer.success_s is None else round(now.s - peer.success_s, 3),
            "last_error": peer.error, "last_error_ago_s": round(now.s - peer.error_s, 3) if peer.error else None,
            "overflows": peer.queue.overflows, "counts": dict(peer.counts)} for peer in self]

    def _changed(self, key: Key, change: Change) -> None:
        if self._storage is not None:
            self._storage[1].note(key, change)
        for _, peer, _ in self._peers.values():
            peer.note(key, change)

    def _complete(self, url: str) -> None:
        if not self._registry.is_complete:
            self._registry.is_complete = True
            _logger.info("took %d instances from %s", len(self._registry), url)
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    async def _wait(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        self._waiting, self._registry.is_complete = None, True
        _logger.warning("no other registry and no store was complete within %g s; listing what has registered here",
                        wait_s)
