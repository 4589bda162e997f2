"""Sequence diagrams: who says what to whom, from top to bottom.

A drawing is a row of participants and a list of steps. A step is a call, a
reply (dashed), a refusal (red), or a note beside a participant.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

_COLUMN: Final = 200
_ROW: Final = 34
_TOP: Final = 64


class Step(NamedTuple):
    """One arrow, or, without ``to``, one note."""

    text: str
    by: str
    to: str | None = None
    kind: str = "call"


def call(by: str, to: str, text: str) -> Step:
    """Somebody asks."""
    return Step(text, by, to)


def reply(by: str, to: str, text: str) -> Step:
    """Somebody answers."""
    return Step(text, by, to, "reply")


def refuse(by: str, to: str, text: str) -> Step:
    """Somebody is turned away, or given up."""
    return Step(text, by, to, "refused")


def note(by: str, text: str) -> Step:
    """What is true from here on."""
    return Step(text, by)


def tip(start: tuple[float, float], end: tuple[float, float]) -> str:
    """The head of an arrow that comes from *start* and ends at *end*."""
    angle = math.atan2(end[1] - start[1], end[0] - start[0])
    back = [angle + math.pi - 0.42, angle + math.pi + 0.42]
    corners = [end, *((end[0] + 9 * math.cos(way), end[1] + 9 * math.sin(way)) for way in back)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f'<polygon class="tip" points="{points}"/>'


def draw(title: str, participants: Sequence[str], steps: Sequence[Step]) -> str:
    """The whole diagram as SVG."""
    width, height = _COLUMN * len(participants), _TOP + _ROW * len(steps) + 14
    at = {name: _COLUMN * (i + 0.5) for i, name in enumerate(participants)}
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {width} {height}" role="img" '
             f'aria-label="{escape(title)}" style="max-width: {width}px">']
    for name, x in at.items():
        parts += [
            f'<line class="lifeline" x1="{x:g}" y1="36" x2="{x:g}" y2="{height}"/>',
            f'<rect class="box" x="{x - 70:g}" y="6" width="140" height="30" rx="7"/>',
            f'<text class="name" x="{x:g}" y="26" text-anchor="middle">{escape(name)}</text>',
        ]
    for i, step in enumerate(steps):
        parts += _step(step, at, _TOP + _ROW * i)
    return "\n".join([*parts, "</svg>", ""])


def _step(step: Step, at: dict[str, float], y: float) -> list[str]:
    x = at[step.by]
    if step.to is None:
        half = 4 + 3.6 * len(step.text)
        x = min(max(x, half + 2), _COLUMN * len(at) - half - 2)
        return [
            f'<rect class="note" x="{x - half:g}" y="{y - 9:g}" width="{2 * half:g}" height="24" rx="4"/>',
            f'<text class="small" x="{x:g}" y="{y + 7:g}" text-anchor="middle">{escape(step.text)}</text>',
        ]
    end = at[step.to]
    way = math.copysign(2, end - x)
    return [
        f'<path class="arrow {step.kind}" d="M{x + way:g} {y + 6:g} L{end - way:g} {y + 6:g}"/>',
        tip((x, y + 6), (end - way, y + 6)),
        f'<text class="label small" x="{(x + end) / 2:g}" y="{y:g}" text-anchor="middle">{escape(step.text)}</text>',
    ]


def drawings() -> dict[str, str]:
    """Every sequence diagram, by the name of its file."""
    return {
        "breaker-sequence": draw("A circuit opens and closes again", ("caller", "breaker", "target"), _BREAKER),
        "bulkhead-sequence": draw("A full bulkhead", ("call A", "call B", "bulkhead (1)", "target"), _BULKHEAD),
        "timeout-async": draw("Timeout of a coroutine", ("caller", "deadline", "coroutine"), _TIMEOUT_ASYNC),
        "timeout-thread": draw("Timeout of a plain function", ("caller", "pool", "worker thread"), _TIMEOUT_THREAD),
        "fallback-sequence": draw("A fallback answers", ("caller", "wrapper", "function", "fallback"), _FALLBACK),
    }


_BREAKER: Final = (
    call("caller", "breaker", "call"), call("breaker", "target", "run"), reply("target", "breaker", "error"),
    reply("breaker", "caller", "the target's own error"),
    note("breaker", "failure_rate reached: open"),
    call("caller", "breaker", "call"), refuse("breaker", "caller", "CircuitOpenError"),
    note("breaker", "open_for has passed"),
    call("caller", "breaker", "call"), note("breaker", "half-open: this call is the probe"),
    call("breaker", "target", "run"), reply("target", "breaker", "result"),
    note("breaker", "probes passed: closed"), reply("breaker", "caller", "result"),
)
_BULKHEAD: Final = (
    call("call A", "bulkhead (1)", "take the slot"), call("bulkhead (1)", "target", "run A"),
    call("call B", "bulkhead (1)", "no slot left"), refuse("bulkhead (1)", "call B", "BulkheadFullError"),
    reply("target", "bulkhead (1)", "result of A"), note("bulkhead (1)", "the slot is free again"),
    reply("bulkhead (1)", "call A", "result"),
)
_TIMEOUT_ASYNC: Final = (
    call("caller", "deadline", "await"), call("deadline", "coroutine", "run"),
    note("deadline", "timeout seconds have passed"), refuse("deadline", "coroutine", "cancel"),
    reply("coroutine", "deadline", "CancelledError, after cleanup"),
    refuse("deadline", "caller", "CallTimeoutError"),
)
_TIMEOUT_THREAD: Final = (
    call("caller", "pool", "submit"), call("pool", "worker thread", "run"),
    note("caller", "timeout seconds have passed"), refuse("pool", "caller", "CallTimeoutError"),
    note("worker thread", "abandoned: runs on, holds its slot"),
    reply("worker thread", "pool", "ends: slot and thread are free"),
)
_FALLBACK: Final = (
    call("caller", "wrapper", "call(sku)"), call("wrapper", "function", "call(sku)"),
    reply("function", "wrapper", "error"), note("wrapper", "counted: failure"),
    call("wrapper", "fallback", "call(sku, error=error)"), reply("fallback", "wrapper", "answer"),
    note("wrapper", "counted: fallback_success"), reply("wrapper", "caller", "answer"),
)
