"""Serving a gateway on granian, with its admin application in the same process.

Both listeners run in one event loop, so what the admin application shows is the
registry that the gateway's calls go through. More workers are more such
processes: the kernel spreads connections over them, each has its own registry,
and each its own admin port, counted up from the configured one.

A worker's end is in the hands of whoever runs it: SIGINT and SIGTERM let requests
under way finish, for a while, and end the process with status 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import sys
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


def admin_bind(config: GatewayConfig, worker: int) -> str | None:
    """Where worker number *worker*, from 0, serves its admin application; None without one.

    Raises:
        ServeError: There are not so many ports.
    """
    if config.admin is None:
        return None
    host, port = address(config.admin.bind)
    if port + worker > 65535:
        raise ServeError(f"worker {worker + 1} has no admin port left above {config.admin.bind}")
    return f"[{host}]:{port + worker}" if ":" in host else f"{host}:{port + worker}"


def _server(app: App, bind: str) -> Server:
    host, port = address(bind)
    return Server(
        app, address=host, port=port, interface=Interfaces.ASGI, http=HTTPModes.http1, websockets=False,
        backlog=BACKLOG, log_level=LogLevels.error,
        http1_settings=HTTP1Settings(
            header_read_timeout=int(HEADER_READ_TIMEOUT_S * 1000), max_buffer_size=MAX_HEAD_BYTES))


async def serve(gateway: Gateway, *, admin: App | None = None, admin_address: str | None = None,
                ready: Callable[[], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, in the running event loop of the main thread.

    Args:
        gateway: Listens as its configuration says.
        admin: The application for the admin listener; None: no such listener.
        admin_address: host:port for it; None: as configured.
        ready: Called once both listen.

    Raises:
        ServeError: A port is taken.
    """
    stop = asyncio.Event()
    listeners: list[tuple[App, str]] = [(gateway, gateway.config.gateway.bind)]
    bind = admin_address or admin_bind(gateway.config, 0)
    if admin is not None and bind is not None:
        listeners.append((_hung_up(admin, stop), bind))
    await _listen(listeners, stop, ready)


def _hung_up(app: App, stop: asyncio.Event) -> App:
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


async def _listen(listeners: list[tuple[App, str]], stop: asyncio.Event, ready: Callable[[], None] | None) -> None:
    servers = [_server(app, where) for app, where in listeners]
    tasks = [asyncio.ensure_future(server.serve()) for server in servers]
    with _signals_set(stop):
        if ready is not None:
            asyncio.get_running_loop().call_soon(ready)
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for server in servers:
            server.stop()  # type: ignore[no-untyped-call]
        done, late = await asyncio.wait(tasks, timeout=DRAIN_S)
        if late:  # connections that did not end: granian's callbacks will find their futures cancelled
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        for task in late:
            task.cancel()
    for task in done:
        task.result()


@contextlib.contextmanager
def _signals_set(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.add_signal_handler(each, stop.set)
    try:
        yield
    finally:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(config: GatewayConfig, *, make_admin: MakeAdmin | None = None, workers: int = 1,
        registry: Registry | None = None, ready: Callable[[], None] | None = None) -> None:
    """Serve a gateway until SIGINT or SIGTERM; the process's main job.

    Args:
        config: See config.load().
        make_admin: Makes the admin application from the registry. With several workers it must be a module's function.
        workers: Processes.
        registry: For one worker; None: resilience.default_registry.
        ready: Called once the gateway listens (or all workers were started).

    Raises:
        ServeError: A port is taken, or a worker died.
    """
    check_free(config.gateway.bind)
    for worker in range(workers if make_admin is not None else 0):
        bind = admin_bind(config, worker)
        if bind is not None:
            check_free(bind)
    if workers == 1:
        _work(config, make_admin, 0, registry, ready)
    else:
        _supervise(config, make_admin, workers, ready)


def run_app(app: App, bind: str, *, ready: Callable[[], None] | None = None) -> None:
    """Serve any ASGI application as the gateway is served, until SIGINT or SIGTERM.

    Raises:
        ServeError: The port is taken.
    """
    check_free(bind)

    async def main() -> None:
        stop = asyncio.Event()
        await _listen([(_hung_up(app, stop), bind)], stop, ready)

    gc.collect()
    gc.freeze()  # what is there now stays, and need not be looked at again
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(main())


def _work(config: GatewayConfig, make_admin: MakeAdmin | None, worker: int, registry: Registry | None = None,
          ready: Callable[[], None] | None = None) -> None:
    _log_to_stderr()
    registry = default_registry if registry is None else registry
    gateway = Gateway(config, registry=registry)
    admin = None if make_admin is None else make_admin(registry)
    gc.collect()
    gc.freeze()  # what is there now stays, and need not be looked at again
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(serve(gateway, admin=admin, admin_address=admin_bind(config, worker), ready=ready))


def _log_to_stderr() -> None:
    """Print what is logged, as Python does by itself where nobody has said otherwise, but for changes of circuits.

    A gateway tells those on its dashboard and streams; a service that flaps would fill its terminal with them. Why an
    upstream failed goes to stdout: it is no trouble of the gateway's own.
    """
    logger = logging.getLogger("resilience")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        handler.addFilter(lambda record: not hasattr(record, "circuit") and not hasattr(record, "upstream"))
        upstreams = logging.StreamHandler(sys.stdout)
        upstreams.addFilter(lambda record: hasattr(record, "upstream"))
        logger.addHandler(handler)
        logger.addHandler(upstreams)


def _supervise(config: GatewayConfig, make_admin: MakeAdmin | None, workers: int,
               ready: Callable[[], None] | None) -> None:
    """Start the workers, pass signals on, and end with the first of them that ends."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_work, args=(config, make_admin, i), name=f"gateway-{i + 1}")
                 for i in range(workers)]
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for process in processes:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGTERM)

    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        for process in processes:
            process.start()
        if ready is not None:
            ready()
        multiprocessing.connection.wait([process.sentinel for process in processes])
        died = [process.name for process in processes if process.exitcode] if not stopping else []
        stop()
        for process in processes:
            process.join(DRAIN_S)
            if process.is_alive():
                process.kill()
                process.join()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if died:
        raise ServeError(f"{', '.join(died)} died; the others were stopped")
