"""Rate limits that eight gateways share in one redis-server: what a request pays more than under a limit of one gateway.

Eight gateways in one event loop, each with a connection and a limit of its own, and callers that all have the same key:
the time that passes between asking and knowing. Shared and unshared rounds go in turn, at a steady pace or as fast as it
goes, below the limit, at it and beyond it. The pace leaves the processor idle in between, so that what is added is the
machine's and the server's, and no queue's.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from time import perf_counter, process_time
from typing import Any

from resilience import RateLimitedError, Registry
from resilience.gateway.limits.request_limit import RequestLimit, policy_of
from resilience.gateway.limits.shared_limit import SharedLimit
from resilience.gateway.server import new_loop
from resilience.shared.connection import CONNECT_S, Connection
from resilience.shared.redis_client import StoreAddress

from .processes import NotAvailable, free_ports
from .report import Gate, Section, Table

GATEWAYS = 8
ADDED_US = 50.0
OVER = 1.05
RATE = 1000
LOADS = (0.5, 1.0, 1.5, 5.0)
ROUND_S = 2.0


def run(*, seconds: int, repeat: int) -> Section:
    """Compare both kinds of limits at each load."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotAvailable("redis-server is not installed")
    with ExitStack() as stack:
        (port,) = free_ports(1)
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        server = subprocess.Popen(
            [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", directory],
            stdout=subprocess.DEVNULL)
        stack.callback(server.wait)
        stack.callback(server.kill)
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_compare(f"redis://127.0.0.1:{port}", ROUND_S * seconds, max(1, repeat // 4)))


async def _compare(url: str, round_s: float, rounds: int) -> Section:
    connections, address = [], StoreAddress(url=url)
    for number in range(GATEWAYS):
        connections.append(Connection(
            lambda: address.client(name="bench", connect_s=CONNECT_S), place=url, name=str(number), prefix="bench:",
            timeout_s=0.5, registry=Registry()))
        await connections[-1].known()
    lines, gates = [], []
    for load in LOADS:
        added, cpu, questions, over = [], [], [], []
        for each in range(rounds):
            alone = [RequestLimit(policy_of(RATE, 1.0), name="l", max_waiting=1, clock=connections[0]._clock)]
            shared = [SharedLimit(policy_of(RATE, 1.0), name=f"{load} {each}", max_waiting=1, store=connection,
                                  when_unavailable="share", clock=connection._clock) for connection in connections]
            base = await _round(alone, load, round_s)
            before = sum(connection.round_trips for connection in connections)
            found = await _round(shared, load, round_s)
            asked = sum(connection.round_trips for connection in connections) - before
            added.append((found[0] - base[0]) * 1e6)
            cpu.append((found[1] - base[1]) * 1e6)
            questions.append(asked / found[2])
            over.append(found[3] / (RATE * (1 + found[4])))
        lines.append([f"{load:g} times the limit", min(added), min(cpu), min(questions), max(over)])
        gates += [Gate(what=f"time added per request, at {load:g} times the limit", measured=min(added), bound=ADDED_US,
                       unit=" us"),
                  Gate(what=f"admitted, of what the limit admits, at {load:g} times it", measured=max(over), bound=OVER)]
    for connection in connections:
        connection.close()
        await connection.closed()
    return Section(name="shared_limits", gates=gates, tables=[Table(
        title=f"{GATEWAYS} gateways, one caller, {RATE} a second",
        columns=["load", "added us", "CPU us", "questions/request", "admitted/limit"], rows=lines)])


async def _round(limits: list[Any], load: float, round_s: float) -> tuple[float, float, int, int, float]:
    """Mean seconds to know, CPU seconds of a request, requests, how many were admitted, and seconds."""
    took, admitted, number = 0.0, 0, round(RATE * load * round_s)
    tasks: set[asyncio.Task[Any]] = set()

    async def ask(limit: Any) -> None:
        nonlocal took, admitted
        began = perf_counter()
        try:
            booking = limit.book("one", 1.0)
            await limit.wait(booking)
            limit.left(booking)
            admitted += 1
        except RateLimitedError:
            pass
        took += perf_counter() - began

    cpu, start = process_time(), perf_counter()
    for each in range(number):
        due = start + each / (RATE * load)
        await asyncio.sleep(max(0.0, due - perf_counter()))
        task = asyncio.ensure_future(ask(limits[each % len(limits)]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.sleep(0.001)
    return took / number, (process_time() - cpu) / number, number, admitted, perf_counter() - start
