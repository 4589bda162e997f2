"""Serving a gateway on its own front, with its admin application in the same process.

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
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from ..registry import Registry, default_registry
from .config import GatewayConfig, GatewaySettings, address
from .front.asgi_bridge import App, AsgiBridge
from .front.front import Front, Serve
from .front.listener import Listener, bound
from .gateway import Gateway

MakeAdmin = Callable[[Registry], App]

#: A request leaves no cycles behind; the collector need not look after every 700 new objects.
_GC_THRESHOLDS: Final = (20_000, 20, 20)
#: What a worker may take beyond its time to drain before it is killed.
_LONGER_S: Final = 3.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_logger = logging.getLogger(__name__)


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


@attrs.frozen
class _Served:
    """What is served on one address, and what to do when that is to end."""

    serve: Serve
    bind: str
    settings: GatewaySettings
    stop: Callable[[], None] = lambda: None

    @classmethod
    def app(cls, app: App, bind: str) -> _Served:
        """An ASGI application."""
        bridge = AsgiBridge(app)
        return cls(bridge.serve, bind, GatewaySettings(), bridge.stop)


async def serve(gateway: Gateway, *, admin: App | None = None, admin_address: str | None = None,
                ready: Callable[[], None] | None = None, shared: bool = False) -> None:
    """Serve until SIGINT or SIGTERM, in the running event loop of the main thread.

    Args:
        gateway: Listens as its configuration says.
        admin: The application for the admin listener; None: no such listener.
        admin_address: host:port for it; None: as configured.
        ready: Called once both listen.
        shared: Whether other processes listen on the gateway's port, too.

    Raises:
        ServeError: A port is taken.
    """
    settings = gateway.config.gateway
    served = [_Served(gateway.serve, settings.bind, settings)]
    bind = admin_address or admin_bind(gateway.config, 0)
    if admin is not None and bind is not None:
        served.append(_Served.app(admin, bind))
    try:
        await _listen(served, ready, settings.drain_timeout, shared=shared)
    finally:
        gateway.close()


async def _listen(served: Sequence[_Served], ready: Callable[[], None] | None, drain_s: float, *,
                  shared: bool = False) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    listeners: list[Listener] = []
    with _signals_set(stop):
        try:
            for each in served:
                listener = Listener(Front(each.serve, each.settings, loop))
                try:
                    sockets = bound(each.bind, shared=shared)
                except OSError as error:
                    raise ServeError(f"cannot listen on {each.bind}: {error.strerror or error}") from None
                listeners.append(listener)
                await listener.listen(sockets)
            if ready is not None:
                loop.call_soon(ready)
            await stop.wait()
        finally:
            for listener, each in zip(listeners, served, strict=False):
                listener.stop()
                each.stop()
            await asyncio.gather(*(listener.drain(drain_s) for listener in listeners))


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
        _work(config, make_admin, 0, registry, ready, shared=False)
    else:
        _supervise(config, make_admin, workers, ready)


def run_app(app: App, bind: str, *, ready: Callable[[], None] | None = None) -> None:
    """Serve any ASGI application as the gateway is served, until SIGINT or SIGTERM.

    Raises:
        ServeError: The port is taken.
    """
    check_free(bind)

    async def main() -> None:
        await _listen([_Served.app(app, bind)], ready, GatewaySettings().drain_timeout)

    gc.collect()
    gc.freeze()  # what is there now stays, and need not be looked at again
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(main())


def _work(config: GatewayConfig, make_admin: MakeAdmin | None, worker: int, registry: Registry | None = None,
          ready: Callable[[], None] | None = None, *, shared: bool = True) -> None:
    _log_to_stderr()
    registry = default_registry if registry is None else registry
    gateway = Gateway(config, registry=registry)
    admin = None if make_admin is None else make_admin(registry)
    gc.collect()
    gc.freeze()  # what is there now stays, and need not be looked at again
    gc.set_threshold(*_GC_THRESHOLDS)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(serve(gateway, admin=admin, admin_address=admin_bind(config, worker), ready=ready, shared=shared))


def _log_to_stderr() -> None:
    """Print what is logged, as Python does by itself where nobody has said otherwise, but for changes of circuits.

    A gateway tells those on its dashboard and streams; a service that flaps would fill its terminal with them.
    """
    logger = logging.getLogger("resilience")
    if not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setLevel(logging.WARNING)
        handler.addFilter(lambda record: not hasattr(record, "circuit"))
        logger.addHandler(handler)


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
            process.join(config.gateway.drain_timeout + _LONGER_S)
            if process.is_alive():
                process.kill()
                process.join()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if died:
        raise ServeError(f"{', '.join(died)} died; the others were stopped")
