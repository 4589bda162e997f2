"""The other registries of a registry. For one event loop.

A registry that has others waits for the first of them that is complete before it lists or evicts anything, for clients
would take what is missing in its list for gone. It takes registrations and renewals meanwhile. If none is complete
within a time, they have all just started, and what has registered by then is all there is.
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

_FLUSH_S: Final = 1.0
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
        self._waiting: asyncio.Task[None] | None = None

    def __iter__(self) -> Any:
        """Each peer."""
        return iter([peer for _, peer, _ in self._peers.values()])

    def start(self, places: Iterable[PeerPlace], wait_s: float) -> None:
        """Begin with these.

        Args:
            places: Where they are.
            wait_s: How long one that is complete is waited for.
        """
        self._registry.changed = self._changed
        self.go_by(places)
        if self._peers and wait_s > 0:
            self._registry.is_complete = False
            self._waiting = asyncio.ensure_future(self._wait(wait_s))

    def go_by(self, places: Iterable[PeerPlace]) -> None:
        """Have these peers and no others from now on; those that are the same go on."""
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
        if self._peers:
            self._registry.has_peers()

    async def close(self) -> None:
        """Tell the others what they have not heard of, if that is quick, and end."""
        tasks = [task for _, _, task in self._peers.values()]
        tasks += [] if self._waiting is None else [self._waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_S):
                await asyncio.gather(*(peer.flush() for peer in self), return_exceptions=True)
        self._peers.clear()

    def report(self, now: Moment) -> list[Mapping[str, Any]]:
        """What there is to say of each, for JSON."""
        return [{
            "url": peer.url, "registry": peer.name, "kind": {None: "unknown", True: "resilience", False: "eureka"}[
                peer.is_ours],
            "state": peer.state.value, "circuit": peer.circuit, "queue": len(peer.queue),
            "behind_s": round(peer.behind_s(now), 3),
            "last_success_ago_s": None if peer.success_s is None else round(now.s - peer.success_s, 3),
            "last_error": peer.error, "last_error_ago_s": round(now.s - peer.error_s, 3) if peer.error else None,
            "overflows": peer.queue.overflows, "counts": dict(peer.counts)} for peer in self]

    def _changed(self, key: Key, change: Change) -> None:
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
        _logger.warning("no other registry was complete within %g s; listing what has registered here", wait_s)
