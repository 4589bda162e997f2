"""The bulkhead's kit: a gate that holds a slot for as long as the call runs."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from ..core.bulkhead import Bulkhead, Slots
from ..core.outcome import CANCELLED, Event
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit, Telling
from ..engine.site import Site

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


def _start(bulkhead: Bulkhead, runtime: CommandRuntime) -> Slots:
    return Slots(bulkhead, key=runtime.key)


def _change(slots: Slots, bulkhead: Bulkhead | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    slots.configure(Bulkhead(None) if bulkhead is None else bulkhead)
    return None


def _renew(slots: Slots, now: float) -> None:
    slots.renew()


def _install(site: Site, bulkhead: Bulkhead, slots: Slots) -> None:
    site.names.update(slots=slots)


BULKHEAD: Final = Kit(
    name="max_concurrent",
    policy=Bulkhead,
    noun="bulkhead",
    about="Lets so many calls run at once.",
    principal="max_concurrent",
    usual=Bulkhead(),
    above={
        "timeout": "the timeout would end before the slot is given back, and give up calls that never began",
        "hedge": "a second attempt would be refused by a bulkhead that the first still fills, and fail the call",
    },
    can_be_off=True,
    width=attrgetter("max_concurrent"),
    can_be_shadow=True,
    text=_WRITTEN_OUT,
    plain=_PLAIN,
    start=_start,
    always=True,
    absent=Bulkhead(None),
    change=_change,
    renew=_renew,
    install=_install,
    refusal="semaphore_rejected",
    events=(Telling("semaphore_rejected", "Calls that found no free slot."),
            Telling("thread_pool_rejected", "Calls that found no free slot or thread in thread isolation.")),
)
