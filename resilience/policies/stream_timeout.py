"""The stream timeout's kit: bounds on a stream, by a timer of the loop, or when an item of a generator comes."""

from __future__ import annotations

import functools
from asyncio import current_task
from typing import Any, Final

import attrs

from ..core.stream_timeout import StreamTimeout, longest_until
from ..drivers.stream_timeouts import StreamTimeouts
from ..engine.command_runtime import CommandRuntime
from ..engine.failure_judge import BEGINS_WITH_HEAD, Head
from ..engine.kit import Afterwards, Kit
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError

_WHY: Final = "the wait for an item of a generator runs in its consumer's thread, where no timer can end it; set " \
              "the client's read timeout, or use an async generator"


def _suits(policy: StreamTimeout, declaration: Any, flavour: Flavour, key: str) -> None:
    if not flavour.is_generator:
        raise ConfigError(f"{key}: a stream timeout is for generators and async generators; use timeout=",
                          "stream_timeout")
    if flavour is Flavour.GENERATOR and (unreachable := _unreachable(policy)):
        raise ConfigError(f"{key}: {unreachable}: {_WHY}", "stream_timeout")


def _unreachable(policy: StreamTimeout) -> str:
    """The fields that mean nothing to a generator; empty: none does."""
    fields = [name for name in ("first_item", "between_items") if getattr(policy, name) is not None]
    return " and ".join(fields)


def _cannot_change(held: StreamTimeouts, policy: StreamTimeout | None) -> str | None:
    if policy is None or not held.gauges_generators or not (unreachable := _unreachable(policy)):
        return None
    return f"{unreachable} cannot be in force for a generator: {_WHY}"


def _worst_case(policy: StreamTimeout, below: WorstCase) -> WorstCase:
    return attrs.evolve(below, until=functools.partial(longest_until, policy))


def _start(policy: StreamTimeout, runtime: CommandRuntime) -> StreamTimeouts:
    return StreamTimeouts(runtime.key, policy)


def _change(held: StreamTimeouts, policy: StreamTimeout | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    held.policy = policy
    return None


def _install(site: Site, policy: StreamTimeout, held: StreamTimeouts) -> None:
    if site.flavour is Flavour.GENERATOR:
        held.gauges_generators = True
        site.names["begin"] = held.gauge
    else:
        site.names.update(begin=held.watch, current_task=current_task)
    if getattr(site.fn, BEGINS_WITH_HEAD, False):
        site.names["begin"] = functools.partial(site.names["begin"], _after_head)


@functools.lru_cache(maxsize=64)
def _after_head(policy: StreamTimeout) -> StreamTimeout:
    """What *policy* means to a stream that begins with a Head, which is progress: no ``progress`` knows one."""
    progress = policy.progress
    if progress is None:
        return policy
    return attrs.evolve(policy, progress=lambda item: item.__class__ is Head or progress(item))


STREAM_TIMEOUT: Final = Kit(
    name="stream_timeout",
    policy=StreamTimeout,
    noun="stream timeout",
    about="Ends a stream that takes too long: until its first item, between items, as a whole, or by its rate.",
    no_block="a stream timeout looks at items, and a block yields none to it",
    instead_of={"timeout": "a stream timeout says how long each wait for an item may take, so there is none besides; "
                           "use between_items in the place of timeout"},
    above={"hedge": "each attempt would have the whole stream timeout"},
    can_be_off=True,
    suits=_suits,
    start=_start,
    change=_change,
    cannot_change=_cannot_change,
    install=_install,
    worst_case=_worst_case,
)
