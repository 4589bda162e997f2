"""Three service registries that replicate, with 10,000 instances: CPU of each process, and how soon a change is at all.

A third of the instances registers at each, and all renew every 30 s. Each registry has 1,000 clients, which ask for the
delta every 30 s. Meanwhile instances come and go, one at a time, at one registry; a change has arrived when the other
two list it. Full lists are asked for as well, each twice in a row: the second comes from what the first has made, unless
something has changed in between. At the end one registry is killed and started again.
``python -m tests.benchmarks registries``; all processes share one core, the clients have the other.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from .processes import free_ports, here_on, pinned, two_cores
from .report import Gate, Section, Table
from .usage import Usage

INSTANCES = 10_000
RENEW_S = 30.0
MEASURED_S = 40.0
CONVERGED_S = 1.0
POLLERS = 1000  # at each registry
POLL_S = 30.0
FULL_LISTS_S = 2.0
FULL_LIST_MS = 50.0


def run(*, seconds: int, repeat: int) -> Section:
    """Measure one after the other."""
    client_core, core = two_cores()
    with tempfile.TemporaryDirectory() as folder, here_on(client_core):
        return asyncio.run(_Run(Path(folder), core).whole())


class _Connection:
    """A kept connection to one registry."""

    def __init__(self, port: int) -> None:
        self._port, self._lock = port, asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body."""
        async with self._lock:
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: r\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n"
                         f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = head.partition("content-length: ")[2].partition("\r\n")[0]
            return int(head[9:12]), await reader.readexactly(int(length or 0))


    async def read(self, path: str) -> Any:
        """The JSON there."""
        _, body = await self.ask("GET", path)
        return json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)


@attrs.define
class _Run:
    """Three registries, and what is done with them.

    Attributes:
        deltas: How long each delta took, seconds.
        first_lists: The same for full lists after which nothing had to be made for the next.
        full_lists: The same for that next one.
    """

    folder: Path
    core: int
    ports: Sequence[int] = ()
    processes: list[subprocess.Popen[bytes]] = attrs.field(factory=list)
    deltas: list[float] = attrs.field(factory=list)
    first_lists: list[float] = attrs.field(factory=list)
    full_lists: list[float] = attrs.field(factory=list)

    async def whole(self) -> Section:
        """All of it."""
        self.ports = free_ports(3)
        (self.folder / "token").write_text("benchmark-token-0123456789")
        for number in range(3):
            self.start(number)
        try:
            return await self._measured()
        finally:
            for each in self.processes:
                each.kill()
                each.wait()

    def start(self, number: int) -> None:
        """Start one, in the place of the one that was there."""
        token, file = f'"file:{self.folder}/token"', self.folder / f"{number}.toml"
        others = "".join(f'[[peers]]\nurl = "http://127.0.0.1:{port}/eureka"\ntoken = {token}\n'
                         for port in self.ports if port != self.ports[number])
        file.write_text(f'[listener]\nbind = "127.0.0.1:{self.ports[number]}"\n[registry]\nstart_wait = 2\n'
                        f"max_instances_per_address = 20000\n[tokens]\npeers = {{ all = {token} }}\n{others}")
        process = subprocess.Popen(pinned(self.core, [sys.executable, "-m", "resilience", "registry", str(file)]),
                                   stdout=subprocess.DEVNULL)
        self.processes[number:number + 1] = [process]

    async def _measured(self) -> Section:
        clients = [[_Connection(port) for _ in range(5)] for port in self.ports]
        await self._until(clients, lambda told: told["complete"])
        for number in range(INSTANCES):
            await self._register(clients, f"i{number}", number % 3)
        filled = time.perf_counter()
        await self._until(clients, lambda told: told["instances"] == INSTANCES)
        filled = time.perf_counter() - filled
        others = [asyncio.ensure_future(each(clients)) for each in (self._renew, self._poll, self._fetch)]
        await asyncio.sleep(RENEW_S / 3)
        for times in (self.deltas, self.first_lists, self.full_lists):
            times.clear()
        usages = [Usage(each.pid) for each in self.processes]
        before, began = [each.cpu_s() for each in usages], time.perf_counter()
        took = await self._changes(clients, began + MEASURED_S)
        passed = time.perf_counter() - began
        used = [100 * (each.cpu_s() - old) / passed for each, old in zip(usages, before, strict=True)]
        times = [sorted(each) for each in (self.deltas, self.first_lists, self.full_lists)]
        restarted = await self._restart(clients)
        for each in others:
            each.cancel()
        return _section(used, took, filled, restarted, *times)

    async def _until(self, clients: Sequence[Sequence[_Connection]], holds: object) -> None:
        for each in clients:
            while True:
                try:
                    if holds(await each[0].read("/registry")):  # type: ignore[operator]
                        break
                except OSError:
                    pass
                await asyncio.sleep(0.05)

    async def _register(self, clients: Sequence[Sequence[_Connection]], identity: str, number: int) -> None:
        said = {"instanceId": identity, "app": f"app{hash(identity) % 100}", "hostName": "h.internal", "ipAddr": "10.0.0.1",
                "vipAddress": "app", "metadata": {"zone": "a", "version": "1.2.3"}, "dataCenterInfo": {"name": "MyOwn"},
                "homePageUrl": "http://h.internal:8080/", "healthCheckUrl": "http://h.internal:8080/health",
                "lastDirtyTimestamp": str(time.time_ns() // 1_000_000)}
        status, _ = await clients[number][0].ask(
            "POST", f"/eureka/apps/{said['app']}", json.dumps({"instance": said}).encode())
        assert status == 204, status

    async def _renew(self, clients: Sequence[Sequence[_Connection]]) -> None:
        due, number = time.perf_counter(), 0
        while True:
            identity = f"i{number % INSTANCES}"
            path = f"/eureka/apps/APP{hash(identity) % 100}/{identity}"
            await clients[number % INSTANCES % 3][1].ask("PUT", path)
            number += 1
            due += RENEW_S / INSTANCES
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _poll(self, clients: Sequence[Sequence[_Connection]]) -> None:
        """Ask for deltas, as the clients of all registries do."""
        due, number = time.perf_counter(), 0
        while True:
            began = time.perf_counter()
            await clients[number % 3][3].ask("GET", "/eureka/apps/delta")
            self.deltas.append(time.perf_counter() - began)
            number += 1
            due += POLL_S / POLLERS / 3
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    async def _fetch(self, clients: Sequence[Sequence[_Connection]]) -> None:
        """Ask for full lists now and then, at one registry after the other."""
        number = 0
        while True:
            for times in (self.first_lists, self.full_lists):
                began = time.perf_counter()
                await clients[number % 3][4].ask("GET", "/eureka/apps")
                times.append(time.perf_counter() - began)
            number += 1
            await asyncio.sleep(FULL_LISTS_S)

    async def _changes(self, clients: Sequence[Sequence[_Connection]], end: float) -> list[float]:
        """Seconds until each change was at all registries."""
        took, number = list[float](), 0
        while time.perf_counter() < end:
            identity = f"new{number}"
            path = f"/eureka/apps/APP{hash(identity) % 100}/{identity}"
            for comes in (True, False):
                began = time.perf_counter()
                if comes:
                    await self._register(clients, identity, number % 3)
                else:
                    await clients[number % 3][0].ask("DELETE", path)
                for each in clients:
                    while ((await each[2].ask("GET", path))[0] == 200) != comes:
                        await asyncio.sleep(0.005)
                took.append(time.perf_counter() - began)
                await asyncio.sleep(random.random() / 4)
            number += 1
        return took

    async def _restart(self, clients: Sequence[Sequence[_Connection]]) -> float:
        """Seconds from the start of one that was killed until it has everything."""
        self.processes[2].kill()
        self.processes[2].wait()
        self.start(2)
        fresh, began = [_Connection(self.ports[2])], time.perf_counter()
        await self._until([fresh], lambda told: told["complete"] and told["instances"] >= INSTANCES)
        return time.perf_counter() - began


def _section(used: list[float], took: list[float], filled: float, restarted: float, deltas: Sequence[float],
             first_lists: Sequence[float], full_lists: Sequence[float]) -> Section:
    took.sort()
    rows = [(f"CPU of registry {number}", each, "% of a core") for number, each in enumerate(used, 1)]
    rows += [("a change is at all, median", took[len(took) // 2], "s"), ("a change is at all, worst", took[-1], "s"),
             ("changes measured", float(len(took)), ""), ("all are the same after the last of 10,000 registered", filled, "s"),
             ("one that was killed has all again, its start included", restarted, "s")]
    rows += [(f"{name}, {share}", 1000 * times[min(len(times) - 1, int(len(times) * at))], "ms")
             for name, times in (("delta", deltas), ("full list, perhaps after a change", first_lists),
                                 ("full list, again", full_lists))
             for share, at in (("median", 0.5), ("p99", 0.99))]
    rows += [("deltas measured", float(len(deltas)), ""), ("full lists measured", float(2 * len(full_lists)), "")]
    title = (f"three registries on one core, {INSTANCES:,} instances that renew every {RENEW_S:g} s, "
             f"{POLLERS:,} clients at each that ask for the delta every {POLL_S:g} s")
    return Section(name="registries", tables=[Table(title=title, columns=("what", "measured", "unit"), rows=rows)], gates=[
        Gate(what="a change is at all registries", measured=took[-1], bound=CONVERGED_S, unit="s"),
        Gate(what="a full list from cache, p99", measured=1000 * full_lists[int(len(full_lists) * 0.99)],
             bound=FULL_LIST_MS, unit="ms")])
