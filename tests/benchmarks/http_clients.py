"""What a guard in the client costs a request: httpx through our transport beside plain httpx.

A server in a process of its own answers 200 bytes at once, over one connection that is kept alive: the fastest that a
request can be, so the share of the guard is the largest that it can be. The clients take turns, request by request,
so that what disturbs one disturbs the other.
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


def run(*, rounds: int) -> Section:
    """Time requests of each client, in *rounds* of so many pairs."""
    try:
        import_module("httpx")
    except ImportError:
        return Section(name="http_clients", notes=["httpx is not installed"])
    with _serving() as url:
        found = _measure(rounds, url)
    rows, gates = [], []
    for name, (plain, guarded) in found.items():
        before, after = (_quiet(times[len(times) // 10:]) for times in (plain, guarded))
        rows += [(name, round(before * 1e6)), (f"{name}, guarded", round(after * 1e6))]
        gates.append(Gate(what=f"throughput of {name}, guarded", measured=before / after, bound=BOUND, aim=AIM,
                          at_least=True))
    return Section(name="http_clients", gates=gates, tables=[
        Table(title="One request on loopback, lower quartile", columns=("client", "us"), rows=rows)])


def _quiet(times: list[float]) -> float:
    """The lower quartile: what a request takes when nothing disturbs it, but for the luck of single ones."""
    return statistics.quantiles(times, n=4)[0]
