"""What a guard in the client costs a request: httpx through our transport beside plain httpx.

A server in a process of its own answers 200 bytes at once, over one connection that is kept alive: the fastest that a
request can be, so the share of the guard is the largest that it can be. The clients take turns, request by request,
so that what disturbs one disturbs the other.

Asynchronous clients are there to have many requests under way, so their throughput is measured at that too: so many
callers share a client, each with its next request as soon as it has an answer, and the clients take turns block by
block.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from time import perf_counter
from typing import Any

from .report import Gate, Section, Table

BOUND, AIM = 0.9, 0.97
PAIRS = 50  # of requests in one round
AT_ONCE = (10, 100)  # the default of max_concurrent, and the connections that httpx has by default
BLOCK = 200  # requests
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200


class _Answers(asyncio.Protocol):
    """Answers each request head, which comes in one piece."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(_ANSWER * data.count(b"\r\n\r\n"))


def _serve(ports: Any) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_Answers, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(serve())


@contextmanager
def _serving() -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    ports = context.Queue()
    process = context.Process(target=_serve, args=(ports,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ports.get(timeout=60)}/"
    finally:
        process.kill()
        process.join()


def _measure(rounds: int, url: str) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds that each request took, plain and guarded, in turn."""
    httpx, ours = import_module("httpx"), import_module("resilience.integrations.httpx")
    from resilience import Registry

    def pair(client: Any, transport: Any) -> tuple[Any, Any]:
        return client(trust_env=False), client(trust_env=False, transport=transport(registry=Registry()))

    async def measure() -> tuple[list[float], list[float]]:
        took: tuple[list[float], list[float]] = ([], [])
        clients = pair(httpx.AsyncClient, ours.AsyncResilienceTransport)
        for _ in range(rounds * PAIRS):
            for client, times in zip(clients, took, strict=True):
                begun = perf_counter()
                await client.get(url)
                times.append(perf_counter() - begun)
        for client in clients:
            await client.aclose()
        return took

    took: tuple[list[float], list[float]] = ([], [])
    clients = pair(httpx.Client, ours.ResilienceTransport)
    for _ in range(rounds * PAIRS):
        for client, times in zip(clients, took, strict=True):
            begun = perf_counter()
            client.get(url)
            times.append(perf_counter() - begun)
    for client in clients:
        client.close()
    return {"httpx": took, "httpx async": asyncio.run(measure())}


def _measure_many(rounds: int, url: str) -> dict[int, tuple[list[float], list[float]]]:
    """Seconds that each block of requests took, by how many are under way; plain and guarded, in turn."""
    httpx, ours = import_module("httpx"), import_module("resilience.integrations.httpx")
    from resilience import Registry

    async def block(client: Any, callers: int) -> float:
        requests = iter(range(BLOCK))

        async def caller() -> None:
            for _ in requests:
                await client.get(url)

        begun = perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return perf_counter() - begun

    async def measure(callers: int) -> tuple[list[float], list[float]]:
        took: tuple[list[float], list[float]] = ([], [])
        guard = ours.AsyncResilienceTransport(registry=Registry(), max_concurrent=callers, timeout=60.0)
        clients = (httpx.AsyncClient(trust_env=False, timeout=60.0),
                   httpx.AsyncClient(trust_env=False, timeout=60.0, transport=guard))
        for _ in range(max(4, rounds // 2)):
            for client, times in zip(clients, took, strict=True):
                times.append(await block(client, callers))
        for client in clients:
            await client.aclose()
        return took

    return {callers: asyncio.run(measure(callers)) for callers in AT_ONCE}


def run(*, rounds: int) -> Section:
    """Time requests of each client, in *rounds* of so many pairs."""
    try:
        import_module("httpx")
    except ImportError:
        return Section(name="http_clients", notes=["httpx is not installed"])
    with _serving() as url:
        found, many = _measure(rounds, url), _measure_many(rounds, url)
    rows, gates = [], []
    for name, (plain, guarded) in found.items():
        before, after = (_quiet(times[len(times) // 10:]) for times in (plain, guarded))
        rows += [(name, round(before * 1e6)), (f"{name}, guarded", round(after * 1e6))]
        gates.append(Gate(what=f"throughput of {name}, guarded", measured=before / after, bound=BOUND, aim=AIM,
                          at_least=True))
    blocks = []
    for callers, (plain, guarded) in many.items():
        before, after = (_quiet(times[1:]) for times in (plain, guarded))
        blocks.append((f"httpx async, {callers} at once", round(BLOCK / before), round(BLOCK / after)))
        gates.append(Gate(what=f"throughput of httpx async, guarded, {callers} requests at once",
                          measured=before / after, bound=BOUND, aim=AIM, at_least=True))
    return Section(name="http_clients", gates=gates, tables=[
        Table(title="One request on loopback, lower quartile", columns=("client", "us"), rows=rows),
        Table(title="Requests a second, upper quartile of blocks", columns=("client", "plain", "guarded"), rows=blocks)])


def _quiet(times: list[float]) -> float:
    """The lower quartile: what a request takes when nothing disturbs it, but for the luck of single ones."""
    return statistics.quantiles(times, n=4)[0]
