"""Serving a gateway on its own front: listeners in one event loop, which stop when they are told to.

run() is a whole gateway in one process, its admin application included, without anybody who looks after it. What the
command line runs is supervised instead (supervision/): workers that only serve, and a parent with the admin pages.

SIGINT and SIGTERM let requests under way finish, for a while, and end the process with status 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from ..registry import Registry, default_registry
from .config import GatewayConfig, GatewaySettings
from .front.asgi_bridge import App
from .gateway import Gateway
from .listener_metrics import METRICS
from .listeners import PUBLIC, Listeners, Served
from .logs.messages import MessageHandler
from .open_files import allow_open_files

MakeAdmin = Callable[[Registry], App]

#: A request leaves no cycles behind, so the collector need not look far and often. What it does look at is what many
#: slow requests hold, and nothing is answered meanwhile: 20,000 new objects at once take several milliseconds.
_GC_THRESHOLDS: Final = (2_000, 200, 20)
#: Signals that end what is served.
STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_logger = logging.getLogger(__name__)


def served_by(gateway: Gateway, config: GatewayConfig | None = None) -> list[Served]:
    """What a *gateway* itself serves; by another *config*, what it will serve."""
    config = gateway.config if config is None else config
    settings, private = config.gateway, config.private
    found = [Served(PUBLIC, gateway.serve, settings.bind, settings, current=lambda: gateway.config.gateway,
                    refused=gateway.refused)]
    if private is not None:
        found.append(Served("private", gateway.serve_private, private.settings.bind, private.settings,
                            current=lambda: (gateway.config.private or private).settings,
                            refused=gateway.refused_private))
    return found


def binds(config: GatewayConfig) -> list[str]:
    """Where a gateway itself will listen."""
    return [config.gateway.bind, *(() if config.private is None else (config.private.settings.bind,))]


async def serve(gateway: Gateway, *, admin: App | None = None, ready: Callable[[], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM, in the running event loop of the main thread.

    Args:
        gateway: Listens as its configuration says.
        admin: The application for the admin listener, if the configuration has one; None: no such listener.
        ready: Called once both listen.

    Raises:
        ServeError: A port is taken.
    """
    stop, served = asyncio.Event(), served_by(gateway)
    if admin is not None and gateway.config.admin is not None:
        served.append(Served.app(admin, gateway.config.admin.bind))
    listeners = Listeners(drain_s=gateway.config.gateway.drain_timeout)
    METRICS.of(gateway.registry).adopt(listeners)
    try:
        with signals_set(stop):
            if await is_known(gateway, stop):
                await listen(served, stop, ready, listeners)
    finally:
        gateway.close()
        await gateway.closed()


async def is_known(gateway: Gateway, stop: asyncio.Event) -> bool:
    """Wait until the gateway knows whom to send requests to (True), or until *stop* is set (False)."""
    known, stopped = asyncio.ensure_future(gateway.known()), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((known, stopped), return_when=asyncio.FIRST_COMPLETED)
        if known.done():
            known.result()  # what it raises comes here
    finally:
        known.cancel()
        stopped.cancel()
    return not stop.is_set()


async def listen(served: Sequence[Served], stop: asyncio.Event, ready: Callable[[], None] | None = None,
                 listeners: Listeners | None = None) -> None:
    """Serve until *stop* is set.

    Args:
        served: What, and where.
        stop: Ends it.
        ready: Called once all listen.
        listeners: Listen, and may serve something else meanwhile; None: new ones.

    Raises:
        ServeError: A port is taken.
    """
    listeners = Listeners() if listeners is None else listeners
    try:
        await listeners.change(served)
        if ready is not None:
            asyncio.get_running_loop().call_soon(ready)
        await stop.wait()
    finally:
        await listeners.close()


def signals_set(stop: asyncio.Event, *, to_the_end: bool = False) -> contextlib.AbstractContextManager[None]:
    """Let SIGINT and SIGTERM set *stop* meanwhile; see signals_heard()."""
    return signals_heard(dict.fromkeys(STOPPING, stop.set), to_the_end=to_the_end)


@contextlib.contextmanager
def signals_heard(acts: Mapping[signal.Signals, Callable[[], object]], *, to_the_end: bool = False) -> Iterator[None]:
    """Have the running event loop of the main thread do these *acts* meanwhile, when their signals come.

    One that was blocked and has come before is heard now.

    Args:
        acts: By signal.
        to_the_end: Whether the process ends then. What comes later does not decide its status: it hastens the end, as
            of a thread that is waited for, or is ignored.
    """
    loop = asyncio.get_running_loop()
    for number, act in acts.items():
        loop.add_signal_handler(number, act)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, acts)
    try:
        yield
    finally:
        for number in acts:
            loop.remove_signal_handler(number)
            if to_the_end:
                signal.signal(number, _end if number in STOPPING else signal.SIG_IGN)


def _end(*_: object) -> None:
    os._exit(0)


def new_loop() -> asyncio.AbstractEventLoop:
    """The event loop that the gateway is served on."""
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
    log_to_stderr()
    allow_open_files(config.most_connections, len(binds(config)))
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

    async def main() -> None:
        stop = asyncio.Event()
        with signals_set(stop, to_the_end=True):
            await listen([Served.app(app, bind)], stop, ready)

    allow_open_files(GatewaySettings().max_connections)
    settle_memory()
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def forget_generators() -> None:
    """Keep no list of the async generators in this thread's loop, for closing at its end those that nobody has closed.

    Each exchange is two of them, and closes them. One that is dropped is closed when it is collected, as ever.
    """
    sys.set_asyncgen_hooks(firstiter=None)


def settle_memory() -> None:
    """Tell the garbage collector that what is there now stays, and need not be looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def log_to_stderr() -> None:
    """Print what is logged, as Python does by itself where nobody has said otherwise, but for changes of circuits.

    A gateway tells those on its dashboard and streams; a service that flaps would fill its terminal with them. Why an
    upstream failed goes to stdout: it is no trouble of the gateway's own. Nothing waits for who reads them.
    """
    logger = logging.getLogger("resilience")
    if not logger.hasHandlers():
        handler = MessageHandler(2, "the log on stderr")
        handler.setLevel(logging.WARNING)
        handler.addFilter(lambda record: not hasattr(record, "circuit") and not hasattr(record, "upstream"))
        upstreams = MessageHandler(1, "the log on stdout")
        upstreams.addFilter(lambda record: hasattr(record, "upstream"))
        logger.addHandler(handler)
        logger.addHandler(upstreams)
        logger.setLevel(logging.INFO)  # for who is left out, and who is back
        sys.unraisablehook = _log_unraisable


def _log_unraisable(told: sys.UnraisableHookArgs) -> None:
    """Log an exception that nobody can be told of. Python would print it, and wait for who reads that."""
    if told.exc_type is UnicodeDecodeError and isinstance(told.object, bytes):
        _logger.debug("a client asks for a certificate of the name %r, which ssl rejects", told.object)
        return
    _logger.error("%s %r", told.err_msg or "an exception is ignored in", told.object, exc_info=told.exc_value)
