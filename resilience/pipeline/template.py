"""The text of the flat wrapper, for every flavour of function, from one template.

Four nested closures cost 1.7 us a call, one flat function 1.0; and text is the
single source for five flavours that differ in an ``await`` here and a ``yield``
there. attrs makes ``__init__`` the same way.

What the text says, from the outside in: ask the breaker, take a slot (or hand
the call to the pool), run the function under its deadline, give everything back
in reverse, then count. Each permit is given back exactly once, in the ``except``
that belongs to it; the clock is read twice whatever the chain's length. Numbers
in the text are Outcomes and Events. Taking a slot and giving it back are written
out because no signal handler's exception may fall between the two statements of
each (core.bulkhead).

With a retry all of this stands in a loop, and ``again`` says after a failed turn
how long to pause before the next.

What every healthy call does is written out instead of called: the circuit that
admits (Circuit.acquire), the good and fast result (Circuit.settle), the pending
duration (Recorder). Each saved call is 50 to 70 ns of about 450. Without a
fallback the breaker is asked outside the ``try``, so that a refusal is raised
once and passes by.

A generator holds its permits until it is exhausted, closed or fails. The time
its consumer takes is not its own: ``started`` is moved on by it. An exception
that the consumer threw in, and that comes out again, is not its failure.
"""

from __future__ import annotations

import textwrap
from typing import Final

from ..core.outcome import IGNORED, SUCCESS, Event
from ..metrics.recorder import BATCH
from .phrases import (
    AGAIN,
    ASK,
    ASK_OR_RAISE,
    BOARD,
    CALL,
    DEPOSIT,
    IN_TIME,
    LAND,
    LAND_LAST,
    LEAVE,
    PACE,
    RAISE_LATE,
    RESCUE,
    TAKE,
    TAKE_IN_TURN,
    THROTTLE,
    TURNED_AWAY,
    UNWANTED,
)
from .shape import Flavour, Shape

#: What the text's free names are bound to, in the order of make()'s parameters.
NAMES: Final = ("fn", "clock", "classify", "rescuable", "rescue", "emitted", "EVENT_OF",
                "recorder", "pending", "push", "drain", "success",
                "circuit", "admit", "refusal", "settle", "slots", "enter", "leave", "lapsed", "submit", "wait",
                "throttle", "shed", "random", "rate", "pace", "reserve", "linger", "answered", "take", "queue",
                "report", "retries", "again", "unwanted", "nap", "belated")


def source(shape: Shape) -> str:
    """The text of ``make(...)``, which returns the wrapper."""
    turn = _turn(shape)
    if shape.retry:
        turn = "\n".join([
            "turn, pause = 1, 0.0",
            "begun = started = clock()",
            DEPOSIT,
            "while True:",
            _indent(turn),
            f"    {'await ' if shape.flavour.is_async else ''}nap(pause)",
            "    turn += 1",
            "    started = clock()",
        ])
    return "\n".join([
        f"def make({', '.join(NAMES)}):",
        f"    {'async ' if shape.flavour.is_async else ''}def guarded(*args, **kwargs):",
        textwrap.indent(turn, " " * 8),
        "    return guarded",
        "",
    ])


def _turn(shape: Shape) -> str:
    """One attempt."""
    flavour = shape.flavour
    ask_inside = shape.fallback or shape.retry
    ask = "" if not shape.breaker else ASK if ask_inside else ASK_OR_RAISE
    items = ", items" if flavour.is_generator else ""
    return "\n".join(filter(None, [
        "" if shape.retry else "started = clock()",
        f"event = {int(Event.SHORT_CIRCUITED if shape.breaker and ask_inside else Event.CANCELLED)}",
        "items, thrown = 0, None" if flavour.is_generator else "",
        "" if ask_inside else IN_TIME,
        "" if ask_inside else ask,
        "try:",
        _indent(IN_TIME) if ask_inside else "",
        _indent(ask) if ask_inside else "",
        _indent(_admission(shape)),
        _indent(_execution(shape)),
        "except BaseException as error:",
        "    emitted(items)" if items else "",
        _indent(AGAIN) if shape.retry else "",
        _indent(_end_badly(shape, f"rescuable(error, event, started{items})")),
        "else:",
        _indent(_count(shape)),
        "    emitted(items)" if items else "",
        _indent(UNWANTED) if shape.retry_results else "",
        "" if flavour is Flavour.ASYNC_GENERATOR else "        return result" if shape.retry_results
        else "    pause = None\n    return result" if shape.retry else "    return result",
    ]))


def _end_badly(shape: Shape, rescuable: str) -> str:
    rescue = RESCUE[shape.flavour] if shape.fallback else "raise AssertionError('rescuable, but no fallback')"
    text = f"if not {rescuable}:\n    raise\n{rescue}"
    return f"if pause is None:\n{_indent(text)}" if shape.retry else text


def _admission(shape: Shape) -> str:
    """Hand the call to the pool."""
    if shape.flavour is not Flavour.THREAD:
        return ""
    submit = f"event = {int(Event.THREAD_POOL_REJECTED)}\njob = submit(fn, args, kwargs, started)"
    if shape.rate:
        submit = f"{PACE}\n{submit}"
    if shape.throttle:
        submit = f"{THROTTLE}\n{submit}"
    if not shape.breaker:
        return submit
    return "\n".join(["try:", _indent(submit), "except BaseException as error:", _indent(TURNED_AWAY), "    raise"])


def _execution(shape: Shape) -> str:
    """Take a slot, run the function, give the slot back; on a worker, the job does that when the work ends."""
    flavour = shape.flavour
    here = flavour is not Flavour.THREAD
    throttled, paced = shape.throttle and here, shape.rate and here
    held = (shape.bulkhead or shape.throttle or shape.rate) and here
    deadline = shape.deadline and flavour.is_async
    call = CALL[flavour]
    if flavour is Flavour.ASYNC_GENERATOR and not deadline:
        call = "\n".join(line.replace("watch = step", "step") for line in call.splitlines()
                         if "(watch)" not in line and "watch = enter" not in line)
    if flavour is Flavour.ASYNC and deadline:
        call = f"watch = enter()\n{call}"
    outcome = f"{IGNORED} if error is thrown else classify(error)" if flavour.is_generator else "classify(error)"
    if deadline:
        outcome = outcome.replace("classify(error)", "classify(late or error)")
    return "\n".join(filter(None, [
        "held = None" if held else "",
        "watch = None" if deadline else "",
        "try:",
        _indent(BOARD) if shape.breaker else "",
        _indent(THROTTLE) if throttled else "",
        _indent(PACE.replace("linger(", "await linger(") if flavour.is_async else PACE) if paced else "",
        _indent(_taking(shape)) if held else "",
        _indent(call),
        "except BaseException as error:",
        _indent(LAND) if shape.breaker else "",
        _indent(_without_slot(shape)) if held else "",
        "    now = clock()",
        "    late = lapsed(watch, error)" if deadline else "",
        f"    outcome = {outcome}",
        "    thrown = None" if flavour.is_generator else "",
        "    settle(permit, outcome, started, now)" if shape.breaker else "",
        _indent(_reports(shape, "outcome")),
        "    event = EVENT_OF[outcome]",
        _indent(RAISE_LATE) if deadline else "",
        "    raise",
        (LAND if held else LAND_LAST) if shape.breaker else "",
        "sack.append(None)" if held else "",
        "now = clock()",
        LEAVE if deadline else "",
        _reports(shape, str(SUCCESS)),
    ]))


def _taking(shape: Shape) -> str:
    """Take a slot; with nothing to take one from, hold what stands for none."""
    if not shape.bulkhead:
        return "sack = held = []"
    take = TAKE_IN_TURN if shape.adaptive else TAKE
    if shape.flavour.is_async:
        take = take.replace("queue(", "await queue(")
    return f"event = {int(Event.SEMAPHORE_REJECTED)}\n{take}"


def _reports(shape: Shape, outcome: str) -> str:
    """Tell those who learn from how calls end; the slot is back already."""
    return "\n".join(filter(None, [
        f"answered(None, {outcome}, started, now)" if shape.throttle else "",
        f"report({outcome}, started, now)" if shape.adaptive else "",
    ]))


def _without_slot(shape: Shape) -> str:
    """Leave if no slot was taken; else give it back, before anything that a signal could interrupt."""
    return "\n".join(filter(None, [
        "if held is None:",
        _indent(TURNED_AWAY) if shape.breaker else "",
        "    raise",
        "held.append(None)",
    ]))


def _count(shape: Shape) -> str:
    """Weigh and count a success."""
    if shape.breaker:
        healthy = "now < permit.calm_until and took < circuit.slow_s"
        full = f"not permit.bump() & {BATCH - 1}"  # it counts the calls of its term
        slow_way = f"settle(permit, {SUCCESS}, started, now)\nsuccess(started, now)"
    else:
        healthy, full, slow_way = "now < recorder.edge", f"len(pending) >= {BATCH}", "success(started, now)"
    return f"""\
took = now - started
if {healthy}:
    push(took)
    if {full}:
        drain()
else:
{_indent(slow_way)}"""


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")
