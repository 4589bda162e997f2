"""Latency that a proxy adds at half load: half of what it can do at most, whatever else becomes of the requests.

The most is what wrk finds. Half of that rate is then asked by an open loop, of the proxy and of the upstream itself in
turn; latency counts from when a request was due, and the client's own share is in both. The difference is the proxy's.
Of a proxy that is faster than the client, no more is asked than the client can ask without being late itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .clients import OpenLoop
from .gateway import load
from .processes import NotAvailable, here_on, tool, two_cores
from .proxies import ENVOY, HAPROXY, HEALTHY, NGINX, Upstreams, ours, proxying, upstreams, versions, workplace
from .report import Gate, Section, Table

MINE = "ours"
ADDED_P99_MS = 1.0
WARM_S = 0.3
MOST = 5_000.0  # a second; the client takes 15 us for a request, and shares its core with the upstream
_Tail = tuple[float, float]


def run(*, seconds: int, repeat: int) -> Section:
    """Ask each proxy and its upstream in turn, in *repeat* rounds of *seconds*."""
    client_core, proxy_core = two_cores()
    tool("wrk")
    with here_on(client_core), upstreams(client_core) as up, ExitStack() as stack:
        ports: dict[str, int] = {}
        notes = [versions()]
        for proxy in (ours(max_concurrent=100), NGINX, HAPROXY, ENVOY):
            try:
                ports[proxy.name] = stack.enter_context(proxying(proxy, up, proxy_core))
            except NotAvailable as error:
                notes.append(f"{proxy.name}: {error}")
        directory = stack.enter_context(workplace())
        rates = {name: min(MOST, _most(port, client_core, directory) / 2) for name, port in ports.items()}
        return _section(rates, _measured(ports, rates, up, seconds, repeat), notes)


def _most(port: int, core: int, directory: Path) -> float:
    return max(load(port, core, seconds=1, directory=directory).per_second for _ in range(3))


def _measured(ports: dict[str, int], rates: dict[str, float], up: Upstreams, seconds: int,
              repeat: int) -> dict[str, list[tuple[_Tail, _Tail]]]:
    found: dict[str, list[tuple[_Tail, _Tail]]] = {name: [] for name in ports}
    for _ in range(repeat):
        for name, port in ports.items():
            found[name].append((_asked(up.healthy[0], rates[name], seconds), _asked(port, rates[name], seconds)))
    return found


def _asked(port: int, rate: float, seconds: int) -> _Tail:
    """Median and 99th percentile, milliseconds."""
    with OpenLoop(port, {HEALTHY: rate}) as client:
        client.run(WARM_S)
        took = sorted(answer.took if answer.status == 200 else float("inf") for answer in client.run(seconds)[HEALTHY])
    return took[len(took) // 2] * 1e3, took[int(len(took) * 0.99)] * 1e3


def _section(rates: dict[str, float], found: dict[str, list[tuple[_Tail, _Tail]]], notes: Sequence[str]) -> Section:
    rows, added = [], {}
    for name, rounds in found.items():
        added[name] = statistics.median(proxied[1] - direct[1] for direct, proxied in rounds)
        tails = [statistics.median(pair[way][at] for pair in rounds) for at in (0, 1) for way in (1, 0)]
        rows.append((name, round(rates[name]), *tails, added[name]))
    columns = ("", "asked/s", "p50 ms", "direct", "p99 ms", "direct", "added p99 ms")
    table = Table(title="Half of each proxy's most, open loop: medians of all rounds", columns=columns, rows=rows)
    gates = [Gate(what="p99 added at half load", measured=each, bound=ADDED_P99_MS, unit="ms")
             for name, each in added.items() if name == MINE]
    return Section(name="half_load", tables=[table], gates=gates, notes=notes)
