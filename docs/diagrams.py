"""The drawings of the documentation, as SVG that stands inside the page.

The breaker's state diagram is drawn from ``resilience.core.breaker.TRANSITIONS``;
only where its six states stand is said here. Transitions with the same ends
share an arrow. A trigger that leads to one state from *every* state is an
operator's word: it is one arrow, from "any state". Each arrow lists what it
stands for in ``data-transitions``, which a test compares with the table.

The same input gives the same bytes. Colours are in _static/diagrams.css.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Final

import fleet
import sequences
import sick_neighbours

from resilience.core.circuit import TRANSITIONS
from resilience.core.events import State, Trigger

Transition = tuple[State, Trigger, State]
Point = tuple[float, float]

WIDTH: Final = 860
HEIGHT: Final = 480
_BOX: Final = (148, 46)

#: Where the middle of each state's box is.
PLACES: Final[Mapping[State, Point]] = {
    State.FORCED_OPEN: (190, 70),
    State.FORCED_CLOSED: (190, 240),
    State.DISABLED: (190, 410),
    State.CLOSED: (450, 240),
    State.OPEN: (720, 90),
    State.HALF_OPEN: (720, 390),
}

_LOOKS: Final[Mapping[State, tuple[str, str]]] = {
    State.CLOSED: ("admits", "admits, weighs results"),
    State.OPEN: ("refuses", "refuses"),
    State.HALF_OPEN: ("probes", "admits probes only"),
    State.FORCED_OPEN: ("refuses forced", "refuses"),
    State.FORCED_CLOSED: ("admits forced", "admits, never opens"),
    State.DISABLED: ("forced", "admits, weighs nothing"),
}


def draw_all(folder: Path) -> None:
    """Write every drawing into *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {"breaker-states": state_diagram(TRANSITIONS), "sick-neighbours": sick_neighbours.drawing(),
                **fleet.drawings(), **sequences.drawings()}
    for name, svg in drawings.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")


def state_diagram(table: Mapping[tuple[State, Trigger], State]) -> str:
    """The automaton *table* as SVG."""
    single, from_any = _sorted_out(table)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
             f'aria-label="States of the circuit breaker">']
    for (old, new), transitions in single.items():
        parts += _loop(old, transitions) if old is new else _arrow(old, new, transitions, back=(new, old) in single)
    for new, transitions in from_any.items():
        parts += _stub(new, transitions)
    for state in State:
        parts += _box(state)
    return "\n".join([*parts, "</svg>", ""])


def _sorted_out(table: Mapping[tuple[State, Trigger], State]) -> tuple[
        dict[tuple[State, State], list[Transition]], dict[State, list[Transition]]]:
    """The transitions by their two ends, and by the target for those that every state has."""
    single: dict[tuple[State, State], list[Transition]] = defaultdict(list)
    from_any: dict[State, list[Transition]] = defaultdict(list)
    for (old, trigger), new in table.items():
        everywhere = all(table.get((state, trigger)) is new for state in State)
        (from_any[new] if everywhere else single[old, new]).append((old, trigger, new))
    return single, from_any


def _box(state: State) -> list[str]:
    (x, y), (width, height), (look, does) = PLACES[state], _BOX, _LOOKS[state]
    return [
        f'<rect class="box {look}" x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width}" height="{height}" '
        'rx="9"/>',
        f'<text class="name" x="{x:g}" y="{y - 2:g}" text-anchor="middle">{state.value.replace("_", "-")}</text>',
        f'<text class="small" x="{x:g}" y="{y + 14:g}" text-anchor="middle">{does}</text>',
    ]


def _arrow(old: State, new: State, transitions: Iterable[Transition], *, back: bool) -> list[str]:
    """From one box to another; bent to its right if another arrow comes *back*."""
    (x1, y1), (x2, y2) = PLACES[old], PLACES[new]
    length = math.hypot(x2 - x1, y2 - y1)
    right = (-(y2 - y1) / length, (x2 - x1) / length)
    shift = 34 if back else 0
    start = _edge(old, (x2 + right[0] * shift, y2 + right[1] * shift), right, shift / 1.6)
    end = _edge(new, (x1 + right[0] * shift, y1 + right[1] * shift), right, shift / 1.6)
    middle = ((start[0] + end[0]) / 2 + right[0] * shift / 2, (start[1] + end[1]) / 2 + right[1] * shift / 2)
    path = f"M{start[0]:.1f} {start[1]:.1f} Q{middle[0]:.1f} {middle[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    return _edge_with_label(path, middle, end, transitions, tip_from=middle)


def _edge(state: State, towards: Point, right: Point, shift: float) -> Point:
    """Where the line from a box's middle, moved sideways, to *towards* leaves the box."""
    x, y = PLACES[state][0] + right[0] * shift, PLACES[state][1] + right[1] * shift
    dx, dy = towards[0] - x, towards[1] - y
    half_width, half_height = _BOX[0] / 2 + 3, _BOX[1] / 2 + 3
    centre_x, centre_y = PLACES[state]
    ways = []
    if dx:
        ways.append((centre_x + math.copysign(half_width, dx) - x) / dx)
    if dy:
        ways.append((centre_y + math.copysign(half_height, dy) - y) / dy)
    step = min(way for way in ways if way > 0)
    return x + dx * step, y + dy * step


def _loop(state: State, transitions: Iterable[Transition]) -> list[str]:
    x, y = PLACES[state]
    top = y + _BOX[1] / 2 + 3
    path = f"M{x - 26:g} {top:g} C{x - 40:g} {top + 48:g} {x + 40:g} {top + 48:g} {x + 26:g} {top:g}"
    return _edge_with_label(path, (x, top + 40), (x + 26, top), transitions, tip_from=(x + 34, top + 28))


def _stub(new: State, transitions: Iterable[Transition]) -> list[str]:
    """An arrow from "any state": into the left of a box, or down into one that has neighbours there."""
    x, y = PLACES[new]
    if x < WIDTH / 4:
        end = (x - _BOX[0] / 2 - 3, y)
        start = (8.0, y)
        label = ((start[0] + end[0]) / 2 - 2, y - 20)
    else:
        end = (x, y - _BOX[1] / 2 - 3)
        start = (x, end[1] - 96)
        label = (x, start[1] - 14)
    path = f"M{start[0]:g} {start[1]:g} L{end[0]:g} {end[1]:g}"
    return _edge_with_label(path, label, end, transitions, tip_from=start, origin="any state")


def _edge_with_label(path: str, at: Point, end: Point, transitions: Iterable[Transition], *, tip_from: Point,
                     origin: str = "") -> list[str]:
    transitions = list(transitions)
    told = " ".join(f"{old.value}:{trigger.value}:{new.value}" for old, trigger, new in transitions)
    lines = [origin] if origin else []
    lines += list(dict.fromkeys(trigger.value for _, trigger, _ in transitions))
    texts = [
        f'<text class="label{" small" if line == origin else ""}" x="{at[0]:.1f}" '
        f'y="{at[1] + 4 + 15 * (i - (len(lines) - 1) / 2):.1f}" text-anchor="middle">{escape(line)}</text>'
        for i, line in enumerate(lines)
    ]
    return [f'<g data-transitions="{told}">', f'<path class="arrow" d="{path}"/>', tip(tip_from, end), *texts, "</g>"]


def tip(start: Point, end: Point) -> str:
    """The head of an arrow that comes from *start* and ends at *end*."""
    return sequences.tip(start, end)
