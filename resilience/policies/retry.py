"""The retry's kit: a loop around everything below it."""

from __future__ import annotations

import functools
from math import inf
from typing import Any, Final

from ..core.retry import Retry
from ..drivers.retry_layers import layer
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, Kit, Telling
from ..engine.retrying import Retrying, RetryPolicy
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError


def _suits(retry: Retry, declaration: Any, flavour: Flavour, key: str) -> None:
    if flavour.is_generator:
        raise ConfigError(f"{key}: a generator cannot be tried again once it has yielded; retry what it calls", "retry")


def _worst_case(retry: Retry, below: WorstCase) -> WorstCase:
    limit = retry.total_limit(None if below.seconds == inf else below.seconds)  # the waits are among them
    return below.repeated(retry.attempts, retry.longest_pauses(), limit)


def _start(retry: Retry, runtime: CommandRuntime) -> RetryPolicy:
    return RetryPolicy(retry, runtime.services.budget(runtime.group, retry.budget))


def _change(held: RetryPolicy, retry: Retry | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    if retry is not None:
        held.policy = retry
        held.budget = runtime.services.budget(runtime.group, retry.budget)
    return None


def _timeout(site: Site) -> float | None:
    """Seconds that an attempt may take; None: nothing ends it."""
    machine = site.runtime.named("timeout")
    seconds: float | None = machine.timeout
    return seconds if site.flavour.is_async or site.flavour is Flavour.THREAD else None


def _waits(site: Site, retry: Retry) -> float:
    """Seconds that an attempt may wait for its turn, as the policies below the retry say."""
    policies = list(site.chain.items())
    below = WorstCase(0.0, unbounded="")
    for kit, policy in reversed(policies[policies.index((RETRY, retry)) + 1:]):
        below = kit.worst_case(policy, below)
    return below.seconds


def _install(site: Site, retry: Retry, held: RetryPolicy) -> None:
    runtime, services = site.runtime, site.runtime.services
    retrying = Retrying(held, key=runtime.key, group=runtime.group, clock=runtime.clock, random=services.random,
                        recorder=runtime.recorder, emitter=services.emitter, accounting=site.accounting,
                        timeout=functools.partial(_timeout, site), waits=_waits(site, retry))
    site.names.update(retries=held, again=retrying.again, unwanted=retrying.unwanted, key=runtime.key,
                      layer_above=layer.get, mark_retried=layer.set, backoff_sleep=(
                          retrying.backoff_sleep_async if site.flavour.is_async else retrying.backoff_sleep))


RETRY: Final = Kit(
    name="retry",
    policy=Retry,
    about="Tries a failed call again, after a delay and within a budget.",
    above={
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
    no_op={"on": (), "on_result": None},
    suits=_suits,
    start=_start,
    change=_change,
    install=_install,
    worst_case=_worst_case,
    events=(Telling("retry", "Attempts that were followed by another one."),
            Telling("retry_left_to_caller", "Failed attempts that were left to a retry further out, which repeats the "
                                            "whole call."),),
)
