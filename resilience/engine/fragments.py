"""Phrases: pieces of text that template.py makes wrappers of; those of the gates stand in their kits.

Some write out what a method does, because a call costs 50 to 70 ns: each says which.
"""

from __future__ import annotations

import textwrap
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
{judge}        items += 1
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
    result = end.value{end}"""

_ASYNC_GENERATOR: Final = """\
source = fn(*args, **kwargs)
step = source.__anext__()
try:
    while True:
{step}
{judge}        items += 1
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
    pass{end}"""

_STEP: Final = """\
        item = await step
        step = thrown = None  # an athrow() keeps the exception"""

_STEP_IN_TIME: Final = """\
        watch = enter()
        item = await step
        leave(watch)
        watch = step = thrown = None  # an athrow() keeps the exception"""


# An item that is judged failed is the consumer's too, unless something else may answer, or the rules raise it.
_JUDGE_ITEM: Final = """\
        verdict = judging.item(item)
        if verdict is not None:
            if raises_item(verdict, items):
                {close}
                try:
                    raise verdict
                finally:
                    del verdict
            if failed is None:
                failed = verdict
        verdict = None
"""
_RAISE_FAILED: Final = "\nif failed is not None:\n    raise failed"

# Of a result that is judged failed: it goes the way of a failure.
_JUDGE_RESULT: Final = """
verdict = judging.result(result)
if verdict is not None:
    try:
        raise verdict
    finally:
        del verdict"""

# The same, with what Judging.result does of a good status written out: 25 ns instead of 100.
_JUDGE_RESULT_INLINE: Final = f"""
try:
    good = (result.status if judging.is_called_status else result.status_code) in judging.good_codes
except Exception:
    good = False
if not good:
{textwrap.indent(_JUDGE_RESULT.strip(), "    ")}"""

_JUDGE_RESULTS: Final = {"results": _JUDGE_RESULT, "results inline": _JUDGE_RESULT_INLINE}


def call(flavour: Flavour, *, deadline: bool, judges: str) -> str:
    """Run the function, and judge what it returned; with a *deadline*, timers of the event loop bound it."""
    judge_item = _JUDGE_ITEM if judges == "items" else ""
    judge = _JUDGE_RESULTS.get(judges, "")
    end = _RAISE_FAILED if judge_item else ""
    if flavour is Flavour.THREAD:
        return f"result = wait(job){judge}"
    if flavour is Flavour.GENERATOR:
        return _GENERATOR.format(judge=judge_item.format(close="source.close()"), end=end)
    if flavour is Flavour.ASYNC_GENERATOR:
        return _ASYNC_GENERATOR.format(step=_STEP_IN_TIME if deadline else _STEP, end=end,
                                       judge=judge_item.format(close="await source.aclose()"))
    if flavour is Flavour.ASYNC:
        return f"watch = enter()\nresult = await ({FN}){judge}" if deadline else f"result = await ({FN}){judge}"
    return f"result = {FN}{judge}"


# Of one whose caller's deadline has passed; its globals are drivers.deadline_context's.
IN_TIME: Final = f"""\
if IN_USE and spent():
    event = {int(Event.NO_TIME_LEFT)}
    raise belated(started)"""

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

# The same for the budget of a failover.
DEPOSIT_FAILOVER: Final = """\
budget = failovers.budget
if budget is not None:
    if started < budget.edge:
        budget.bump()
    else:
        budget.deposit(started)"""

# What failed at one target of a failover goes to the loop around it, with the event that it was counted as.
MOVE_ON: Final = "raise moves_on(error, event)"

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

# A result that was judged failed, and for which nothing answers, is the caller's all the same.
PASS_ON: Final = {
    flavour: f"if passes_on(error):\n    {answer}\n" for flavour, answer in {
        Flavour.SYNC: "return error.result", Flavour.THREAD: "return error.result",
        Flavour.ASYNC: "return error.result", Flavour.GENERATOR: "return result",
        Flavour.ASYNC_GENERATOR: "return"}.items()}

# What fails at the first target of a failover, or is refused, goes on to others as it would to a fallback.
FAIL_OVER: Final = {flavour: text.replace("fall_back(error, ", "fail_over(error, event, ")
                    for flavour, text in RESCUE.items()}

# A call that cannot simply go to the first target: that rests, or calls go to all by weight.
GO_ELSEWHERE: Final = {
    flavour: "if kwargs and argument in kwargs:\n    raise given()\nif not first_target.calm:\n"
             + textwrap.indent(text.replace("fall_back(error, ", "go_elsewhere("), "    ")
    for flavour, text in RESCUE.items()}
