"""Listeners: all that a process listens on, which can change while it serves, all or nothing.

What is new is bound first; then whoever serves it switches over, which may fail, and nothing has changed if it does;
then the new sockets take connections in, and those that are wanted no more are closed. What is under way on these ends
as if the gateway did, within the same time.

A listener whose connections begin differently from now on (TLS, HTTP/2, the PROXY protocol) is made anew on the same
sockets, so that no connection is lost that waits to be accepted. It counts the same clients: no limit is refilled.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import attrs

from .config import GatewaySettings, address
from .front.asgi_bridge import App, AsgiBridge
from .front.front import Front, Refused, Serve
from .front.listener import Listener, bound

#: The listener whose metrics have no label of its name; see decision 0064.
PUBLIC: Final = "gateway"
#: For what has no setting of its own.
DRAIN_S: Final = 5.0


class ServeError(Exception):
    """The gateway cannot be served; the message is one line for a terminal."""


def check_free(bind: str) -> None:
    """Make sure that nobody listens on *bind*.

    The listeners of several workers share their port, and would share it with a stranger's too.

    Raises:
        ServeError: It is taken, or no address of this machine.
    """
    host, port = address(bind)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        raise taken(bind, error) from None


def taken(bind: str, error: OSError) -> ServeError:
    """What to raise if *bind* cannot be had."""
    return ServeError(f"cannot listen on {bind}: {error.strerror or error}")


@attrs.frozen
class Served:
    """What is served on one address, what to do when that is to end, and what its settings have become, if they may.

    Whoever is named as *refused* is told of requests that the front refuses by itself; see Front.

    Attributes:
        name: Of the table that says where.
    """

    name: str
    serve: Serve
    bind: str
    settings: GatewaySettings
    stop: Callable[[], None] = lambda: None
    current: Callable[[], GatewaySettings] | None = None
    refused: Refused | None = None

    @classmethod
    def app(cls, app: App, bind: str) -> Served:
        """An ASGI application."""
        bridge = AsgiBridge(app)
        return cls("admin", bridge.serve, bind, GatewaySettings(), bridge.stop)

    @property
    def beginning(self) -> tuple[Any, ...]:
        """What is settled once a listener is open."""
        return self.bind, self.settings.tls, self.settings.proxy_protocol, self.settings.http2


@attrs.frozen
class _Open:
    served: Served
    listener: Listener


class Listeners:
    """The listeners of one process. For one event loop."""

    def __init__(self, *, drain_s: float = DRAIN_S, shared: bool = False) -> None:
        """Nothing is open yet.

        Args:
            drain_s: Seconds that requests under way have to end.
            shared: Whether other processes listen on the same ports, too.
        """
        self._drain_s, self._shared = drain_s, shared
        self._open: dict[str, _Open] = {}
        self._draining: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    async def change(self, wanted: Sequence[Served], switch: Callable[[], object] = lambda: None) -> None:
        """Serve what is *wanted*, and nothing else, from now on, all or nothing.

        Args:
            wanted: One of each name; one that is there already, and begins connections as before, is left alone.
            switch: Makes whoever serves it ready for it, once all that is new is bound; what it raises comes here.

        Raises:
            ServeError: A port is taken; nothing has changed, and *switch* was not called.
            ConfigError: Files of TLS are not in order; likewise.
        """
        async with self._lock:
            fresh = self._bound([each for each in wanted if not self._serves(each)])
            try:
                switch()
            except BaseException:
                for _, sockets in fresh:
                    _close(sockets)
                raise
            kept = {each.name for each in wanted} - {new.served.name for new, _ in fresh}
            before = {name: self._leave(name) for name in self._open.keys() - kept}
            for new, sockets in fresh:
                name = new.served.name
                self._open[name] = new
                if name in before:
                    new.listener.front.succeed(before[name].listener.front)
                await new.listener.listen(sockets)

    @property
    def are_open(self) -> bool:
        """Whether there is any."""
        return bool(self._open)

    def open(self) -> list[tuple[str, Listener]]:
        """Those that are open, by the names of their tables."""
        return [(name, each.listener) for name, each in list(self._open.items())]

    def send_away(self) -> None:
        """Ask all clients to send their next requests elsewhere; go on serving."""
        for each in self._open.values():
            each.listener.front.send_away()

    async def close(self) -> None:
        """Take no more connections in, and let requests under way end."""
        async with self._lock:
            for name in list(self._open):
                self._leave(name)
        await asyncio.gather(*self._draining)

    def _serves(self, wanted: Served) -> bool:
        there = self._open.get(wanted.name)
        return there is not None and there.served.beginning == wanted.beginning

    def _bound(self, wanted: Iterable[Served]) -> list[tuple[_Open, list[socket.socket]]]:
        """New listeners, and their sockets; all or none."""
        loop, found = asyncio.get_running_loop(), list[tuple[_Open, list[socket.socket]]]()
        try:
            for each in wanted:
                new = _Open(each, Listener(Front(each.serve, each.settings, loop, each.current, each.refused)))
                found.append((new, self._sockets(each)))
        except BaseException:
            for _, sockets in found:
                _close(sockets)
            raise
        return found

    def _sockets(self, wanted: Served) -> list[socket.socket]:
        there = self._open.get(wanted.name)
        if there is not None and there.served.bind == wanted.bind:
            return there.listener.same_sockets()
        try:
            return bound(wanted.bind, shared=self._shared)
        except OSError as error:
            raise taken(wanted.bind, error) from None

    def _leave(self, name: str) -> _Open:
        """Take no more connections in at the listener of this *name*; what is under way there may end."""
        there = self._open.pop(name)
        there.listener.stop()
        there.served.stop()
        task = asyncio.get_running_loop().create_task(there.listener.drain(self._drain_s), name=f"drain of {name}")
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)
        return there


def _close(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()
