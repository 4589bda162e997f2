"""Fragments: pieces of text that template.py makes wrappers of; those of the gates stand in their kits.

Some write out what a method does, because a call costs 50 to 70 ns: each says which.
"""

from __future__ import annotations

import textwrap
from typing import Final

from ..core.outcome import Event
from .wrapper_spec import Flavour, WrapperSpec

# Without keyword arguments an empty dict would be merged into another one: 25 ns.
FN: Final = "fn(*args, **kwargs) if kwargs else fn(*args)"

#: The latency of a stream is its own time until so many items; from then on no item costs a look at the clock.
TIMED_ITEMS: Final = 10

# However a stream ends, the function's own generator has ended, or is closed, before anything is given back.
_GENERATOR: Final = """\
{begin}source = {source}
try:
    item = next(source)
    while True:
{arrive}{judge}        items += 1
{pause}        try:
            sent = yield item
        except GeneratorExit:
            raise
        except BaseException as injected:
{resume}            thrown = injected
            item = source.throw(injected)
            thrown = None
        else:
{resume}            item = next(source) if sent is None else source.send(sent)
except StopIteration as end:
    result = end.value
except BaseException:
    source.close()
    raise{end}"""

# ``async for`` asks for the next item without a step that Python code holds in hand; what the consumer sends or throws
# takes one, and goes round the inner loop. A generator that still "runs" was left by an interrupt in the midst of a
# step, and Python lets nobody close it.
_ASYNC_GENERATOR: Final = """\
{begin}source = own({source})
try:
{first_wait}    async for item in source:
        while True:
{arrive}{judge}            items += 1
{pause}            try:
                sent = yield item
            except GeneratorExit:
                raise
            except BaseException as injected:
{resume}                thrown = injected
                step = source.athrow(injected)
            else:
{resume}                if sent is None:
{wait}                    break
                step = source.asend(sent)
{step_wait}            item = await step
            step = thrown = None  # an athrow() keeps the exception
except StopAsyncIteration:
    pass
except BaseException:
    await close(source)
    raise{end}"""

# What the consumer takes is not the stream's own time.
_PAUSE: Final = "paused = clock()"
_RESUME: Final = "started += clock() - paused"
_PAUSE_TIMED: Final = f"""\
if items <= {TIMED_ITEMS}:
    {_PAUSE}"""
_RESUME_TIMED: Final = f"""\
if items < {TIMED_ITEMS}:
    {_RESUME}"""
#: Of a stream that has ended: leave out what came after the timed items.
UNTIMED: Final = f"""\
if items >= {TIMED_ITEMS}:
    started += now - paused"""

_GAUGED: Final = """\
if watch is not None:
    watch.arrived(item, clock() - started, items)"""
_ARRIVED: Final = """\
if watch is not None:
    watch.arrived(item)"""
_WAIT: Final = """\
if watch is not None:
    watch.wait()"""

# StreamWatch.arrived and StreamWatch.wait, but that the latter's task is there: the first wait is not written out.
_ARRIVED_INLINE: Final = """\
if watch is not None:
    if watch.is_steady:
        watch.task = None
    else:
        watch.arrived(item)"""
_WAIT_INLINE: Final = """\
if watch is not None:
    watch.task = task = current_task(loop)
    watch.cancelling = task.cancelling()
    watch.since = since = loop.time()
    task = None
    if since + watch.limit < watch.armed:
        watch.arm()
    if IN_USE:
        watch.hasten()"""


# An item that is judged failed is the consumer's too, unless something else may answer, or the rules raise it.
_JUDGE_ITEM: Final = """\
verdict = judging.item(item)
if verdict is not None:
    if raises_item(verdict, items):
        try:
            raise verdict
        finally:
            del verdict
    if failed is None:
        failed = verdict
verdict = None"""
_RAISE_FAILED: Final = "\nif failed is not None:\n    raise failed"

# Of a result that is judged failed: it goes the way of a failure.
_JUDGE_RESULT: Final = """
verdict = judging.result(result)
if verdict is not None:
    try:
        raise verdict
    finally:
        del verdict"""

# The same, with what FailureJudge.result does of a good status written out: 25 ns instead of 100.
_JUDGE_RESULT_INLINE: Final = f"""
try:
    good = (result.status if judging.is_called_status else result.status_code) in judging.good_codes
except Exception:
    good = False
if not good:
{textwrap.indent(_JUDGE_RESULT.strip(), "    ")}"""

_JUDGE_RESULTS: Final = {"results": _JUDGE_RESULT, "results inline": _JUDGE_RESULT_INLINE}


def call(spec: WrapperSpec) -> str:
    """Run the function, and judge what it returned; with a deadline, timers of the event loop bound it."""
    judge = _JUDGE_RESULTS.get(spec.judges, "")
    if spec.flavour is Flavour.THREAD:
        return f"result = wait(job){judge}"
    if spec.flavour.is_generator:
        return _generator(spec)
    if spec.flavour is Flavour.BLOCK:
        return f"result = yield from ({FN}){judge}"
    if spec.flavour in (Flavour.ASYNC, Flavour.ASYNC_BLOCK):
        watched = "watch = enter()\n" if spec.deadline else ""
        return f"{watched}result = await ({FN}){judge}"
    return f"result = {FN}{judge}"


def _generator(spec: WrapperSpec) -> str:
    is_async, clocks = spec.flavour.is_async, spec.clocks
    source = "fn(*args, **kwargs)"
    if spec.holds:
        source = f"hold({source}, {'watch' if clocks and is_async else 'None'})"
    begin = "watch = begin()\n" if clocks else ""
    if clocks == "inline":
        begin += "loop = None if watch is None else watch.loop\n"
    depth = 3 if is_async else 2
    judge = _block(_JUDGE_ITEM, depth) if spec.judges == "items" else ""
    end = _RAISE_FAILED if judge else ""
    is_timed = times_first_items(spec)
    pause = _block(_PAUSE_TIMED if is_timed else _PAUSE, depth)
    resume = _block(_RESUME_TIMED if is_timed else _RESUME, depth + 1)
    if not is_async:
        return _GENERATOR.format(begin=begin, source=source, judge=judge, end=end, pause=pause, resume=resume,
                                 arrive=_block(_GAUGED, depth) if clocks else "")
    arrived, wait = {"": ("", ""), "plain": (_ARRIVED, _WAIT), "inline": (_ARRIVED_INLINE, _WAIT_INLINE)}[clocks]
    return _ASYNC_GENERATOR.format(
        begin=begin, source=source, judge=judge, end=end, pause=pause, resume=resume, arrive=_block(arrived, depth),
        first_wait=_block(_WAIT, 1) if clocks else "", wait=_block(wait, 5), step_wait=_block(wait, 3))


def times_first_items(spec: WrapperSpec) -> bool:
    """Whether the text times a stream's first items only: the clocks of a plain generator need the time of all."""
    return spec.flavour.is_generator and (spec.flavour.is_async or not spec.clocks)


def _block(text: str, depth: int) -> str:
    return textwrap.indent(text, "    " * depth) + "\n" if text else ""


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



def _deposit(held: str, now: str) -> str:
    """Budget.deposit, in the budget of what is *held*, of a call that begins *now*."""
    return f"""\
budget = {held}.budget
if budget is not None:
    if {now} < budget.edge:
        budget.bump()
    else:
        budget.deposit({now})"""


DEPOSIT: Final = _deposit("retries", "begun")
DEPOSIT_FAILOVER: Final = _deposit("failovers", "started")

# What failed at one target of a failover goes to the loop around it, with the event that it was counted as.
MOVE_ON: Final = "raise moves_on(error, event, started)"

# Of a failed turn: None, or how long to pause before the next.
AGAIN: Final = "pause = again(error, event, turn, pause, begun, started{above})"

#: The same of a generator, which is past being tried again once its consumer has an item.
AGAIN_UNTIL_FIRST_ITEM: Final = "pause = None if items else again(error, event, turn, pause, begun, started)"

# Tell what runs inside that it is repeated here; see drivers.retry_layers.
ENTER_LAYER: Final = """\
if not above and retries.is_on:
    layer = [key]
    mark_retried(layer)"""
LEAVE_LAYER: Final = """\
if layer is not None:
    layer.clear()"""

UNWANTED: Final = """\
pause = unwanted(result, turn, pause, begun, now{above})
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
source = own(fall_back(error, args, kwargs))
try:
    async for item in source:
        yield item
finally:
    await close(source)
return""",
}

# A result that was judged failed, and for which nothing answers, is the caller's all the same.
# A first item for which the stream was closed, to be tried again or answered for, comes alone.
_FIRST_ITEM: Final = """\
if not items:
        accounting.emitted(1)
        yield error.result
        return
    return"""
PASS_ON: Final = {
    flavour: f"if judging.passes_on(error):\n    {answer}\n" for flavour, answer in {
        Flavour.SYNC: "return error.result", Flavour.THREAD: "return error.result",
        Flavour.ASYNC: "return error.result", Flavour.BLOCK: "return error.result",
        Flavour.ASYNC_BLOCK: "return error.result", Flavour.GENERATOR: f"{_FIRST_ITEM} result",
        Flavour.ASYNC_GENERATOR: _FIRST_ITEM}.items()}

def relayed(call: str, end: str) -> str:
    """Run the async generator of *call*, with what the consumer sends and throws, and do *end* after its last item."""
    return f"""\
source = own({call})
step = source.__anext__()
try:
    while True:
        item = await step
        step = None  # an athrow() keeps the exception
        try:
            sent = yield item
        except GeneratorExit:
            raise
        except BaseException as injected:
            step = source.athrow(injected)
        else:
            step = source.asend(sent)
except StopAsyncIteration:
    {end}
except BaseException:
    await close(source)
    raise"""


# As in RESCUE, but what the consumer sends and throws reaches the other target too.
_ELSEWHERE: Final = {**RESCUE, Flavour.ASYNC_GENERATOR: relayed("fall_back(error, args, kwargs)", "return")}

# What fails at the first target of a failover, or is refused, goes on to others as it would to a fallback.
FAIL_OVER: Final = {flavour: text.replace("fall_back(error, ", "fail_over(error, event, started, ")
                    for flavour, text in _ELSEWHERE.items()}

# A call that cannot simply go to the first target: that rests, or calls go to all by weight.
GO_ELSEWHERE: Final = {
    flavour: "if kwargs and argument in kwargs:\n    raise given()\nif not first_target.calm:\n"
             + textwrap.indent(text.replace("fall_back(error, ", "go_elsewhere("), "    ")
    for flavour, text in _ELSEWHERE.items()}
