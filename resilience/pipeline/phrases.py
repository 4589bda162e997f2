"""Phrases: the pieces of text that template.py makes wrappers of.

Some write out what a machine's method does, because a call costs 50 to 70 ns: each
says which. Where a phrase takes or gives back something, no call stands between
the deed and its note (core.bulkhead).
"""

from __future__ import annotations

from typing import Final

from ..core.outcome import CANCELLED, REJECTED, Event
from .shape import Flavour

# Without keyword arguments an empty dict would be merged into another one: 25 ns.
FN: Final = "fn(*args, **kwargs) if kwargs else fn(*args)"

CALL: Final = {
    Flavour.SYNC: f"result = {FN}",
    Flavour.THREAD: "result = wait(job)",
    Flavour.ASYNC: f"result = await ({FN})",
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

# Of one whose caller's deadline has passed; its globals are drivers.time_left's.
IN_TIME: Final = f"""\
if IN_USE and spent():
    event = {int(Event.NO_TIME_LEFT)}
    raise belated(started)"""

# Circuit.acquire of a term that lets calls pass for now.
ASK: Final = """\
permit = circuit.term
if started >= permit.free_until:
    permit = admit(started)"""

ASK_OR_RAISE: Final = """\
permit = circuit.term
if started >= permit.free_until:
    if started < permit.refuses_until:
        raise refusal(permit, started)
    permit = admit(started)"""

TAKE: Final = """\
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

# Count a call that is under way, if its term wants to know (core.cohorts). An interrupt falls after the append, when
# ``cohort`` says already that there is something to take away.
BOARD: Final = """\
cohort = permit.cohort
if cohort is not None:
    cohort.append(None)"""

LAND: Final = """\
if cohort is not None:
    del cohort[-1]"""

# Where nothing needs to follow it: an interrupt may, and this is 14 ns less.
LAND_LAST: Final = LAND.replace("del cohort[-1]", "cohort.pop()")

# Of an adaptive limit, which may let one wait.
TAKE_IN_TURN: Final = """\
grip = []
try:
    if not take(grip, args, kwargs):
        queue(grip, args, kwargs)
        started = clock()
finally:
    if grip:
        sack = held = grip[0]"""

THROTTLE: Final = f"""\
event = {int(Event.THROTTLED)}
if throttle.rate:
    shed(started, random())"""

# RateLimiter.reserve of who need not wait; nothing is called between reading and writing.
PACE: Final = f"""\
booked = pace.booked
if booked < started:
    booked = started
if booked - rate.ahead - started <= 0.0:
    pace.booked = booked + rate.spacing
else:
    event = {int(Event.RATE_LIMITED)}
    place = reserve(started, args, kwargs)
    if place is not None:
        linger(place)
        started = clock()"""

# Of one who got no slot: refused, or interrupted on the way.
TURNED_AWAY: Final = f"settle(permit, {REJECTED} if isinstance(error, Exception) else {CANCELLED}, started, started)"

# Without a local name that would keep the error, and this frame with it, alive.
RAISE_LATE: Final = """\
if late is not None:
    try:
        raise late from error
    finally:
        del late"""

# Budget.deposit.
DEPOSIT: Final = """\
budget = retries.budget
if budget is not None:
    if begun < budget.edge:
        budget.bump()
    else:
        budget.deposit(begun)"""

# Of a failed turn: None, or how long to pause before the next.
AGAIN: Final = "pause = again(error, event, turn, pause, begun, started)"

UNWANTED: Final = """\
pause = unwanted(result, turn, pause, begun, now)
if pause is None:"""

# Deadlines.leave of a watch that has not fired.
LEAVE: Final = """\
if watch is not None:
    if watch[4]:
        leave(watch)
    else:
        watch[0] = None"""

RESCUE: Final = {
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
