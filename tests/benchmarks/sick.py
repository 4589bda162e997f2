"""The sick neighbour: what a route that never answers takes away from one that does.

32 closed-loop connections. First all of them ask the healthy route; then one
request in ten goes to a route whose upstream accepts and never answers. Kept is
the healthy route's throughput in the mix, as a part of its throughput alone.
Ours runs with its defaults; nginx gets the read timeout that its users would set.

The mix is measured on a proxy that was started afresh, so that its circuits are
closed when the sickness begins, and in two parts: with the first second, and from
then on.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

import attrs

from .clients import Answer, ClosedLoop
from .processes import NotAvailable, here_on, two_cores
from .proxies import HEALTHY, NGINX, SICK, SICK_READ_TIMEOUT_S, Proxy, Upstreams, ours, proxying, upstreams
from .report import Gate, Section, Table

CONNECTIONS = 32
MIX = (*(HEALTHY,) * 9, SICK)
FIRST_S = 1.0
KEPT, KEPT_AIM = 0.80, 0.98
P99, P99_AIM = 1.5, 1.2


@attrs.frozen(kw_only=True)
class Outcome:
    """One round with one proxy: per second and seconds, the healthy route's alone and in the mix."""

    alone: float
    mixed: float
    mixed_from_start: float
    total: float
    p99_alone: float
    p99_mixed: float
    p99_from_start: float
    bad: int
    sick_statuses: dict[int, int]


def run(*, seconds: int, repeat: int) -> Section:
    """Measure each proxy, alone and mixed, in rounds of at least 5 s: breakers need a while to see enough.

    Args:
        seconds: A fifth of a round, if that is longer.
        repeat: Rounds, but at least 5: a noisy machine gives one round's ratio a spread of 20 %.
    """
    try:
        client_core, proxy_core = two_cores()
        return _compare(client_core, proxy_core, max(5.0, 5.0 * seconds), max(5, repeat))
    except NotAvailable as error:
        return Section(name="sick", notes=[str(error)])


def _compare(client_core: int, proxy_core: int, seconds: float, repeat: int) -> Section:
    notes = [
        f"rounds of {seconds:g} s; ours has no setting but endpoints and routes, "
        f"nginx a read timeout of {SICK_READ_TIMEOUT_S} s on the sick route",
    ]
    outcomes: dict[str, list[Outcome]] = {}
    with here_on(client_core), upstreams(client_core) as up:
        for _ in range(repeat):
            for proxy in (NGINX, ours()):
                try:
                    outcomes.setdefault(proxy.name, []).append(_round(proxy, up, proxy_core, seconds))
                except NotAvailable as error:
                    notes.append(f"{proxy.name}: {error}")
    found = {name: rounds for name, rounds in outcomes.items() if rounds}
    rows = [_row(name, rounds) for name, rounds in found.items()]
    for name, rounds in found.items():
        last = rounds[-1]
        notes.append(f"{name}: sick route's answers by status {last.sick_statuses}, healthy but not 200: {last.bad}")
    columns = ("", "alone/s", "mixed/s", "kept", "1st s too", "p99 ms alone", "mixed", "1st s too", "sum/s")
    title = f"{CONNECTIONS} connections, one request in {len(MIX)} to the sick route: the healthy route, medians"
    gates = _gates(found["ours"]) if "ours" in found else []
    table = Table(title=title, columns=columns, rows=rows)
    return Section(name="sick", tables=[table], gates=gates, notes=list(dict.fromkeys(notes)))


def _round(proxy: Proxy, up: Upstreams, core: int, seconds: float) -> Outcome:
    with proxying(proxy, up, core) as port:
        ClosedLoop(port, connections=CONNECTIONS, routes=[HEALTHY]).run(1.0)
        alone = ClosedLoop(port, connections=CONNECTIONS, routes=[HEALTHY]).run(seconds)[HEALTHY]
        mixed = ClosedLoop(port, connections=CONNECTIONS, routes=MIX).run(seconds)
    healthy, later = mixed[HEALTHY], [answer for answer in mixed[HEALTHY] if answer.at >= FIRST_S]
    return Outcome(
        alone=_good(alone) / seconds,
        mixed=_good(later) / (seconds - FIRST_S),
        mixed_from_start=_good(healthy) / seconds,
        total=sum(len(answers) for answers in mixed.values()) / seconds,
        p99_alone=_p99(alone),
        p99_mixed=_p99(later),
        p99_from_start=_p99(healthy),
        bad=len(alone) + len(healthy) - _good(alone) - _good(healthy),
        sick_statuses=dict(Counter(answer.status for answer in mixed[SICK])),
    )


def _good(answers: Sequence[Answer]) -> int:
    return sum(answer.status == 200 for answer in answers)


def _p99(answers: Sequence[Answer]) -> float:
    took = sorted(answer.took for answer in answers)
    return took[int(len(took) * 0.99)] if took else float("inf")


def _median(rounds: Sequence[Outcome], field: str) -> float:
    return float(statistics.median(getattr(each, field) for each in rounds))


def _row(name: str, rounds: Sequence[Outcome]) -> tuple[str | float | int, ...]:
    rates = [round(_median(rounds, field)) for field in ("alone", "mixed")]
    kept = [f"{_kept(rounds, field):.1%}" for field in ("mixed", "mixed_from_start")]
    p99 = [_median(rounds, field) * 1e3 for field in ("p99_alone", "p99_mixed", "p99_from_start")]
    return (name, *rates, *kept, *p99, round(_median(rounds, "total")))


def _kept(rounds: Sequence[Outcome], field: str) -> float:
    return float(statistics.median(getattr(each, field) / each.alone for each in rounds))


def _gates(rounds: Sequence[Outcome]) -> list[Gate]:
    p99 = statistics.median(each.p99_mixed / each.p99_alone for each in rounds)
    kept = 100 * _kept(rounds, "mixed")
    least, aim = 100 * KEPT, 100 * KEPT_AIM
    return [
        Gate(what="healthy throughput kept", measured=kept, bound=least, unit="%", at_least=True, aim=aim),
        Gate(what="healthy p99, mixed / alone", measured=p99, bound=P99, aim=P99_AIM),
    ]
