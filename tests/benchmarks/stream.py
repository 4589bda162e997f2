"""One tick of the metrics stream: CPU time per command to look at it, encode it and hand it to the server.

Measured at the ASGI application, as a server would drive it: its ``send`` takes
the messages, and between two ticks every command makes a call, so that nothing
can be answered from the tick before. CPU time of the thread, not wall time: the
stream sleeps between its ticks.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import attrs

from .report import Cell, Gate, Section, Table

if TYPE_CHECKING:
    from .fleet import Fleet

BOUND_US = 40.0
TICKS = 6
PATIENCE_S = 60.0
#: Path of each stream, and what occurs in it exactly once per command.
STREAMS = (("/resilience.stream", b'ResilienceCommand"'), ("/hystrix.stream", b'HystrixCommand"'))


def run(*, commands: int) -> Section:
    """Fill *commands* commands and stream them over each endpoint."""
    try:
        telemetry = import_module("resilience.asgi").telemetry
        fleet: Fleet = import_module(".fleet", __package__).Fleet(commands)
    except ImportError as error:
        return Section(name="stream", notes=[f"not measured: {error}"])
    fleet.fill()
    rows: list[list[Cell]] = [["snapshot alone", *_snapshots(fleet)]]
    gates = []
    for path, mark in STREAMS:
        best, median, size = asyncio.run(_Listener(telemetry(fleet.registry), fleet, path, mark).ticks())
        rows.append([path, best, median, size])
        gates.append(Gate(what=f"{path}: one command in one tick", measured=best, bound=BOUND_US, unit="us"))
    title = f"CPU time per command and tick, {commands:,} commands with changed data, least and median of {TICKS} ticks"
    table = Table(title=title, columns=("", "us", "(median)", "bytes"), rows=rows)
    return Section(name="stream", tables=[table], gates=gates)


def _snapshots(fleet: Fleet) -> tuple[float, float, None]:
    found = []
    for _ in range(TICKS):
        fleet.step()
        start = time.thread_time()
        for handle in fleet.handles:
            handle.snapshot()
        found.append((time.thread_time() - start) / len(fleet.calls) * 1e6)
    return min(found), statistics.median(found), None


@attrs.define
class _Listener:
    """A client of one stream that reads as fast as it is written."""

    app: Callable[..., Any]
    fleet: Fleet
    path: str
    mark: bytes
    seen: int = 0
    bytes_seen: int = 0
    began: float = 0.0
    spent: list[float] = attrs.field(factory=list)
    over: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def ticks(self) -> tuple[float, float, int]:
        """Least and median microseconds per command, and bytes per command and tick."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
        }
        request = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in request:
                return message
            await self.over.wait()
            return {"type": "http.disconnect"}

        task = asyncio.ensure_future(self.app(scope, receive, self._send))
        over = asyncio.ensure_future(self.over.wait())
        await asyncio.wait((task, over), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        task.cancel()
        await asyncio.gather(task, over, return_exceptions=True)
        if len(self.spent) < TICKS:
            raise RuntimeError(f"{self.path} gave {self.seen} messages in {PATIENCE_S:g} s")
        found = [seconds / len(self.fleet.calls) * 1e6 for seconds in self.spent[1:]]
        return min(found), statistics.median(found), self.bytes_seen // self.seen

    async def _send(self, message: dict[str, Any]) -> None:
        body = message.get("body", b"")
        self.seen += body.count(self.mark)
        self.bytes_seen += len(body)
        if self.seen >= len(self.fleet.calls) * (len(self.spent) + 1):
            self.spent.append(time.thread_time() - self.began)
            if len(self.spent) > TICKS:  # the first one also starts the stream
                self.over.set()
            self.fleet.step()
            self.began = time.thread_time()
