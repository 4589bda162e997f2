"""The retry's kit: a loop around everything below it."""

from __future__ import annotations

import functools
from math import inf
from typing import Any, Final

from ..core.hedge import longest_call
from ..core.retry import Retry, longest_pauses, most_held, total_limit
from ..core.stream_timeout import longest_until
from ..drivers.retry_layers import layer
from ..drivers.stream_timeouts import for_each_item
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, Kit, TelemetryItem
from ..engine.retrying import Retrying, RetryPolicy
from ..engine.site import Site
from ..engine.stream_buffer import StreamBuffer
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError


def _suits(retry: Retry, declaration: Any, flavour: Flavour, key: str) -> None:
    if flavour.is_generator and retry.on_result is not None:
        raise ConfigError(f"{key}: what a generator returns comes after its items, when it cannot be tried again; "
                          "judge its first items by failures=FailureRules(items=...)", "on_result")
    if most_held(retry) and not flavour.is_generator:
        field = "hold" if retry.hold else "hold_bytes"
        raise ConfigError(f"{key}: {field} is for generators and async generators, whose first items it holds back",
                          field)


def _worst_case(retry: Retry, below: WorstCase) -> WorstCase:
    items = max(most_held(retry), 1)
    attempt = (below.seconds - below.waits) * items if below.until is None else below.until(items)
    limit = total_limit(retry, None if attempt == inf else attempt, below.waits)
    return below.repeated(retry.attempts, longest_pauses(retry), limit, attempt + below.waits)


def _start(retry: Retry, runtime: CommandRuntime) -> RetryPolicy:
    return RetryPolicy(retry, runtime.services.budget(runtime.group, retry.budget), can_hold=most_held(retry) > 0,
                       can_judge=retry.on_result is not None)


#: What a retry that is off goes by: it repeats nothing.
_OFF: Final = Retry(on=(), budget=None)


def _change(held: RetryPolicy, retry: Retry | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    held.is_on = retry is not None
    held.policy = _OFF if retry is None else retry
    held.budget = runtime.services.budget(runtime.group, held.policy.budget)
    return None


def _cannot_change(held: RetryPolicy, retry: Retry) -> str | None:
    if retry.on_result is not None and not held.can_judge:
        return "it was decorated without on_result, so that its results are not judged; decorate it with on_result=..."
    field = "hold" if retry.hold else "hold_bytes"
    return f"it was decorated without {field}, which stands in the way of each item; decorate it with {field}=..." \
        if most_held(retry) and not held.can_hold else None


def _timeout(site: Site, held: RetryPolicy) -> float | None:
    """Seconds that an attempt may take; None: nothing ends it. Above a failover it may go to all targets.

    A hedge that stands there with it may begin to go round them several times.
    """
    if site.targets:
        each = [_timeout(target, held) for target in site.targets]
        hedge = site.runtime.named("hedge")
        total = sum(filter(None, each))
        return None if None in each else total if hedge is None else longest_call(hedge.racer.config, total)
    runtime, flavour = site.runtime, site.flavour
    seconds: float | None = runtime.named("timeout").timeout
    if not flavour.is_generator:
        return seconds if flavour.is_async or flavour is Flavour.THREAD or runtime.is_moved else None
    clocks = None
    if site.has("stream_timeout"):
        clocks = runtime.named("stream_timeout").policy
    elif flavour.is_async and seconds is not None:
        clocks = for_each_item(seconds)
    longest = inf if clocks is None else longest_until(clocks, max(most_held(held.policy), 1))
    return None if longest == inf else longest


def _waits(site: Site, retry: Retry) -> float:
    """Seconds that an attempt may wait for its turn, as the policies below the retry say."""
    policies = list(site.chain.items())
    policies = policies[policies.index((RETRY, retry)) + 1:]
    if site.targets:
        policies += site.targets[0].chain.items()
    below = WorstCase(0.0, unbounded="")
    for kit, policy in reversed(policies):
        below = kit.worst_case(policy, below)
    return below.seconds


def _install(site: Site, retry: Retry, held: RetryPolicy) -> None:
    runtime, services = site.runtime, site.runtime.services
    retrying = Retrying(held, key=runtime.key, group=runtime.group, clock=runtime.clock, random=services.random,
                        recorder=runtime.recorder, emitter=services.emitter, accounting=site.accounting,
                        timeout=functools.partial(_timeout, site, held), waits=_waits(site, retry))
    held.can_judge = held.can_judge or retry.on_result is not None
    if most_held(retry):
        held.can_hold = True
        holding = StreamBuffer(held, site.names.get("judging"), site.names.get("raises_item"))
        site.names["hold"] = holding.hold_async if site.flavour.is_async else holding.hold
    site.names.update(retries=held, again=retrying.again, unwanted=retrying.unwanted, key=runtime.key,
                      layer_above=layer.get, mark_retried=layer.set, backoff_sleep=(
                          retrying.backoff_sleep_async if site.flavour.is_async else retrying.backoff_sleep))


RETRY: Final = Kit(
    name="retry",
    policy=Retry,
    about="Tries a failed call again, after a delay and within a budget.",
    no_block="a retry runs the code again, and Python runs a block once",
    above={
        "failover": "the pauses and attempts at one target would be in the way of the next",
        "breaker": "the breaker would see one failure for all attempts, and the retry would go on against an open "
                   "circuit",
        "throttle": "the throttle would see one call for all attempts",
        "rate_limit": "only the first attempt would be counted against the rate",
        "max_concurrent": "a slot would be held while the retry pauses",
        "adaptive_limit": "a slot would be held while the retry pauses, and the limit would learn from the pauses",
        "timeout": "one timeout would cover all attempts and their pauses; that is the retry's time_limit",
        "hedge": "an attempt would be hedged that is being retried already; of a hedge that failed the whole is tried "
                 "again",
    },
    can_be_off=True,
    compiled_in=("hold", "hold_bytes"),
    needs={"hold_size": "hold_bytes", "price": "budget", "busy_price": "budget"},
    suits=_suits,
    start=_start,
    change=_change,
    cannot_change=_cannot_change,
    install=_install,
    worst_case=_worst_case,
    events=(TelemetryItem("retry", "Attempts that were followed by another one."),
            TelemetryItem("retry_left_to_caller", "Failed attempts that were left to a retry further out, which "
                                                  "repeats the whole call."),),
)
