"""Phrases: pieces of text that template.py makes wrappers of; those of the gates stand in their kits.

Some write out what a method does, because a call costs 50 to 70 ns: each says which.
"""

from __future__ import annotations

from typing import Final

from ..core.outcome import Event
from .wrapper_spec import Flavour

# Without keyword arguments an empty dict would be merged into another one: 25 ns.
FN: Final = "fn(*args, **kwargs) if kwargs else fn(*args)"

_GENERATOR: Final = """\
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
    result = end.value"""

_ASYNC_GENERATOR: Final = """\
source = fn(*args, **kwargs)
step = source.__anext__()
try:
    while True:
{step}
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
    pass"""

_STEP: Final = """\
        item = await step
        step = thrown = None  # an athrow() keeps the exception"""

_STEP_IN_TIME: Final = """\
        watch = enter()
        item = await step
        leave(watch)
        watch = step = thrown = None  # an athrow() keeps the exception"""


def call(flavour: Flavour, *, deadline: bool) -> str:
    """Run the function; with a *deadline*, timers of the event loop bound it."""
    if flavour is Flavour.THREAD:
        return "result = wait(job)"
    if flavour is Flavour.GENERATOR:
        return _GENERATOR
    if flavour is Flavour.ASYNC_GENERATOR:
        return _ASYNC_GENERATOR.format(step=_STEP_IN_TIME if deadline else _STEP)
    if flavour is Flavour.ASYNC:
        return f"watch = enter()\nresult = await ({FN})" if deadline else f"result = await ({FN})"
    return f"result = {FN}"


_IN_TIME: Final = f"""\
if IN_USE and spent():
    event = {int(Event.NO_TIME_LEFT)}
    raise accounting."""


def in_time(*, answers: bool) -> str:
    """Refuse a call whose caller's deadline has passed; its globals are drivers.deadline_context's.

    Args:
        answers: Whether somebody above the gates answers for it, or asks again, and counts it.
    """
    return _IN_TIME + ("belated(started)" if answers else "refused_belated(started)")


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

# AsyncTimeout.leave of a watch that has not fired.
LEAVE: Final = """\
if watch is not None:
    if watch[4]:
        leave(watch)
    else:
        watch[0] = None"""

RESCUE: Final = {
    Flavour.SYNC: "return fall_back(error, args, kwargs)",
    Flavour.THREAD: "return fall_back(error, args, kwargs)",
    Flavour.ASYNC: "return await fall_back(error, args, kwargs)",
    Flavour.GENERATOR: "return (yield from fall_back(error, args, kwargs))",
    Flavour.ASYNC_GENERATOR: """\
source = fall_back(error, args, kwargs)
try:
    async for item in source:
        yield item
finally:
    await source.aclose()
return""",
}
