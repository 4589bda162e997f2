"""The admin application of a supervisor: readiness, what all workers count, and the API.

``/health`` says that the supervisor is alive, ``/ready`` whether requests should be sent to the gateway. The telemetry
endpoints and the dashboard are those of any registry; here theirs is the merged one. It is brought up to date before a
page is made, and while a stream has a listener as often as its ticks, but for at most a tenth of the workers' time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from ...asgi import App, Receive, Scope, Send, telemetry
from ..supervision.merged_metrics import PARENT
from ..supervision.report import family
from ..supervision.supervisor import Supervisor
from .answers import respond
from .api import AdminApi

_TICK_S: Final = 0.5
_PROBE_S: Final = 0.3
_SHARE: Final = 0.1  # of the workers' time, at most, for a stream's statistics


def _yield_to_others() -> None:
    """Let this thread have only the time that nobody else wants, where the system can say so of a single thread."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


class WorkerCollector(Collector):
    """What Prometheus is told of the gateway's processes."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def collect(self) -> Iterator[Metric]:
        """The metrics at this moment."""
        supervisor = self._supervisor
        up = GaugeMetricFamily("resilience_gateway_worker_up", "1 for a worker that listens.", labels=["worker"])
        restarts = CounterMetricFamily("resilience_gateway_worker_restarts", "How often a worker was started again.",
                                       labels=["worker"])
        for number, deaths in supervisor.restarts.items():
            worker = supervisor.workers.get(number)
            up.add_metric([str(number)], worker is not None and worker.is_ready and not worker.is_silent)
            restarts.add_metric([str(number)], deaths.total)
        reloads = CounterMetricFamily("resilience_gateway_reloads", "Configurations, by what became of them.",
                                      labels=["result"])
        for result, number in supervisor.reloads.items():
            reloads.add_metric([result], number)
        said = CounterMetricFamily("resilience_fleet_changes", "What operators said to the fleet, by what became of it "
                                   "here.", labels=["result"])
        for result, number in (("applied", supervisor.fleet.taken), ("rejected", supervisor.fleet.refused)):
            said.add_metric([result], number)
        foreign = GaugeMetricFamily("resilience_fleet_unauthenticated", "Entries for the fleet in the shared store "
                                    "that none of its gateways wrote.", value=supervisor.fleet.foreign)
        yield from (up, restarts, reloads, said, foreign)


class AdminApplication:
    """An ASGI 3 application.

    Args:
        supervisor: Whose workers it shows.
        page: Answers what is neither telemetry nor the API: the dashboard.
    """

    def __init__(self, supervisor: Supervisor, page: App) -> None:
        self._supervisor, self._page = supervisor, page
        # Text for thousands of commands takes a second of one core, which the workers may need.
        self._background = ThreadPoolExecutor(1, thread_name_prefix="resilience metrics", initializer=_yield_to_others)
        self._telemetry = telemetry(
            supervisor.statistics.commands, max_streams=50, executor=self._background,
            collectors=[supervisor.statistics.metrics, WorkerCollector(supervisor)])
        self._api = AdminApi(supervisor)
        self._listeners = 0
        self._refreshing: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/ready":
            await self._ready(send)
        elif path == "/admin" or path.startswith("/admin/"):
            await self._api(scope, receive, send)
        elif path in self._telemetry.paths:
            await self._measured(path, scope, receive, send)
        else:
            await self._page(scope, receive, send)

    async def _measured(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path == "/metrics":
            await self._supervisor.statistics.collect("lifetime")
            own = map(family, self._supervisor.registry.metrics.collect())
            self._supervisor.statistics.metrics.take(PARENT, [*own])
        elif path == "/health":  # a probe waits for a second, as a rule
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._supervisor.statistics.collect("rolling"), _PROBE_S)
        else:
            await self._supervisor.statistics.collect("recent" if path == "/resilience.stream" else "rolling")
        if not path.endswith(".stream"):
            await self._telemetry(scope, receive, send)
            return
        self._listeners += 1
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.ensure_future(self._refresh())
        try:
            await self._telemetry(scope, receive, send)
        finally:
            self._listeners -= 1

    async def _refresh(self) -> None:
        """Keep the statistics up to date for as long as somebody listens."""
        now = asyncio.get_running_loop().time
        while self._listeners:
            began = now()
            await self._supervisor.statistics.collect("rolling")
            took = now() - began
            await asyncio.sleep(max(_TICK_S - took, took * (1 / _SHARE - 1)))

    async def _ready(self, send: Send) -> None:
        supervisor = self._supervisor
        up = sum(worker.serves for worker in supervisor.workers.values())
        why = "stopping" if supervisor.is_stopping else "ready" if up else "no worker serves"
        await respond(send, 200 if supervisor.is_ready else 503,
                      {"status": why, "workers": {"up": up, "wanted": supervisor.number_of_workers}})
