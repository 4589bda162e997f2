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

import enum
import textwrap
from typing import Final

import attrs

from ..core.outcome import CANCELLED, IGNORED, REJECTED, SUCCESS, Event
from ..metrics.recorder import BATCH


class Flavour(enum.Enum):
    """How a function runs."""

    SYNC = "sync"
    THREAD = "thread"  # sync, isolated on a worker
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    @property
    def is_async(self) -> bool:
        """Whether its wrapper is an ``async def``."""
        return self in (Flavour.ASYNC, Flavour.ASYNC_GENERATOR)

    @property
    def is_generator(self) -> bool:
        """Whether its wrapper yields."""
        return self in (Flavour.GENERATOR, Flavour.ASYNC_GENERATOR)


@attrs.frozen
class Shape:
    """What a wrapper is made of: all that its text depends on."""

    flavour: Flavour
    breaker: bool
    bulkhead: bool  # fixed or adaptive
    deadline: bool
    fallback: bool
    throttle: bool = False
    adaptive: bool = False
    retry: bool = False
    retry_results: bool = False
    cache: bool = False  # the fallback's answers are marked, for the layer above


#: What the text's free names are bound to, in the order of make()'s parameters.
NAMES: Final = ("fn", "clock", "classify", "rescuable", "rescue", "emitted", "EVENT_OF",
                "recorder", "pending", "push", "drain", "success",
                "circuit", "admit", "refusal", "settle", "slots", "TOKEN", "enter", "leave", "lapsed", "submit", "wait",
                "throttle", "shed", "random", "answered", "take", "queue", "report", "begin",
                "again", "unwanted", "nap", "Rescued")

_CALL = {
    Flavour.SYNC: "result = fn(*args, **kwargs)",
    Flavour.THREAD: "result = wait(job)",
    Flavour.ASYNC: "result = await fn(*args, **kwargs)",
    Flavour.GENERATOR: """\
source = fn(*args, **kwargs)
try:
    item = next(source)
    while True:
        items += 1
        paused = clock()
        try:
            sent = yield item
        except GeneratorExit:
            source.close()
            raise
        except BaseException as injected:
            started += clock() - paused
            thrown = injected
            item = source.throw(injected)
            thrown = None
        else:
            started += clock() - paused
            item = next(source) if sent is None else source.send(sent)
except StopIteration as end:
    result = end.value""",
    Flavour.ASYNC_GENERATOR: """\
source = fn(*args, **kwargs)
step = source.__anext__()
try:
    while True:
        watch = enter()
        item = await step
        leave(watch)
        watch = step = thrown = None  # an athrow() keeps the exception
        items += 1
        paused = clock()
        try:
            sent = yield item
        except GeneratorExit:
            await source.aclose()
            raise
        except BaseException as injected:
            started += clock() - paused
            thrown = injected
            step = source.athrow(injected)
        else:
            started += clock() - paused
            step = source.asend(sent)
except StopAsyncIteration:
    pass""",
}

_ASK = """\
permit = circuit.term
if not permit.admits:
    permit = admit(started)"""

_ASK_OR_RAISE = """\
permit = circuit.term
if not permit.admits:
    if started < permit.refuses_until:
        raise refusal(permit, started)
    permit = admit(started)"""

_TAKE = """\
if slots.owed:
    slots.collect()
while True:
    sack = slots.tokens
    if sack:
        try:
            del sack[-1]
            held = sack
            break
        except IndexError:
            continue
    slots.run_out()
free = len(sack)
if free < slots.least_free:
    slots.least_free = free"""

# Count a call that is under way, if its term wants to know (core.cohorts).
_BOARD = """\
cohort = permit.cohort
if cohort is not None:
    cohort += TOKEN
    aboard = cohort"""

_LAND = """\
if aboard is not None:
    del aboard[-1]"""

# Of an adaptive limit, which may let one wait.
_TAKE_IN_TURN = """\
grip = []
try:
    if not take(grip, args, kwargs):
        queue(grip, args, kwargs)
        started = clock()
finally:
    if grip:
        sack = held = grip[0]"""

_THROTTLE = f"""\
event = {int(Event.THROTTLED)}
if throttle.rate:
    shed(started, random())"""

# Of one who got no slot: refused, or interrupted on the way.
_TURNED_AWAY = f"settle(permit, {REJECTED} if isinstance(error, Exception) else {CANCELLED}, started, started)"

# Without a local name that would keep the error, and this frame with it, alive.
_RAISE_LATE = """\
if late is not None:
    try:
        raise late from error
    finally:
        del late"""

# Of a failed turn: None, or how long to pause before the next.
_AGAIN = "pause = again(error, event, turn, pause, begun, started)"

_UNWANTED = """\
pause = unwanted(result, turn, pause, begun, now)
if pause is None:"""

# Deadlines.leave of a watch that has not fired.
_LEAVE = """\
if watch is not None:
    if watch[4]:
        leave(watch)
    else:
        watch[0] = None"""

_RESCUE = {
    Flavour.SYNC: "return rescue(error, args, kwargs)",
    Flavour.THREAD: "return rescue(error, args, kwargs)",
    Flavour.ASYNC: "return await rescue(error, args, kwargs)",
    Flavour.GENERATOR: "return (yield from rescue(error, args, kwargs))",
    Flavour.ASYNC_GENERATOR: """\
source = rescue(error, args, kwargs)
try:
    async for item in source:
        yield item
finally:
    await source.aclose()
return""",
}

# For a cache above, which must not keep it (pipeline.caching); generators have none.
_MARKED = {
    Flavour.SYNC: "return Rescued(rescue(error, args, kwargs), error)",
    Flavour.THREAD: "return Rescued(rescue(error, args, kwargs), error)",
    Flavour.ASYNC: "return Rescued(await rescue(error, args, kwargs), error)",
}


def source(shape: Shape) -> str:
    """The text of ``make(...)``, which returns the wrapper."""
    turn = _turn(shape)
    if shape.retry:
        turn = "\n".join([
            "turn, pause, begun = 1, 0.0, clock()",
            "begin(begun)",
            "while True:",
            _indent(turn),
            f"    {'await ' if shape.flavour.is_async else ''}nap(pause)",
            "    turn += 1",
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
    ask = "" if not shape.breaker else _ASK if ask_inside else _ASK_OR_RAISE
    items = ", items" if flavour.is_generator else ""
    return "\n".join(filter(None, [
        "started = clock()",
        f"event = {int(Event.SHORT_CIRCUITED)}" if shape.breaker and ask_inside else "",
        "items, thrown = 0, None" if flavour.is_generator else "",
        "" if ask_inside else ask,
        "try:",
        _indent(ask) if ask_inside else "",
        _indent(_admission(shape)),
        _indent(_execution(shape)),
        "except BaseException as error:",
        "    emitted(items)" if items else "",
        _indent(_AGAIN) if shape.retry else "",
        _indent(_end_badly(shape, f"rescuable(error, event, started{items})")),
        "else:",
        _indent(_count(shape)),
        "    emitted(items)" if items else "",
        _indent(_UNWANTED) if shape.retry_results else "",
        "" if flavour is Flavour.ASYNC_GENERATOR else "        return result" if shape.retry_results
        else "    return result",
    ]))


def _end_badly(shape: Shape, rescuable: str) -> str:
    texts = _MARKED if shape.cache else _RESCUE
    rescue = texts[shape.flavour] if shape.fallback else "raise AssertionError('rescuable, but no fallback')"
    text = f"if not {rescuable}:\n    raise\n{rescue}"
    return f"if pause is None:\n{_indent(text)}" if shape.retry else text


def _admission(shape: Shape) -> str:
    """Hand the call to the pool."""
    if shape.flavour is not Flavour.THREAD:
        return ""
    submit = f"event = {int(Event.THREAD_POOL_REJECTED)}\njob = submit(fn, args, kwargs, started)"
    if shape.throttle:
        submit = f"{_THROTTLE}\n{submit}"
    if not shape.breaker:
        return submit
    return "\n".join(["try:", _indent(submit), "except BaseException as error:", _indent(_TURNED_AWAY), "    raise"])


def _execution(shape: Shape) -> str:
    """Take a slot, run the function, give the slot back; on a worker, the job does that when the work ends."""
    flavour = shape.flavour
    here = flavour is not Flavour.THREAD
    throttled, held = shape.throttle and here, (shape.bulkhead or shape.throttle) and here
    deadline = shape.deadline and flavour.is_async
    call = _CALL[flavour]
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
        "aboard = None" if shape.breaker else "",
        "watch = None" if deadline else "",
        "try:",
        _indent(_BOARD) if shape.breaker else "",
        _indent(_THROTTLE) if throttled else "",
        _indent(_taking(shape)) if held else "",
        _indent(call),
        "except BaseException as error:",
        _indent(_LAND) if shape.breaker else "",
        _indent(_without_slot(shape)) if held else "",
        "    now = clock()",
        "    late = lapsed(watch, error)" if deadline else "",
        f"    outcome = {outcome}",
        "    thrown = None" if flavour.is_generator else "",
        "    settle(permit, outcome, started, now)" if shape.breaker else "",
        _indent(_reports(shape, "outcome")),
        "    event = EVENT_OF[outcome]",
        _indent(_RAISE_LATE) if deadline else "",
        "    raise",
        "sack += TOKEN" if held else "",
        _LAND if shape.breaker else "",
        "now = clock()",
        _LEAVE if deadline else "",
        _reports(shape, str(SUCCESS)),
    ]))


def _taking(shape: Shape) -> str:
    """Take a slot; with nothing to take one from, hold what stands for none."""
    if not shape.bulkhead:
        return "sack = held = []"
    take = _TAKE_IN_TURN if shape.adaptive else _TAKE
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
        _indent(_TURNED_AWAY) if shape.breaker else "",
        "    raise",
        "held += TOKEN",
    ]))


def _count(shape: Shape) -> str:
    """Weigh and count a success."""
    if shape.breaker:
        healthy = "now < permit.calm_until and took < circuit.slow_s"
        full = f"not permit.bump() % {BATCH}"  # it counts the calls of its term
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
