"""A worker: serves the gateway in a process of its own, and does what its supervisor asks over their channel.

It ends when it is told to by SIGTERM, or when its supervisor is gone, which the end of its standard input says, even if
the event loop hangs. Other signals are the supervisor's: a terminal sends some to all of its processes.

What a worker answers: ``(number, True, result)`` or ``(number, False, reasons)``, and any number of
``(number, None, part)`` before, by the number of the question. Of its own accord it says ``(0, True, None)`` once it
listens, ``(0, False, reasons)`` if it never will, and ``(0, None, None)`` every few seconds; see heartbeat.py.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ...config import ConfigFileError, Document
from ...errors import ConfigError
from ...metrics.prometheus import further_metrics
from ...registry import Registry, default_registry
from .. import server
from ..config import GatewayConfig, read
from ..gateway import Gateway
from ..listener_metrics import METRICS
from ..listeners import Listeners, ServeError
from ..services.sources import reports as source_reports
from .channel import Channel
from .heartbeat import beat
from .report import KINDS, family, in_slices

#: Beyond the time that requests have to end, before a worker without a supervisor ends itself.
_GRACE_S: Final = 5.0


def main(descriptor: int) -> None:
    """Be a worker; the process's main job.

    Args:
        descriptor: Of the worker's end of the channel.
    """
    server.log_to_stderr()
    with asyncio.Runner(loop_factory=server.new_loop) as runner:
        runner.run(_main(socket.socket(fileno=descriptor)))


async def _main(end: socket.socket) -> None:
    channel = await Channel.over(end)
    try:
        file, data = await channel.receive()
    except EOFError:
        return
    try:
        config = read(Document.of(data, file))
        gateway = Gateway(config, registry=default_registry)
    except ConfigError as error:
        channel.tell((0, False, reasons(error)))
        await channel.drained()
        channel.close()
        return
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    _end_with_supervisor(config.gateway.drain_timeout + _GRACE_S)
    server.settle_memory()
    server.forget_generators()
    listeners = Listeners(drain_s=config.gateway.drain_timeout, shared=True)
    METRICS.of(gateway.registry).adopt(listeners)
    jobs = [asyncio.ensure_future(each) for each in (Answers(channel, gateway, listeners).run(), beat(channel))]
    try:
        if await server.is_known(gateway, stop):
            await server.listen(server.served_by(gateway), stop, lambda: channel.tell((0, True, None)), listeners)
    except (OSError, ServeError) as error:
        channel.tell((0, False, [str(error)]))
        await channel.drained()
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.wait(jobs)
        gateway.close()
        await gateway.closed()
        channel.close()


def _end_with_supervisor(patience_s: float) -> None:
    """End this process, gently and then not, when its standard input does."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(patience_s)
        os._exit(1)

    threading.Thread(target=watch, name="resilience supervisor's end", daemon=True).start()


def reasons(error: ConfigError) -> list[str]:
    """What a configuration error says, line by line."""
    return [str(mistake) for mistake in error.mistakes] if isinstance(error, ConfigFileError) else [str(error)]


class RefusedError(Exception):
    """What the supervisor asks for cannot be done; the arguments are the reasons."""


class Answers:
    """Answers the questions of a supervisor, one after another."""

    def __init__(self, channel: Channel, gateway: Gateway, listeners: Listeners) -> None:
        self._channel, self._gateway, self._listeners = channel, gateway, listeners
        self._verbs: Mapping[str, Callable[[Callable[[Any], None], Any], Awaitable[Any]]] = {
            "reload": self._reload, "report": self._report, "metrics": self._metrics, "steer": self._steer,
            "sources": self._sources, "mirrors": self._mirrors, "send_away": self._send_away, "shared": self._shared,
            "reopen": self._reopen}

    async def run(self) -> None:
        """Answer until the supervisor is gone."""
        try:
            while True:
                number, verb, argument = await self._channel.receive()
                try:
                    result = await self._verbs[verb](functools.partial(self._part, number), argument)
                except ConfigError as error:
                    self._channel.tell((number, False, reasons(error)))
                except RefusedError as error:
                    self._channel.tell((number, False, list(map(str, error.args))))
                except Exception as error:  # noqa: BLE001 - told to the supervisor, which logs it; the worker serves on
                    self._channel.tell((number, False, [f"{type(error).__name__}: {error}"]))
                else:
                    self._channel.tell((number, True, result))
                await self._channel.drained()
        except EOFError:
            return

    def _part(self, number: int, part: Any) -> None:
        self._channel.tell((number, None, part))

    async def _reload(self, part: Callable[[Any], None], argument: tuple[str, dict[str, Any], float]) -> None:
        file, data, by = argument
        gateway, config = self._gateway, await asyncio.to_thread(_read, file, data)

        def reload() -> None:
            if time.monotonic() > by:  # it was stopped, or had too much to do; the others have gone back by now
                raise RefusedError("it comes too late")
            gateway.reload(config)

        if not self._listeners.are_open:  # the endpoints of a service are not known yet
            reload()
            return
        try:
            await self._listeners.change(server.served_by(gateway, config), reload)
        except ServeError as error:
            raise RefusedError(str(error)) from None

    async def _report(self, part: Callable[[Any], None], kind: str) -> None:
        async for reports in in_slices(self._gateway.registry, KINDS[kind]):
            part(reports)
            await self._channel.drained()

    async def _metrics(self, part: Callable[[Any], None], argument: None) -> None:
        async for families in in_slices(further_metrics(self._gateway.registry), family):
            part(families)
            await self._channel.drained()

    async def _steer(self, part: Callable[[Any], None], argument: tuple[str, str]) -> None:
        key, order = argument
        steer(self._gateway.registry, key, order)

    async def _sources(self, part: Callable[[Any], None], argument: None) -> dict[str, Any]:
        return source_reports(self._gateway.services)

    async def _mirrors(self, part: Callable[[Any], None], argument: None) -> dict[str, Any]:
        return {name: each.report() for name, each in self._gateway.mirrors.items()}

    async def _send_away(self, part: Callable[[Any], None], argument: None) -> None:
        self._listeners.send_away()

    async def _reopen(self, part: Callable[[Any], None], argument: None) -> None:
        observer = self._gateway.observer
        if observer is not None and observer.access_log is not None:
            observer.access_log.reopen()

    async def _shared(self, part: Callable[[Any], None], argument: None) -> dict[str, Any]:
        shared, hints = self._gateway.shared, self._gateway.hints
        return {**({} if shared is None else {"store": shared.report()}),
                **({} if hints is None else {"circuits": hints.report()})}


def _read(file: str, data: dict[str, Any]) -> GatewayConfig:
    return read(Document.of(data, file))


#: What can be ordered of a command, by the name of its handle's method.
ORDERS: Final = ("force_open", "force_closed", "release", "reset")


def steer(registry: Registry, key: str, order: str) -> None:
    """Give a command an order.

    Raises:
        RefusedError: There is no such command, or no such order.
        ConfigError: The command has no breaker.
    """
    command = registry.get(key)
    if command is None:
        raise RefusedError(f"there is no command {key!r}")
    if order not in ORDERS:
        raise RefusedError(f"there is no order {order!r}; there are {', '.join(ORDERS)}")
    getattr(command, order)()


if __name__ == "__main__":
    main(int(sys.argv[1]))
