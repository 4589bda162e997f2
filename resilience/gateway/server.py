"""Serving a gateway on granian: listeners in one event loop, which stop when they are told to.

run() is a whole gateway in one process, its admin application included, without anybody who looks after it. What the
command line runs is supervised instead (supervision/): workers that only serve, and a parent with the admin pages.

SIGINT and SIGTERM let requests under way finish, for a while, and end the process with status 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from ..registry import Registry, default_registry
from .config import GatewayConfig, address
from .gateway import Gateway

App = Callable[[Any, Any, Any], Awaitable[None]]
MakeAdmin = Callable[[Registry], App]

HEADER_READ_TIMEOUT_S: Final = 10.0  # slow headers hold a connection no longer
MAX_HEAD_BYTES: Final = 64 * 1024
BACKLOG: Final = 1024
DRAIN_S: Final = 5.0
#: A request leaves no cycles behind; the collector need not look after every 700 new objects.
_GC_THRESHOLDS: Final = (20_000, 20, 20)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_logger = logging.getLogger(__name__)


class ServeError(Exception):
    """The gateway cannot be served; the message is one line for a terminal."""


def check_free(bind: str) -> None:
    """Make sure that nobody listens on *bind*.

    granian's listeners share their port, and would share it with a stranger's too.

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
        raise ServeError(f"cannot listen on {bind}: {error.strerror or error}") from None


def _server(app: App, bind: str) -> Server:
    host, port = address(bind)
    return Server(
        app, address=host, port=port, interface=Interfaces.ASGI, http=HTTPModes.http1, websockets=False,
        backlog=BACKLOG, log_level=LogLevels.error,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(HEADER_READ_TIMEOUT_S * 1000), max_buffer_size=MAX_HEAD_BYTES))


async def serve(gateway: Gateway, *, admin: App | None = None, ready: Callable[[], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, in the running event loop of the main thread.

    Args:
        gateway: Listens as its configuration says.
        admin: The application for the admin listener, if the configuration has one; None: no such listener.
        ready: Called once both listen.

    Raises:
        ServeError: A port is taken.
    """
    stop = asyncio.Event()
    listeners = sides(gateway)
    if admin is not None and gateway.config.admin is not None:
        listeners.append((hung_up(admin, stop), gateway.config.admin.bind))
    with signals_set(stop):
        await listen(listeners, stop, ready, gateway.config.gateway.drain_timeout)


def hung_up(app: App, stop: asyncio.Event) -> App:
    """*app*, whose clients all hang up on *stop*: its streams have no other end."""

    async def until_stopped(scope: Any, receive: Any, send: Any) -> None:
        async def receive_or_stop() -> Any:
            message = asyncio.ensure_future(receive())
            stopped = asyncio.ensure_future(stop.wait())
            try:
                await asyncio.wait((message, stopped), return_when=asyncio.FIRST_COMPLETED)
                return message.result() if message.done() else {"type": "http.disconnect"}
            finally:
                message.cancel()
                stopped.cancel()

        await app(scope, receive_or_stop if scope["type"] == "http" else receive, send)

    return until_stopped


def sides(gateway: Gateway) -> list[tuple[App, str]]:
    """What a gateway itself serves: each side with where it listens."""
    private = gateway.config.private
    listeners: list[tuple[App, str]] = [(gateway, gateway.config.gateway.bind)]
    if private is not None:
        listeners.append((gateway.private, private.settings.bind))
    return listeners


def binds(config: GatewayConfig) -> list[str]:
    """Where a gateway itself will listen."""
    return [config.gateway.bind, *(() if config.private is None else (config.private.settings.bind,))]


async def listen(listeners: list[tuple[App, str]], stop: asyncio.Event, ready: Callable[[], None] | None = None,
                 drain_s: float = DRAIN_S) -> None:
    """Serve applications until *stop* is set.

    Args:
        listeners: Each application, with host:port.
        stop: Ends it.
        ready: Called once all listen.
        drain_s: Seconds that requests under way have to end.
    """
    servers = [_server(app, where) for app, where in listeners]
    tasks = [asyncio.ensure_future(server.serve()) for server in servers]
    if ready is not None:
        asyncio.get_running_loop().call_soon(ready)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    for server in servers:
        server.stop()  # type: ignore[no-untyped-call]
    done, late = await asyncio.wait(tasks, timeout=drain_s)
    if late:  # connections that did not end: granian's callbacks will find their futures cancelled
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    for task in late:
        task.cancel()
    for task in done:
        task.result()


@contextlib.contextmanager
def signals_set(stop: asyncio.Event) -> Iterator[None]:
    """Let SIGINT and SIGTERM set *stop* meanwhile."""
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.add_signal_handler(each, stop.set)
    try:
        yield
    finally:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)


def new_loop() -> asyncio.AbstractEventLoop:
    """The fastest event loop that there is here."""
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(config: GatewayConfig, *, make_admin: MakeAdmin | None = None, registry: Registry | None = None,
        ready: Callable[[], None] | None = None) -> None:
    """Serve a gateway in this process until SIGINT or SIGTERM; the process's main job.

    Args:
        config: See config.load().
        make_admin: Makes the admin application from the registry.
        registry: None: resilience.default_registry.
        ready: Called once the gateway listens.

    Raises:
        ServeError: A port is taken.
    """
    for bind in binds(config):
        check_free(bind)
    if make_admin is not None and config.admin is not None:
        check_free(config.admin.bind)
    log_to_stderr()
    registry = default_registry if registry is None else registry
    gateway = Gateway(config, registry=registry)
    admin = None if make_admin is None else make_admin(registry)
    settle_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve(gateway, admin=admin, ready=ready))


def run_app(app: App, bind: str, *, ready: Callable[[], None] | None = None) -> None:
    """Serve any ASGI application as the gateway is served, until SIGINT or SIGTERM.

    Raises:
        ServeError: The port is taken.
    """
    check_free(bind)

    async def main() -> None:
        stop = asyncio.Event()
        with signals_set(stop):
            await listen([(hung_up(app, stop), bind)], stop, ready)

    settle_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def settle_memory() -> None:
    """Tell the garbage collector that what is there now stays, and need not be looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def log_to_stderr() -> None:
    """Print what is logged, as Python does by itself where nobody has said otherwise, but for changes of circuits.

    A gateway tells those on its dashboard and streams; a service that flaps would fill its terminal with them.
    """
    logger = logging.getLogger("resilience")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        handler.addFilter(lambda record: not hasattr(record, "circuit"))
        logger.addHandler(handler)
