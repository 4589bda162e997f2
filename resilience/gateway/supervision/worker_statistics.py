"""WorkerStatistics: what all workers count, asked for when somebody looks.

Of a worker that does not answer in time, what it said last is shown; of one that died, what it had counted stays.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from .merged import MergedRegistry
from .merged_metrics import MergedMetrics
from .worker_process import WorkerGoneError, WorkerProcess, WorkerRefusedError, WorkerSilentError

#: Longest wait for a worker's answer.
REPORT_S: Final = 1.0


class WorkerStatistics:
    """The statistics of the workers of one gateway. For one event loop.

    Attributes:
        commands: What they count of their commands.
        metrics: What they export beside.
    """

    def __init__(self, workers: Mapping[int, WorkerProcess]) -> None:
        """Nothing has been asked for yet.

        Args:
            workers: Those there are, by number; it changes as they come and go.
        """
        self.commands, self.metrics = MergedRegistry(), MergedMetrics()
        self._workers = workers
        self._collecting: dict[str, asyncio.Task[None]] = {}

    async def collect(self, kind: str) -> None:
        """Ask every worker for its statistics; who comes while they are asked for, waits for the same answers.

        Args:
            kind: See report.KINDS; "lifetime" is asked for with what the workers export beside their commands.
        """
        running = self._collecting.get(kind)
        if running is None or running.done():
            running = self._collecting[kind] = asyncio.ensure_future(self._collect(kind))
        await asyncio.shield(running)

    async def asked(self, verb: str) -> dict[str, dict[str, Any]]:
        """What each worker, by number, answers to a question, by its parts; of one that does not answer, nothing.

        Args:
            verb: "sources": of services, by their names; "mirrors": of routes, by theirs; "shared": of what is shared.
        """
        found: dict[str, dict[str, Any]] = {}
        workers = list(self._workers.values())
        for worker, answer in zip(workers, await asyncio.gather(
                *(worker.ask(verb, None, REPORT_S) for worker in workers), return_exceptions=True), strict=True):
            if isinstance(answer, tuple):
                for name, report in answer[0].items():
                    found.setdefault(name, {})[str(worker.number)] = report
        return found

    def depart(self, number: int) -> None:
        """A worker is no more."""
        self.commands.depart(number)
        self.metrics.depart(number)

    async def _collect(self, kind: str) -> None:
        await asyncio.gather(*(self._ask(worker, kind) for worker in self._workers.values()
                               if worker.is_ready and not worker.is_silent))

    async def _ask(self, worker: WorkerProcess, kind: str) -> None:
        with contextlib.suppress(WorkerGoneError, WorkerSilentError, WorkerRefusedError):
            await self._take(worker, "report", kind, self.commands.take)
            if kind == "lifetime":
                await self._take(worker, "metrics", None, self.metrics.take)

    async def _take(self, worker: WorkerProcess, verb: str, argument: Any,
                    take: Callable[[int, list[Any]], None]) -> None:
        _, parts = await worker.ask(verb, argument, REPORT_S)
        if self._workers.get(worker.number) is worker:
            take(worker.number, [each for part in parts for each in part])
