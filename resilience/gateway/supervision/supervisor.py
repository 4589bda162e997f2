"""Supervisor: the parent process of a gateway. It starts the workers, and starts those again that die.

The parent serves no request. It has the admin listener, whose pages show what all workers count
(worker_statistics.py), and it reloads the file, all or nothing: it checks the file itself, has every worker take it,
and has them all go back if one does not. So nothing that an operator looks at, or does, keeps a request waiting.
If the file has a service registry, that is in the parent, too: there is one, whose instances outlive workers and
reloads (embedded_registry.py).

How it ends: SIGTERM and SIGINT begin the lame-duck phase, in which readiness is off, and requests are served; whoever
keeps a connection is asked to send its next request over another one, which the load balancer leads elsewhere.
Then the workers stop listening and have some seconds for what is under way. A second signal ends the phase at hand.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import aiorwlock

from ...asgi import App
from ...config import Document
from ...errors import ConfigError
from .. import server
from ..config import read
from ..config.changes import refuse_unchangeable
from ..config.file import log_hints, read_for_start
from ..listeners import Served, ServeError, check_free
from ..open_files import allow_open_files
from ..reloads import Reloads
from .all_workers import ORDER_S, distribute, reopen_logs, send_clients_away
from .configuration_file import ConfigurationFile
from .embedded_registry import EmbeddedRegistry
from .fleet import Fleet, over
from .heartbeat import replace_silent
from .reserved_ports import ReservedPorts
from .restarts import Restarts
from .worker_process import (
    WorkerGoneError,
    WorkerProcess,
    WorkerRefusedError,
    WorkerSilentError,
    described,
)
from .worker_statistics import WorkerStatistics

MakeAdmin = Callable[["Supervisor"], App]

_GRACE_S: Final = 2.0  # beyond the time that requests have to end, before a worker is killed
_logger = logging.getLogger(__name__)


class Supervisor:
    """The parent of the workers of one gateway. For one event loop, that of the main thread.

    Attributes:
        file: The configuration's.
        config: What is in force.
        data: The same, as the tables of a file.
        is_changed: Something of it came by change() and is not in the file.
        statistics: What the workers count.
        workers: Those that were started, by number.
        restarts: The deaths of each.
        registry: The service registry, if the file has one.
        reloads: How many configurations were put in force since the start, and how many were refused.
        fleet: What operators say to all gateways of the fleet, if it is of one.
    """

    def __init__(self, file: str | os.PathLike[str], *, workers: int | None = None) -> None:
        """A supervisor; starts nothing yet.

        Args:
            file: The configuration's.
            workers: How many; None: as the file says.

        Raises:
            ConfigFileError: The file has mistakes.
        """
        self.file = os.fspath(file)
        self._from = ConfigurationFile(file)
        document = self._from.read()
        self.config, self.data = read_for_start(document), document.data
        log_hints(document)
        self.is_changed = False
        self.workers: dict[int, WorkerProcess] = {}
        self.statistics = WorkerStatistics(self.workers)
        self.number_of_workers = self.config.process.workers if workers is None else workers
        self.restarts = {number: Restarts() for number in range(1, self.number_of_workers + 1)}
        self.reloads = {"applied": 0, "rejected": 0}
        self._stop = asyncio.Event()  # the lame-duck phase begins
        self._hurry = asyncio.Event()  # and is to end
        self._ending = asyncio.Event()  # and has ended: no worker is started any more
        self._failure: str | None = None
        self._not_up = set(self.restarts)  # workers that have not listened yet, not once
        self._ready: Callable[[], None] | None = None
        self._lock = aiorwlock.RWLock(fast=True)
        self._orders: dict[str, str] = {}  # by the command's key: those that hold until another one
        self._jobs: set[asyncio.Task[None]] = set()
        self.registry = EmbeddedRegistry()
        self._ports = ReservedPorts()
        self.fleet = Fleet(self)
        self._reloads = Reloads(self.read_again, self.fleet.lock)

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stop.is_set()

    @property
    def is_ready(self) -> bool:
        """Whether requests should be sent here: some worker serves, and nobody has told the gateway to end."""
        return not self.is_stopping and any(worker.serves for worker in self.workers.values())

    # -- the whole life

    async def run(self, *, make_admin: MakeAdmin | None = None, ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGINT or SIGTERM.

        Args:
            make_admin: Makes the application of the admin listener.
            ready: Called once all workers listen.

        Raises:
            ServeError: A port is taken, or a worker died when it was first started.
        """
        allow_open_files(self.config.most_connections, len(server.binds(self.config)))  # workers inherit it
        self._ports.reserve(server.binds(self.config))
        await self.registry.change(self.config.registry)
        admin_stop, admin = asyncio.Event(), None
        if make_admin is not None and self.config.admin is not None:
            check_free(self.config.admin.bind)
            admin = asyncio.ensure_future(server.listen(
                [Served.app(make_admin(self), self.config.admin.bind)], admin_stop))
        self._ready = ready
        with self._signals(), self._watching():
            await self.fleet.join()
            jobs = [asyncio.ensure_future(each) for each in (self.fleet.run(), replace_silent(self.workers))]
            keepers = [asyncio.ensure_future(self._keep(number)) for number in self.restarts]
            try:
                await self._stop.wait()
                await self._lame_duck()
            finally:
                await self._end(keepers)
                await self.registry.close()
                for job in jobs:
                    job.cancel()
                await asyncio.wait(jobs)
                admin_stop.set()
                if admin is not None:
                    await admin
        if self._failure is not None:
            raise ServeError(self._failure)

    async def _lame_duck(self) -> None:
        if self._failure is None and self.config.process.lame_duck and not self._hurry.is_set():
            self._begin(send_clients_away([*self.workers.values()]))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self.config.process.lame_duck)

    async def _end(self, keepers: Sequence[asyncio.Future[None]]) -> None:
        self._stop.set()
        self._ending.set()
        self._hurry.clear()
        for worker in self.workers.values():
            worker.terminate()
        self._ports.keep(())  # another gateway may begin while requests end here
        hurry = asyncio.ensure_future(self._hurry.wait())
        gone = asyncio.gather(*keepers)
        await asyncio.wait((gone, hurry), timeout=self.config.gateway.drain_timeout + _GRACE_S,
                           return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        for worker in self.workers.values():
            _logger.warning("worker %d (process %d) has not ended in time, and is killed", worker.number, worker.pid)
            worker.kill()
        await gone

    # -- workers

    async def _keep(self, number: int) -> None:
        """Keep one worker alive until the end."""
        while not self._ending.is_set():
            how, lived_s = await self._life(number)
            if self._ending.is_set():
                return
            if number in self._not_up:
                if not self.is_stopping:
                    self._fail(how)
                return
            await self._pause(number, how, lived_s)

    async def _life(self, number: int) -> tuple[str, float]:
        """Start a worker, and wait for its end: what became of it, and after how many seconds."""
        async with self._lock.reader_lock:  # no change is between what it is told and its place among the others
            try:
                worker = await WorkerProcess.start(number, self.file, self.data)
            except OSError as error:
                return f"worker {number} cannot be started: {error.strerror or error}", 0.0
            self.workers[number] = worker
        if self._ending.is_set():  # meanwhile
            worker.terminate()
        if await worker.said():
            self._listens(number)
            await self._order_again(worker)
            if self.is_stopping:
                await send_clients_away([worker])
        status = await worker.ended()
        del self.workers[number]
        self.statistics.depart(number)
        lived_s = asyncio.get_running_loop().time() - worker.started_at
        why = f": {'; '.join(worker.reasons)}" if worker.reasons else ""
        return f"worker {number} (process {worker.pid}) {described(status)} after {lived_s:.1f} s{why}", lived_s

    async def _order_again(self, worker: WorkerProcess) -> None:
        """Give a new worker the orders that are in force in the others."""
        for key, order in list(self._orders.items()):
            with contextlib.suppress(WorkerGoneError, WorkerSilentError, WorkerRefusedError):
                await worker.ask("steer", (key, order), ORDER_S)

    def _listens(self, number: int) -> None:
        if self._not_up:
            self._not_up.discard(number)
            if not self._not_up and self._ready is not None:
                self._ready()

    async def _pause(self, number: int, how: str, lived_s: float) -> None:
        """Say that a worker is gone, and wait until it is to be started again."""
        deaths = self.restarts[number]
        delay = deaths.died(lived_s, random.random())  # noqa: S311 - jitter
        row = f", its death number {deaths.in_a_row} in a row" if deaths.in_a_row > 1 else ""
        _logger.error("%s%s; it is started again %s", how, row, f"in {delay:.1f} s" if delay else "now")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), delay)

    def _fail(self, why: str) -> None:
        self._failure = self._failure or f"the gateway cannot start: {why}"
        self._stop.set()

    # -- signals, and the file

    def _signals(self) -> contextlib.AbstractContextManager[None]:
        return server.signals_heard({
            **dict.fromkeys(server.STOPPING, self.stop),
            signal.SIGUSR1: lambda: self._begin(reopen_logs([*self.workers.values()])),
            signal.SIGHUP: functools.partial(self.reload_soon, f"the file {self.file}, as SIGHUP asks for")},
            to_the_end=True)

    def stop(self) -> None:
        """Begin the end; if it has begun already, end its phase at hand."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _watching(self) -> contextlib.AbstractContextManager[None]:
        if not self.config.process.watch:
            return contextlib.nullcontext()
        return self._from.watched(lambda: self.reload_soon(f"the file {self.file}, which has changed"))

    def reload_soon(self, what: str) -> None:
        """Reload the file, and log how that went; see Reloads.

        Args:
            what: What is reloaded, and why, for the log.
        """
        if not self.is_stopping:
            self._reloads.soon(what)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def reload(self) -> None:
        """Read the file again, and put it in force, all or nothing; what change() has changed is as the file says.

        What operators have said to the fleet is laid over the file, but for what does not go with it.

        Raises:
            ConfigError: Nothing has changed; the message, or its mistakes, say why.
        """
        async with self.fleet.lock:
            await self.read_again()

    async def read_again(self) -> None:
        """What reload() does, for whoever has the fleet's lock."""
        said = self.fleet.said
        with contextlib.suppress(ConfigError):  # else the file may be in force without some of it
            if said:
                await self._put(lambda: Document.of(over(self._from.read().data, said), self.file),
                                is_change=True)
                self.fleet.laid(said)
                return
        await self._put(self._from.read, is_change=False)
        await self.fleet.lay(said)

    async def change(self, change: Callable[[dict[str, Any]], dict[str, Any]], what: str) -> None:
        """Put other tables in force, all or nothing, until the file is reloaded.

        Args:
            change: Makes them of those in force, which it leaves as they are; nobody else changes them meanwhile.
            what: Names them in messages.

        Raises:
            ConfigError: Nothing has changed.
        """
        await self._put(lambda: Document.of(change(self.data), what), is_change=True)

    async def _put(self, make: Callable[[], Document], *, is_change: bool) -> None:
        async with self._lock.writer_lock:
            try:
                document = await asyncio.to_thread(make)
                config = await asyncio.to_thread(read if is_change else read_for_start, document)
                refuse_unchangeable(self.config, config)
                new = {*server.binds(config)} - {*server.binds(self.config)}
                await asyncio.to_thread(self._ports.reserve, new)
                if config.registry is not None:  # workers may have it for a source
                    await self.registry.change(config.registry)
                await distribute(document, (self.file, self.data), self.workers.values())
            except (ConfigError, ServeError) as error:
                self.reloads["rejected"] += 1
                self._ports.keep(server.binds(self.config))
                await self.registry.change(self.config.registry)
                if isinstance(error, ServeError):
                    raise ConfigError(str(error), "bind") from None
                raise
            self._ports.keep(server.binds(config))
            await self.registry.change(config.registry)
            log_hints(document)
            self.config, self.data, self.is_changed = config, document.data, is_change
            self.reloads["applied"] += 1

    # -- for the admin application

    @property
    def unchanged(self) -> Any:
        """A lock to read several things under that belong together, while nobody changes the configuration."""
        return self._lock.reader_lock

    async def steer(self, key: str, order: str) -> None:
        """Give an order to a command in every worker that has it; see worker.ORDERS.

        One that does not have it, such as an endpoint that its source does not list yet, is told when it starts anew.

        Raises:
            ConfigError: No worker has such a command, or knows such an order.
        """
        async with self._lock.writer_lock:
            answers = await asyncio.gather(
                *(worker.ask("steer", (key, order), ORDER_S) for worker in self.workers.values()),
                return_exceptions=True)
        if not any(isinstance(answer, tuple) for answer in answers):
            refused = (str(answer) for answer in answers if isinstance(answer, WorkerRefusedError))
            raise ConfigError(next(refused, "no worker answers"))
        self._orders.pop(key, None)
        if order.startswith("force_"):
            self._orders[key] = order


def run(file: str | os.PathLike[str], *, workers: int | None = None, make_admin: MakeAdmin | None = None,
        ready: Callable[[Supervisor], None] | None = None) -> None:
    """Serve the gateway that a file describes, until SIGINT or SIGTERM; the process's main job.

    Args:
        file: The configuration's.
        workers: How many processes serve requests; None: as the file says.
        make_admin: Makes the application of the admin listener.
        ready: Called once all workers listen.

    Raises:
        ConfigFileError: The file has mistakes.
        ServeError: A port is taken, or a worker died when it was first started.
    """
    server.log_to_stderr()

    async def main() -> None:
        supervisor = Supervisor(file, workers=workers)
        await supervisor.run(make_admin=make_admin,
                             ready=None if ready is None else functools.partial(ready, supervisor))

    with asyncio.Runner(loop_factory=server.new_loop) as runner:
        runner.run(main())
