"""The timeout's kit: a bound on the time that a call may take, by the loop's timers or by leaving a worker thread."""

from __future__ import annotations

from asyncio import current_task
from typing import Any, Final

from ..core.timeout import Timeout
from ..drivers.async_timeouts import AsyncTimeout
from ..drivers.stream_timeouts import StreamWatch, meter_of_each_item
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour


def _in_force(timeout: Timeout, flavour: Flavour) -> Timeout | None:
    return timeout if flavour.is_async or flavour is Flavour.THREAD else None


def _worst_case(timeout: Timeout, below: WorstCase) -> WorstCase:
    return below if timeout.timeout is None else below.bounded(timeout.timeout)


def _start(timeout: Timeout, runtime: CommandRuntime) -> AsyncTimeout:
    return AsyncTimeout(runtime.key, timeout.timeout)


def _change(deadlines: AsyncTimeout, timeout: Timeout | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    deadlines.timeout = None if timeout is None else timeout.timeout
    return None


def _install(site: Site, timeout: Timeout, deadlines: AsyncTimeout) -> None:
    if site.flavour is Flavour.ASYNC_GENERATOR:
        key = site.runtime.key
        site.names.update(current_task=current_task, begin=lambda: None if deadlines.timeout is None else
                          StreamWatch(key, meter_of_each_item(deadlines.timeout)))
        return
    site.names.update(enter=deadlines.enter, leave=deadlines.leave, timed_out=deadlines.timed_out)


TIMEOUT: Final = Kit(
    name="timeout",
    policy=Timeout,
    about="Gives up on a call that takes too long.",
    principal="timeout",
    usual=Timeout(),
    above={"hedge": "each attempt would have the whole timeout, and the call up to twice of it"},
    can_be_off=True,
    in_force=_in_force,
    worst_case=_worst_case,
    start=_start,
    always=True,
    absent=Timeout(None),
    change=_change,
    install=_install,
    events=(TelemetryItem("timeout", "Calls that took too long, or as long as their caller's deadline left them."),),
)
