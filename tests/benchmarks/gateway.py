"""Throughput of one core: the gateway beside what a team would deploy instead.

wrk and the upstream share one core, the proxy has the other; 32 keep-alive
connections; short rounds in turn. The best round of each proxy is compared, as
the one least disturbed; the median shows how disturbed the run was.

What the gateway answers by itself, since a circuit is open, is measured in the same
rounds; on a core of its own, the time of such an answer is compared with that of a forwarded one.
In one more round, one of two endpoints is killed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs

from .fastify import NODE, fastify_version
from .processes import NotAvailable, pinned, tool, two_cores
from .proxies import ENVOY, HEALTHY, NGINX, REFUSED, ours, proxying, upstreams, workplace
from .report import Gate, Section, Table

CONNECTIONS = 32
OVER_FASTIFY = 1.6
OVER_ENVOY = 1.0
OVER_NGINX = 0.40
REFUSED_COST = 1 / 3  # of a forwarded request
OTHERS = (NGINX, ENVOY, NODE)
MINE = "ours"
QUIET = 0.85  # median round / best round, below which a run was disturbed

_SUMMARY_LUA = """
done = function(summary, latency, requests)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('\\n{"requests": %d, "us": %d, "bad": %d, "p50_us": %d, "p99_us": %d}\\n',
    summary.requests, summary.duration, bad, latency:percentile(50), latency:percentile(99)))
end
"""


@attrs.frozen(kw_only=True)
class Round:
    """One run of wrk."""

    per_second: float
    bad: int
    p50_ms: float
    p99_ms: float


def run(*, seconds: int, repeat: int) -> Section:
    """Compare the proxies in *repeat* rounds of *seconds* each."""
    client_core, proxy_core = two_cores()
    tool("wrk")
    with ExitStack() as stack:
        return _compare(stack, client_core, proxy_core, seconds, repeat)


def _compare(stack: ExitStack, client_core: int, proxy_core: int, seconds: int, repeat: int) -> Section:
    directory = stack.enter_context(workplace())
    up = stack.enter_context(upstreams(client_core))
    ports: dict[str, int] = {}
    notes: list[str] = []
    for proxy in (*OTHERS, ours(max_concurrent=100)):
        try:
            ports[proxy.name] = stack.enter_context(proxying(proxy, up, proxy_core))
        except NotAvailable as error:
            notes.append(f"{proxy.name}: {error}")
    rounds: dict[str, list[Round]] = {name: [] for name in ports}
    refused: list[Round] = []
    for name, port in ports.items():
        load(port, client_core, seconds=1, directory=directory)  # connections, caches, compilers
    if MINE in ports:
        load(ports[MINE], client_core, seconds=1, directory=directory, path=REFUSED)
    for _ in range(repeat):
        for name, port in ports.items():
            rounds[name].append(load(port, client_core, seconds=seconds, directory=directory))
        if MINE in ports:
            refused.append(load(ports[MINE], client_core, seconds=seconds, directory=directory, path=REFUSED))
    if version := fastify_version() if NODE.name in ports else None:
        notes.append(f"{NODE.name} {version}")
    notes.extend(f"{name}: {bad} bad answers" for name, all_ in rounds.items() if (bad := sum(r.bad for r in all_)))
    notes.extend(_disturbances(rounds))
    gates = _gates(rounds, refused)
    if MINE in ports:
        gates.append(_while_one_is_killed(client_core, proxy_core, max(2, seconds), directory))
    return Section(name="gateway", tables=[_table(rounds, refused)], gates=gates, notes=notes)


def _while_one_is_killed(client_core: int, proxy_core: int, seconds: int, directory: Path) -> Gate:
    """What clients see when one of two endpoints ends in the middle of a round."""
    with upstreams(client_core) as lasting, ExitStack() as doomed:
        ending = doomed.enter_context(upstreams(client_core))
        both = attrs.evolve(lasting, healthy=[lasting.healthy[0], ending.healthy[0]])
        with proxying(ours(max_concurrent=100), both, proxy_core) as port:
            timer = threading.Timer(seconds / 2, doomed.close)
            timer.start()
            found = load(port, client_core, seconds=seconds, directory=directory)
            timer.join()
    return Gate(what="bad answers while one of two endpoints is killed", measured=found.bad, bound=0, unit="")


def load(port: int, core: int, *, seconds: int, directory: Path, path: str = HEALTHY) -> Round:
    """wrk on *core* for *seconds* against one route."""
    script = directory / "summary.lua"
    script.write_text(_SUMMARY_LUA, encoding="utf-8")
    url = f"http://127.0.0.1:{port}{path}"
    command = [tool("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script), url]
    done = subprocess.run(pinned(core, command), capture_output=True, text=True, check=True, timeout=seconds + 30)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Round(
        per_second=found["requests"] / found["us"] * 1e6,
        bad=found["bad"],
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
    )


def _best(rounds: list[Round]) -> float:
    return max(each.per_second for each in rounds)


def _disturbances(rounds: dict[str, list[Round]]) -> Iterator[str]:
    for name, found in rounds.items():
        typical = statistics.median(each.per_second for each in found) / _best(found)
        if typical < QUIET:
            yield f"{name}: the median round has {typical:.0%} of the best one: the machine is busy, run it again"


def _table(rounds: dict[str, list[Round]], refused: list[Round]) -> Table:
    rows = []
    for name, found in (*rounds.items(), *([("ours, refused", refused)] if refused else [])):
        best, median = _best(found), statistics.median(each.per_second for each in found)
        quiet = max(found, key=lambda each: each.per_second)
        ratios = [best / _best(rounds[other.name]) if other.name in rounds else None for other in OTHERS]
        rows.append((name, round(best), round(median), quiet.p50_ms, quiet.p99_ms, *ratios))
    title = f"One core, {CONNECTIONS} keep-alive connections: requests per second, best and median round"
    columns = ("", "best", "median", "p50 ms", "p99 ms", "x nginx", "x envoy", "x fastify")
    return Table(title=title, columns=columns, rows=rows)


def _gates(rounds: dict[str, list[Round]], refused: list[Round]) -> list[Gate]:
    if MINE not in rounds:
        return []
    mine = _best(rounds[MINE])
    bounds = ((NODE.name, OVER_FASTIFY), (ENVOY.name, OVER_ENVOY), (NGINX.name, OVER_NGINX))
    return [
        *(Gate(what=f"gateway / {other}", measured=mine / _best(rounds[other]), bound=bound, at_least=True)
          for other, bound in bounds if other in rounds),
        Gate(what="a refusal / a forwarded request", measured=mine / _best(refused), bound=REFUSED_COST),
    ]
