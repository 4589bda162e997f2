"""The text of the flat wrapper, for every flavour of function, from one template.

Four nested closures cost 1.7 us a call, one flat function 1.0; and text is the
single source for five flavours that differ in an ``await`` here and a ``yield``
there. attrs makes ``__init__`` the same way.

What the text says, from the outside in: ask the first gate, let the others admit
the call (or hand it to the pool), run the function under its deadline, give
everything back in reverse, then count. What each gate does stands in its kit
(engine.kit); this template puts the pieces in their places and knows no policy by
name. Each permit is given back exactly once, in the ``except`` that belongs to it, also where a rule or a listener that
is asked on the way raises an interrupt. A call that succeeds reads the clock twice, whatever the chain's length.
Numbers in the text are Outcomes and Events. Taking a slot and giving it back are written out because
no signal handler's exception may fall between the two statements of each (core.bulkhead).

With a retry all of this stands in a loop, and ``again`` says after a failed turn
how long to pause before the next. A generator is tried again only until its consumer has an item.

Without a fallback the first gate is asked outside the ``try``, so that a refusal is
raised once and passes by.

A generator holds its permits until it is exhausted, closed or fails. The time
its consumer takes is not its own: ``started`` is moved on by it, and by all that
comes after its first items (TIMED_ITEMS). An exception that
the consumer threw in, and that comes out again, is not its failure; nor is a cancellation,
which the end of ``asyncio.run()`` throws into a stream that nobody has closed.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Iterable
from typing import Final

from ..core.outcome import CANCELLED, IGNORED, SUCCESS, Event
from ..metrics.recorder import BATCH
from .fragments import (
    AGAIN,
    AGAIN_UNTIL_FIRST_ITEM,
    DEPOSIT,
    DEPOSIT_FAILOVER,
    ENTER_LAYER,
    FAIL_OVER,
    GO_ELSEWHERE,
    LEAVE,
    LEAVE_LAYER,
    MOVE_ON,
    PASS_ON,
    RAISE_LATE,
    RESCUE,
    UNTIMED,
    UNWANTED,
    call,
    in_time,
    times_first_items,
)
from .kit import GateText, Weigh
from .wrapper_spec import Flavour, WrapperSpec

#: Counting a success where no gate weighs it.
COUNT: Final = Weigh(healthy="now < recorder.edge", full=f"len(pending) >= {BATCH}",
                     otherwise="recorder.success(started, now)")


def source(spec: WrapperSpec) -> str:
    """The text of the wrapper, a function ``guarded``."""
    turn = _turn(spec)
    if spec.retry:
        loop = _lines(
            "while True:",
            _indent(turn),
            f"    {_await(spec)}backoff_sleep(pause)",
            "    turn += 1",
            "    started = clock()",
        )
        if spec.marks:
            loop = _lines("above, layer = layer_above(), None", "try:", _indent(ENTER_LAYER), _indent(loop), "finally:",
                          _indent(LEAVE_LAYER))
        turn = _lines("turn, pause = 1, 0.0", "begun = started = clock()", DEPOSIT, loop)
    if spec.flavour is Flavour.ASYNC_GENERATOR:
        turn = _lines("lease = Lease()", turn)
    return f"{'async ' if spec.flavour.is_async else ''}def guarded(*args, **kwargs):\n{_indent(turn)}\n"


def _above(spec: WrapperSpec) -> str:
    return ", above" if spec.marks else ""


def _again(spec: WrapperSpec) -> str:
    return AGAIN_UNTIL_FIRST_ITEM if spec.flavour.is_generator else AGAIN.format(above=_above(spec))


def _turn(spec: WrapperSpec) -> str:
    """The text of one attempt of a call."""
    flavour = spec.flavour
    ask_inside = spec.fallback or spec.retry or bool(spec.failover)
    asks = any(gate.ask for gate in spec.gates)
    ask = [gate.ask if ask_inside else gate.ask_or_raise for gate in spec.gates]
    items = ", items" if flavour.is_generator else ""
    return _lines(
        GO_ELSEWHERE[flavour] if spec.failover == "first" else "",
        "" if spec.retry else "started = clock()",
        DEPOSIT_FAILOVER if spec.failover == "first" else "",
        f"event = {int(Event.SHORT_CIRCUITED if asks and ask_inside else Event.CANCELLED)}",
        "items, thrown = 0, None" if flavour.is_generator else "",
        "failed = None" if spec.judges == "items" else "",
        "" if ask_inside else in_time(answers=False),
        *([] if ask_inside else ask),
        "try:",
        _indent(in_time(answers=True)) if ask_inside else "",
        *(map(_indent, ask) if ask_inside else []),
        _indent(_admission(spec)),
        _indent(_execution(spec)),
        "except BaseException as error:",
        "    accounting.emitted(items)" if items else "",
        _indent(_again(spec)) if spec.retry else "",
        _indent(_end_badly(spec, f"accounting.should_fall_back(error, event, started{items})")),
        "else:",
        _indent(_count(spec)),
        "    accounting.emitted(items)" if items else "",
        _indent(UNWANTED.format(above=_above(spec))) if spec.retry_results else "",
        "        return result" if spec.retry_results else _return(spec),
    )


def _return(spec: WrapperSpec) -> str:
    forget = "    pause = None\n" if spec.retry else ""
    if spec.flavour is Flavour.ASYNC_GENERATOR:
        return f"{forget}    return" if spec.retry else ""
    return f"{forget}    return result"


def _end_badly(spec: WrapperSpec, should_fall_back: str) -> str:
    fall_back = RESCUE[spec.flavour] if spec.fallback else FAIL_OVER[spec.flavour] if spec.failover == "first" \
        else MOVE_ON if spec.failover else "raise AssertionError('should_fall_back, but no fallback')"
    returns = PASS_ON[spec.flavour] if spec.judges and spec.returns_failures else ""
    text = f"if not {should_fall_back}:\n{_indent(returns)}    raise\n{fall_back}"
    if not spec.retry:
        return text
    over = _lines(LEAVE_LAYER if spec.marks else "", text)  # nobody repeats what answers for it, or hears of it
    return f"if pause is None:\n{_indent(over)}"


def _admission(spec: WrapperSpec) -> str:
    """Let the gates admit the call, and hand it to the pool, which takes its slot."""
    if spec.flavour is not Flavour.THREAD:
        return ""
    admit = _lines(
        *_acquired(spec, slots=False),
        f"event = {int(Event.THREAD_POOL_REJECTED)}",
        "job = submit(fn, args, kwargs, started)",
    )
    refused = _refused(spec)
    if not refused:
        return admit
    return _lines(_first(spec), "try:", _indent(admit), "except BaseException as error:", _indent(refused), "    raise")


def _execution(spec: WrapperSpec) -> str:
    """Take a slot, run the function, give the slot back; on a worker, the job does that when the work ends."""
    flavour, gates = spec.flavour, spec.gates
    here = flavour is not Flavour.THREAD
    held = here and any(gate.acquire for gate in gates)
    outcome, leased = _outcome(spec), flavour is Flavour.ASYNC_GENERATOR
    return _lines(
        _first(spec) if here else "",
        "held = None" if held else "",
        "watch = None" if spec.deadline or spec.clocks else "",
        _dropped(spec, held=held) if leased else "",
        "try:",
        *_each(gates, "enter", 1),
        *(map(_indent, _acquired(spec, slots=True)) if held else []),
        _indent(call(spec)),
        "except BaseException as error:",
        "    lease.give_back = None" if leased else "",
        *_each(gates, "leave", 1),
        _indent(_without_slot(spec)) if held else "",
        "    now = clock()",
        _indent(UNTIMED) if times_first_items(spec) else "",
        _indent(_settled(spec, outcome)),
        "    event = EVENT_OF[outcome]",
        _indent(RAISE_LATE) if _has_timers(spec) else "",
        "    raise",
        "lease.give_back = None" if leased else "",
        *_each(gates, "leave" if held else "leave_last", 0),
        next((gate.give_back for gate in gates if gate.takes_slot), "sack.append(None)") if held else "",
        "now = clock()",
        UNTIMED if times_first_items(spec) else "",
        LEAVE if spec.deadline else "if watch is not None:\n    watch.end()" if _has_timers(spec) else "",
        _settled_well(spec),
    )


def _dropped(spec: WrapperSpec, *, held: bool) -> str:
    """Give back what a stream holds whose wrapper goes without having ended (drivers.stream_leases).

    What changes with each item is none of its variables, since those of two functions are slower.
    """
    gates = spec.gates
    back = _lines(
        next((gate.give_back_held for gate in gates if gate.takes_slot), "held.append(None)") if held else "",
        "now = clock()",
        _each_of(gate.settle.replace("{outcome}", str(CANCELLED)) for gate in gates),
    )
    refused = _refused(spec)
    return _lines(
        "def dropped(error=None, started=started):",
        *_each(gates, "leave", 1),
        f"    if held is not None:\n{_indent(_indent(back))}" if held else _indent(back),
        f"    else:\n{_indent(_indent(refused))}" if held and refused else "",
        "    accounting.dropped(started)",
        "lease.give_back = dropped",
    )


def _has_timers(spec: WrapperSpec) -> bool:
    return spec.deadline or bool(spec.clocks and spec.flavour.is_async)


def _late(spec: WrapperSpec) -> str:
    """Ask whether a timer of ours ended the call."""
    if spec.deadline:
        return "late = timed_out(watch, error)"
    return "late = None if watch is None else watch.timed_out(error, items)" if _has_timers(spec) else ""


def _outcome(spec: WrapperSpec) -> str:
    error = "late or error" if _has_timers(spec) else "error"
    if spec.judges == "items":  # what came of the stream after that decides nothing
        error = f"failed or {error}"
    outcome = f"accounting.classify({error}, started, now)"
    if not spec.flavour.is_generator:
        return outcome
    return f"{IGNORED} if error is thrown and isinstance(error, Exception) else {outcome}"


def _first(spec: WrapperSpec) -> str:
    """What the gates need before they are asked."""
    view = "call = view(args, kwargs)" if any(gate.sees_call for gate in spec.gates) else ""
    return _lines(view, *_each(spec.gates, "first", 0))


def _acquired(spec: WrapperSpec, *, slots: bool) -> list[str]:
    """Ask the gates for their permits; with *slots*, take one, or hold what stands for none."""
    texts = [gate.acquire.replace("{await_}", _await(spec)) for gate in spec.gates if slots or not gate.takes_slot]
    if slots and not any(gate.takes_slot for gate in spec.gates):
        texts.append("sack = held = []")
    return texts


def _settled(spec: WrapperSpec, outcome: str) -> str:
    """Judge a call that failed, and tell the gates; if who judges is interrupted, the call was cut short."""
    settle = [gate.settle.replace("{outcome}", "outcome") for gate in spec.gates if gate.settle]
    judge = _lines(
        _late(spec),
        f"outcome = {outcome}",
        "thrown = None" if spec.flavour.is_generator else "",
        "failed = None" if spec.judges == "items" else "",
    )
    return _lines(f"outcome = {CANCELLED}" if settle else "", _each_of((judge, *settle)))


def _settled_well(spec: WrapperSpec) -> str:
    """Tell the gates of a good call, but for the one that weighs results: it hears of the call when it is counted."""
    settle = [gate.settle.replace("{outcome}", str(SUCCESS)) for gate in spec.gates if gate.settle]
    weighs = [gate.weigh is not None for gate in spec.gates if gate.settle]
    told = _each_of(text for text, weigh in zip(settle, weighs, strict=True) if not weigh)
    untold = _each_of(text for text, weigh in zip(settle, weighs, strict=True) if weigh)
    if not told or not untold:
        return told
    return f"try:\n{_indent(told)}\nexcept BaseException:\n{_indent(untold)}\n    raise"


def _refused(spec: WrapperSpec) -> str:
    """Give back what was acquired of a call that a further gate refused."""
    return _each_of(gate.refused for gate in spec.gates)


def _each_of(texts: Iterable[str]) -> str:
    """Do one after the other, all of them although one is interrupted: they call rules and listeners of the user."""
    first, *further = [*filter(None, texts)] or [""]
    return functools.reduce(lambda done, text: f"try:\n{_indent(done)}\nfinally:\n{_indent(text)}", further, first)


def _without_slot(spec: WrapperSpec) -> str:
    """Leave if no slot was taken; else give it back, before anything that a signal could interrupt."""
    give_back = next((gate.give_back_held for gate in spec.gates if gate.takes_slot), "held.append(None)")
    return _lines("if held is None:", _indent(_refused(spec)), "    raise", give_back)


def _count(spec: WrapperSpec) -> str:
    """Weigh and count a success."""
    weigh = next((gate.weigh for gate in spec.gates if gate.weigh is not None), COUNT)
    if not weigh.healthy:
        return weigh.otherwise
    return f"""\
took = now - started
if {weigh.healthy}:
    push(took)
    if {weigh.full}:
        recorder.drain()
else:
{_indent(weigh.otherwise)}"""


def _each(gates: tuple[GateText, ...], hook: str, depth: int) -> list[str]:
    return [textwrap.indent(getattr(gate, hook), "    " * depth) for gate in gates]


def _await(spec: WrapperSpec) -> str:
    return "await " if spec.flavour.is_async else ""


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")
