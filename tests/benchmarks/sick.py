"""The sick neighbour: what a service that falls sick takes from the route beside it.

One request in ten goes to a neighbour of the healthy service. It is well at first, and then hangs, answers late
(after 3 s, beyond every proxy's time limit, or after 0.9 s, within it), resets its connections, or fails at once.
Ours has no setting but endpoints and routes; the others have what their users would set against this (proxies.py).

What "kept" means depends on the client. In a closed loop a connection that hangs asks for nothing else, and what
the client then does not ask for looks like throughput that the proxy lost. So both routes have clients of their own:

- At half load, both are open loops. A healthy request is kept if it is answered with 200 within 100 ms of when it
  was due; the share of all that are asked is given. The rate is the same for all proxies: half of what ours, the
  slowest, can do. This measures isolation: what is lost here was lost to slots, queues or a loop that stood still.
- At full load, the healthy route's clients ask as fast as they are answered, on connections of their own, and the
  neighbour's clients ask at the same rate as before. Proxies have one core, so this measures what the neighbour's
  requests cost, refused or not. A well neighbour takes about a twentieth of the core by being asked, and a hanging
  one cannot be known to hang before its first second is over: so the yardstick is "well", and not "alone".

Both begin with the sickness, so the first second is within every figure. 99th percentiles and throughput at full
load are compared with those of the same proxy for the healthy route alone, in the same round.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from .clients import Answer, OpenLoop
from .gateway import QUIET, Round, load
from .processes import NotAvailable, here_on, tool, two_cores
from .proxies import ENVOY, HAPROXY, HEALTHY, NGINX, Proxy, Upstreams, ours, proxying, upstreams, versions, workplace
from .report import Gate, Section, Table
from .sick_upstream import KINDS

WELL = "well"
AT_FULL_LOAD = (WELL, "hanging", "resetting", "erroring")  # slow ones cost what hanging ones cost, or well ones
MINE = "ours"
IN_TIME_S = 0.1
FIRST_S = 1.0
WARM_S = 0.2
SHARE = 1 / 9  # of the neighbour's requests, to each of the healthy route's
KEPT = 98.0
P99 = 1.2
BUSY = "the machine is busy, run it again"
COLUMNS = ("neighbour", "proxy", "kept %", "after 1st s", "p99 ms", "alone", "x", "full load: kept %", "p99 x",
           "neighbour's callers get")


@attrs.frozen(kw_only=True)
class HalfLoad:
    """The healthy route at a given rate, and what the neighbour's callers got."""

    kept: float
    kept_later: float
    p99: float
    neighbours: Sequence[Answer]


@attrs.define
class Found:
    """All rounds of one proxy beside one kind of neighbour; what stands first in a pair is without neighbour."""

    half: list[tuple[HalfLoad, HalfLoad]] = attrs.field(factory=list)
    full: list[tuple[Round, Round]] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class _Bench:
    up: Upstreams
    directory: Path
    client_core: int
    proxy_core: int
    seconds: int


def run(*, seconds: int, repeat: int) -> Section:
    """Compare the proxies in a third of the rounds of other sections; each round takes two minutes.

    Args:
        seconds: Half of the time for which a neighbour is sick, which is at least 2 s.
        repeat: Three times the rounds.
    """
    client_core, proxy_core = two_cores()
    tool("wrk")
    with here_on(client_core), workplace() as directory, upstreams(client_core, neighbours=KINDS) as up:
        bench = _Bench(up=up, directory=directory, client_core=client_core, proxy_core=proxy_core,
                       seconds=2 * seconds)
        return _compare(bench, -(-repeat // 3))


def _compare(bench: _Bench, rounds: int) -> Section:
    notes = [versions()]
    with proxying(ours(), bench.up, bench.proxy_core) as port:
        most = max(_wrk(bench, port).per_second for _ in range(2))
    rate = round(most / 2, -2)
    found: dict[tuple[str, str], Found] = {}
    for _ in range(rounds):
        for proxy in (NGINX, HAPROXY, ENVOY, ours()):
            try:
                for kind, pair in _at_half_load(proxy, bench, rate):
                    found.setdefault((kind, proxy.name), Found()).half.append(pair)
                for kind, both in _at_full_load(proxy, bench, rate):
                    found.setdefault((kind, proxy.name), Found()).full.append(both)
            except NotAvailable as error:
                notes.append(f"{proxy.name}: {error}")
    notes.extend(_disturbances(found))
    rows = [_row(kind, name, each) for (kind, name), each in sorted(found.items(), key=_place)]
    title = (f"The healthy route beside a neighbour that falls sick: {rate:,.0f} requests/s at half load, "
             f"{rate * SHARE:,.0f}/s to the neighbour; medians of {rounds}")
    mine = {kind: each for (kind, name), each in found.items() if name == MINE and kind != WELL}
    return Section(name="sick", tables=[Table(title=title, columns=COLUMNS, rows=rows)],
                   gates=_gates(mine, found.get((WELL, MINE))), notes=list(dict.fromkeys(notes)))


def _at_half_load(proxy: Proxy, bench: _Bench, rate: float) -> Iterator[tuple[str, tuple[HalfLoad, HalfLoad]]]:
    with proxying(proxy, bench.up, bench.proxy_core) as port:
        with OpenLoop(port, {HEALTHY: rate}) as client:
            client.run(2 * WARM_S)
            alone = _half_load(client.run(bench.seconds)[HEALTHY], [])
        for kind in KINDS:
            path = f"/{kind}/item"
            with OpenLoop(port, {HEALTHY: rate, path: rate * SHARE}) as client:
                client.run(WARM_S)
                bench.up.become(kind, "sick")
                answers = client.run(bench.seconds)
            bench.up.become(kind, "well")
            yield kind, (alone, _half_load(answers[HEALTHY], answers[path]))


def _at_full_load(proxy: Proxy, bench: _Bench, rate: float) -> Iterator[tuple[str, tuple[Round, Round]]]:
    with proxying(proxy, bench.up, bench.proxy_core) as port, ThreadPoolExecutor(1) as thread:
        load(port, bench.client_core, seconds=1, directory=bench.directory)
        alone = _wrk(bench, port)
        for kind in AT_FULL_LOAD:
            sick = "sluggish" if kind == WELL else kind
            with OpenLoop(port, {f"/{sick}/item": rate * SHARE}) as client:
                client.run(WARM_S)
                if kind != WELL:
                    bench.up.become(kind, "sick")
                beside = thread.submit(_wrk, bench, port)
                client.run(bench.seconds)
                yield kind, (alone, beside.result())
            bench.up.become(sick, "well")


def _wrk(bench: _Bench, port: int) -> Round:
    return load(port, bench.client_core, seconds=bench.seconds, directory=bench.directory)


def _half_load(healthy: Sequence[Answer], neighbours: Sequence[Answer]) -> HalfLoad:
    took = sorted(answer.took for answer in healthy)
    later = [answer for answer in healthy if answer.due >= FIRST_S]
    return HalfLoad(kept=_in_time(healthy), kept_later=_in_time(later), p99=took[int(len(took) * 0.99)] * 1e3,
                    neighbours=neighbours)


def _in_time(answers: Sequence[Answer]) -> float:
    return sum(answer.status == 200 and answer.took <= IN_TIME_S for answer in answers) / len(answers)


def _disturbances(found: Mapping[tuple[str, str], Found]) -> Iterator[str]:
    for (kind, name), each in found.items():
        if kind == WELL:
            rates = [alone.per_second for alone, _ in each.full]
            if statistics.median(rates) < QUIET * max(rates):
                yield f"{name} alone had {min(rates):,.0f} to {max(rates):,.0f}/s: {BUSY}"
        elif kind == KINDS[0] and (least := min(alone.kept for alone, _ in each.half)) < KEPT / 100:
            yield f"{name} alone answered {least:.1%} in time at half load: {BUSY}"


def _place(item: tuple[tuple[str, str], Found]) -> tuple[int, int]:
    kind, proxy = item[0]
    return (WELL, *KINDS).index(kind), (MINE, NGINX.name, HAPROXY.name, ENVOY.name).index(proxy)


def _row(kind: str, proxy: str, found: Found) -> Sequence[str | float | None]:
    full = (_full_kept(found), _full_p99(found)) if found.full else (None, None)
    if not found.half:
        return (kind, proxy, *(None,) * 5, *full, None)
    alone, beside = ([pair[at] for pair in found.half] for at in (0, 1))
    later = statistics.median(each.kept_later for each in beside)
    p99 = [statistics.median(each.p99 for each in side) for side in (beside, alone)]
    callers = [answer for each in beside for answer in each.neighbours]
    return (kind, proxy, _half_kept(found), 100 * later, *p99, _half_p99(found), *full, _got(callers))


def _half_kept(found: Found) -> float:
    return 100 * statistics.median(beside.kept for _, beside in found.half)


def _half_p99(found: Found) -> float:
    return statistics.median(beside.p99 / alone.p99 for alone, beside in found.half)


def _full_kept(found: Found) -> float:
    return 100 * statistics.median(beside.per_second / alone.per_second for alone, beside in found.full)


def _full_p99(found: Found) -> float:
    return statistics.median(beside.p99_ms / alone.p99_ms for alone, beside in found.full)


def _got(answers: Sequence[Answer]) -> str:
    """What the neighbour's callers got, those aside who were still waiting at the end, and how many of them soon."""
    answered = [answer for answer in answers if answer.status is not None]
    if not answered:
        return "nothing yet"
    statuses = Counter(answer.status for answer in answered).most_common()
    shares = [f"{status or 'closed'} {n / len(answered):.0%}" for status, n in statuses]
    soon = sum(answer.took <= IN_TIME_S for answer in answered) / len(answered)
    return f"{', '.join(shares)}; {soon:.0%} within {IN_TIME_S * 1e3:.0f} ms"


def _gates(mine: Mapping[str, Found], well: Found | None) -> list[Gate]:
    """The worst of all kinds of sickness."""
    if not mine:
        return []
    found = list(mine.values())
    gates = [
        Gate(what="healthy answers kept at half load", measured=min(map(_half_kept, found)), bound=KEPT, unit="%",
             at_least=True),
        Gate(what="healthy p99 at half load, beside / alone", measured=max(map(_half_p99, found)), bound=P99),
    ]
    full = [_full_kept(each) for each in found if each.full]
    if full and well is not None:
        measured = 100 * min(full) / _full_kept(well)
        gates.append(Gate(what="healthy throughput at full load, beside a sick / a well one", measured=measured,
                          bound=KEPT, unit="%", at_least=True))
    return gates
