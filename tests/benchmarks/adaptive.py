"""An overloaded server behind each limit, in virtual time: what comes of three times the load it can take.

Goodput is the share of the server's capacity that ends as answers within the
deadline; see simulation.py for the world. The capacity halves and doubles, by
workers and by speed; in a noisy world one answer in twenty is late, and for a
second in ten half of the answers come at once. The plot shows limit and goodput
over the time of the changing capacity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from resilience.core.adaptive import AdaptiveLimit, AdaptiveLimiter
from resilience.core.throttle import Throttle, Throttler

from .report import Cell, Gate, Section, Table
from .simulation import Adaptive, Change, Fixed, NoLimit, Policy, Run, Throttled, World, fluke, stragglers

CALL_S: Final = 0.05
START: Final = Change(at=0.0, workers=20, service_s=CALL_S)
GRACE_S: Final = 10.0  # after a change, before goodput must be back
BOUND: Final = 0.9

STEADY: Final = World(changes=[START], seconds=60.0)
WORKERS: Final = World(
    changes=[START, *(Change(at=at, workers=n, service_s=CALL_S) for at, n in ((20.0, 10), (40.0, 20), (60.0, 40)))],
    seconds=80.0,
)
SPEED: Final = World(
    changes=[START, *(Change(at=at, workers=20, service_s=s) for at, s in ((20.0, 0.1), (40.0, 0.05), (60.0, 0.025)))],
    seconds=80.0,
)
NOISY: Final = World(changes=[START], seconds=60.0, noise=stragglers)
FLUKE: Final = World(changes=[START], seconds=60.0, noise=fluke)


def limiter(**options: Any) -> Adaptive:
    """A new adaptive limit."""
    return Adaptive(AdaptiveLimiter(AdaptiveLimit(**options), key="server", now=0.0))


POLICIES: Final[Mapping[str, Callable[[], Policy]]] = {
    "no limit": NoLimit,
    "bulkhead 20": partial(Fixed, 20),
    "bulkhead 200": partial(Fixed, 200),
    "throttle": lambda: Throttled(Throttler(Throttle(window=10.0), key="server", now=0.0)),
    "aimd": partial(limiter, algorithm="aimd"),
    "vegas": partial(limiter, algorithm="vegas"),
    "gradient": limiter,
    "gradient, queue of 20": partial(limiter, max_queue=20),
}
COLOURS: Final = {"no limit": "#999", "bulkhead 200": "#b58900", "aimd": "#d33682", "vegas": "#2aa198",
                  "gradient": "#268bd2"}


def run(*, plot: Path = Path("build/adaptive.svg"), **_: object) -> Section:
    """Simulate each policy in each world; takes about half a minute.

    Args:
        plot: Where the SVG goes.
    """
    rows: list[Sequence[Cell]] = []
    changing: dict[str, Run] = {}
    gates: list[Gate] = []
    for name, make in POLICIES.items():
        runs = [Run(world, make()).go() for world in (STEADY, WORKERS, SPEED, NOISY, FLUKE)]
        steady, workers, speed, noisy, lucky = runs
        changing[name] = workers
        after = [*after_changes(workers), *after_changes(speed)]
        back = max(run.recovery(change.at) for run in (workers, speed) for change in run.world.changes[1:])
        whole = [run.goodput(GRACE_S, run.world.seconds) for run in (steady, noisy, lucky)]
        rows.append((name, whole[0], min(after), back, whole[1], whole[2]))
        if name == "gradient":
            gates += [
                Gate(what="goodput at 3 times the load", measured=whole[0], bound=BOUND, at_least=True),
                Gate(what="the same from 10 s after a change of capacity", measured=min(after), bound=BOUND,
                     at_least=True),
                Gate(what="back at 0.9 after a change of capacity", measured=back, bound=GRACE_S, unit="s"),
                Gate(what="goodput with late answers", measured=whole[1], bound=BOUND, at_least=True),
                Gate(what="goodput with moments of answers from elsewhere", measured=whole[2], bound=BOUND,
                     at_least=True),
            ]
    plot.parent.mkdir(parents=True, exist_ok=True)
    plot.write_text(draw({name: changing[name] for name in COLOURS}), encoding="utf-8")
    columns = ("share of the capacity", "steady", "10 s after", "back in s", "5 % late", "fluke")
    return Section(
        name="adaptive",
        tables=[Table(title="Goodput of a server with 3 times the load it can take", columns=columns, rows=rows)],
        gates=gates,
        notes=["10 s after: the worst of six halvings and doublings, from 10 s after it on; back: the longest until "
               f"0.9 for 2 s; the plot is {plot}"],
    )


def after_changes(run: Run) -> list[float]:
    """Goodput of each stretch of constant capacity, but for its first ten seconds."""
    starts = [change.at for change in run.world.changes]
    return [run.goodput(start + GRACE_S, end)
            for start, end in zip(starts, [*starts[1:], run.world.seconds], strict=True)]


def draw(runs: Mapping[str, Run]) -> str:
    """An SVG of limit and goodput over time."""
    first = next(iter(runs.values()))
    seconds, slice_s = first.world.seconds, first.slice_s
    most = max(run.world.at(i * slice_s).capacity for run in runs.values() for i in range(len(run.slices)))
    body = [_panel("limit, calls at once", 30, 240.0), _panel("goodput, answers in time per second", 260, 1.1 * most)]
    for number, (name, run) in enumerate(runs.items()):
        colour = COLOURS[name]
        levels = [count.level for count in run.slices]
        body.append(_line(levels, seconds, slice_s, 30, 240.0, colour))
        body.append(_line(_smooth([count.good / slice_s for count in run.slices]), seconds, slice_s, 260, 1.1 * most,
                          colour))
        body.append(f'<text x="{60 + 130 * number}" y="490" fill="{colour}">{name}</text>')
    able = [run.world.at(i * slice_s).capacity for run in [first] for i in range(len(first.slices))]
    body.append(_line(able, seconds, slice_s, 260, 1.1 * most, "#000", dash="4 3"))
    body.append('<text x="710" y="490">capacity (dashed)</text>')
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 500" font-family="sans-serif" font-size="12">'
            '<rect width="860" height="500" fill="#fff"/>' + "".join(body) + "</svg>\n")


def _panel(title: str, top: int, highest: float) -> str:
    return (f'<rect x="60" y="{top}" width="780" height="190" fill="none" stroke="#ccc"/>'
            f'<text x="60" y="{top - 8}">{title}</text><text x="52" y="{top + 10}" text-anchor="end">{highest:.0f}</text>'
            f'<text x="52" y="{top + 190}" text-anchor="end">0</text>')


def _line(values: Sequence[float], seconds: float, slice_s: float, top: int, highest: float, colour: str,
          dash: str = "none") -> str:
    points = " ".join(f"{60 + 780 * (i + 0.5) * slice_s / seconds:.1f},{top + 190 - 190 * min(value, highest) / highest:.1f}"
                      for i, value in enumerate(values) if value == value)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dash}"/>'


def _smooth(values: Sequence[float]) -> list[float]:
    return [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i - 1):i + 2])]
