"""The bulkhead's kit: a gate that holds a slot for as long as the call runs.

It has two more texts than others, for functions that are declared with ``max_wait``: one that lets the caller wait, and
one for those whose calls run on worker threads, where the slot is taken, and waited for, on the way there
(ThreadIsolation.submit). A function that was declared without is compiled without, and pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final

from ..core.bulkhead import Bulkhead
from ..core.callable_identity import by_identity
from ..core.outcome import CANCELLED, Event
from ..core.queued_slots import QueuedSlots
from ..drivers.admission_waiter import AdmissionWaiter
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError

_WRITTEN_OUT: Final = GateText(  # Slots.take
    acquire=f"""\
event = {int(Event.SEMAPHORE_REJECTED)}
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
    slots.least_free = free""",
    takes_slot=True, give_back="sack.append(None)", give_back_held="held.append(None)")

_PLAIN: Final = GateText(
    acquire=f"event = {int(Event.SEMAPHORE_REJECTED)}\nheld = slots.acquire(started)",
    takes_slot=True, give_back="slots.settle(held, 0, started, started)",
    give_back_held=f"slots.settle(held, {CANCELLED}, started, started)")

#: Takes a slot from an AdmissionWaiter, or waits for one there.
TAKE_OR_WAIT: Final = f"""\
event = {int(Event.SEMAPHORE_REJECTED)}
taken = []
try:
    if not take(taken, args, kwargs):
        {{await_}}queue(taken, args, kwargs)
        started = clock()
finally:
    if taken:
        sack = held = taken[0]"""

_WAITING: Final = GateText(
    acquire=TAKE_OR_WAIT,
    label="waiting", takes_slot=True, give_back="sack.append(None)", give_back_held="held.append(None)",
    settle="if slots.crowd:\n    slots.hand_on(now)")

_WAITING_FOR_THREAD: Final = GateText(label="waiting", takes_slot=True, enter="started = job.started")


def _text_for(bulkhead: Bulkhead, flavour: Flavour) -> GateText | None:
    if not bulkhead.max_wait:
        return None
    return _WAITING_FOR_THREAD if flavour is Flavour.THREAD else _WAITING


def _suits(bulkhead: Bulkhead, declaration: Any, flavour: Flavour, key: str) -> None:
    if bulkhead.fair_by is not None and not bulkhead.max_wait:
        raise ConfigError(f"{key}: fair_by shares slots among calls that wait, and without max_wait none waits; give "
                          "max_wait too", "fair_by")


def _worst_case(bulkhead: Bulkhead, below: WorstCase) -> WorstCase:
    return below.after(bulkhead.max_wait) if bulkhead.max_wait else below


def _start(bulkhead: Bulkhead, runtime: CommandRuntime) -> QueuedSlots:
    return QueuedSlots(bulkhead, key=runtime.key)


def _change(slots: QueuedSlots, bulkhead: Bulkhead | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    slots.reconfigure(Bulkhead(None) if bulkhead is None else bulkhead, runtime.clock())
    return None


def _cannot_change(slots: QueuedSlots, bulkhead: Bulkhead) -> str | None:
    if not bulkhead.max_wait:
        return None
    if slots.lets_wait:
        if by_identity(bulkhead.fair_by) == by_identity(slots.fair_by):
            return None
        return ("fair_by= of the bulkhead cannot be changed on a live command; say it in the decorator; attrs.evolve() "
                "of settings.max_concurrent keeps it")
    return ("its functions were declared without max_wait, so that their callers cannot wait; declare it with "
            f"max_concurrent=Bulkhead({bulkhead.max_concurrent}, max_wait={bulkhead.max_wait:g})")


def _renew(slots: QueuedSlots, now: float) -> None:
    slots.renew()


def _install(site: Site, bulkhead: Bulkhead, slots: QueuedSlots) -> None:
    site.names.update(slots=slots)
    if not bulkhead.max_wait:
        return
    slots.let_wait(bulkhead.fair_by)
    waiter = AdmissionWaiter(slots, key=site.runtime.key, clock=site.runtime.clock, fair_by=bulkhead.fair_by)
    site.names.update(take=waiter.take, queue=waiter.wait_async if site.flavour.is_async else waiter.wait)
    if site.runtime.isolation is not None:
        site.runtime.isolation.waiter = waiter


def _gauges(slots: QueuedSlots) -> Mapping[str, float]:
    return {"waiting": len(slots.crowd)} if slots.lets_wait else {}


BULKHEAD: Final = Kit(
    name="max_concurrent",
    policy=Bulkhead,
    noun="bulkhead",
    about="Lets so many calls run at once.",
    principal="max_concurrent",
    compiled_in=("max_wait", "fair_by"),
    needs={"max_queue": "max_wait"},
    usual=Bulkhead(),
    suits=_suits,
    above={
        "timeout": "the timeout would end before the slot is given back, and give up calls that never began",
        "hedge": "a second attempt would be refused by a bulkhead that the first still fills, and fail the call",
    },
    can_be_off=True,
    width=attrgetter("max_concurrent"),
    worst_case=_worst_case,
    can_be_shadow=True,
    text=_WRITTEN_OUT,
    plain=_PLAIN,
    text_for=_text_for,
    start=_start,
    always=True,
    absent=Bulkhead(None),
    change=_change,
    cannot_change=_cannot_change,
    renew=_renew,
    install=_install,
    refusal="semaphore_rejected",
    events=(TelemetryItem("semaphore_rejected", "Calls that found no free slot."),
            TelemetryItem("thread_pool_rejected", "Calls that found no free slot or thread in thread isolation.")),
    gauges=_gauges,
)
