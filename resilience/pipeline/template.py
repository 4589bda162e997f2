"""The text of the flat wrapper, for every flavour of function, from one template.

Four nested closures cost 1.7 us a call, one flat function 1.0; and text is the
single source for five flavours that differ in an ``await`` here and a ``yield``
there. attrs makes ``__init__`` the same way.

What the text says, from the outside in: ask the breaker, take a slot (or hand
the call to the pool), run the function under its deadline, give everything back
in reverse, then count. Each permit is given back exactly once, in the ``except``
that belongs to it; the clock is read twice whatever the chain's length. Numbers
in the text are Outcomes and Events.

A generator holds its permits until it is exhausted, closed or fails. The time
its consumer takes is not its own: ``started`` is moved on by it. An exception
that the consumer threw in, and that comes out again, is not its failure.
"""

from __future__ import annotations

import enum
import textwrap

import attrs

from ..core.outcome import IGNORED, REJECTED, SUCCESS, Event


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
    deadline: bool
    fallback: bool


#: What the text's free names are bound to, in the order of make()'s parameters.
NAMES = ("fn", "clock", "success", "classify", "rescuable", "rescue", "emitted", "EVENT_OF",
         "acquire", "settle", "take", "give", "enter", "leave", "lapsed", "submit", "wait")

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
        watch = None
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

_RESCUE = {
    Flavour.SYNC: "return rescue(error, args, kwargs)",
    Flavour.THREAD: "return rescue(error, args, kwargs)",
    Flavour.ASYNC: "return await rescue(error, args, kwargs)",
    Flavour.GENERATOR: "return (yield from rescue(error, args, kwargs))",
    Flavour.ASYNC_GENERATOR: "async for item in rescue(error, args, kwargs):\n    yield item\nreturn",
}


def source(shape: Shape) -> str:
    """The text of ``make(...)``, which returns the wrapper."""
    flavour = shape.flavour
    body = "\n".join(filter(None, [
        "started = clock()",
        f"event = {int(Event.SHORT_CIRCUITED)}",
        "items, thrown = 0, None" if flavour.is_generator else "",
        "try:",
        _indent(_admission(shape)),
        _indent(_execution(shape)),
        "except BaseException as error:",
        "    emitted(items)" if flavour.is_generator else "",
        f"    if not rescuable(error, event, started{', items' if flavour.is_generator else ''}):",
        "        raise",
        _indent(_RESCUE[flavour]) if shape.fallback else "    raise AssertionError('rescuable, but no fallback')",
        "success(started, now)",
        "emitted(items)" if flavour.is_generator else "",
        "" if flavour is Flavour.ASYNC_GENERATOR else "return result",
    ]))
    return "\n".join([
        f"def make({', '.join(NAMES)}):",
        f"    {'async ' if flavour.is_async else ''}def guarded(*args, **kwargs):",
        textwrap.indent(body, " " * 8),
        "    return guarded",
        "",
    ])


def _admission(shape: Shape) -> str:
    isolated = shape.flavour is Flavour.THREAD
    enter = "job = submit(fn, args, kwargs, started)" if isolated else "take(started)"
    event = int(Event.THREAD_POOL_REJECTED if isolated else Event.SEMAPHORE_REJECTED)
    if not shape.breaker:
        return f"event = {event}\n{enter}"
    return "\n".join([
        "permit = acquire(started)",
        f"event = {event}",
        "try:",
        f"    {enter}",
        "except BaseException:",
        f"    settle(permit, {REJECTED}, started, started)",
        "    raise",
    ])


def _execution(shape: Shape) -> str:
    flavour = shape.flavour
    deadline = shape.deadline and flavour.is_async
    call = _CALL[flavour]
    if flavour is Flavour.ASYNC_GENERATOR and not deadline:
        call = "\n".join(line for line in call.splitlines() if "watch" not in line)
    if flavour is Flavour.ASYNC and deadline:
        call = f"watch = enter()\n{call}"
    outcome = f"{IGNORED} if error is thrown else classify(error)" if flavour.is_generator else "classify(error)"
    if deadline:
        outcome = outcome.replace("classify(error)", "classify(late or error)")
    return "\n".join(filter(None, [
        "watch = None" if deadline else "",
        "try:",
        _indent(call),
        "except BaseException as error:",
        "    now = clock()",
        "    late = lapsed(watch, error)" if deadline else "",
        f"    outcome = {outcome}",
        "    thrown = None" if flavour.is_generator else "",
        _indent(_settlement(shape, "outcome")),
        "    event = EVENT_OF[outcome]",
        "    if late is not None:\n        try:\n            raise late from error\n        finally:\n            del late"
        if deadline else "",
        "    raise",
        "now = clock()",
        "leave(watch)" if deadline else "",
        _settlement(shape, str(SUCCESS)),
    ]))


def _settlement(shape: Shape, outcome: str) -> str:
    lines = []
    if shape.flavour is not Flavour.THREAD:  # there the worker gives the slot back, when it ends
        lines.append(f"give(None, {outcome}, started, now)")
    if shape.breaker:
        lines.append(f"settle(permit, {outcome}, started, now)")
    return "\n".join(lines)


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")
