"""The retry's kit: a loop around everything below it."""

from __future__ import annotations

from math import inf
from typing import Any, Final

from ..core.retry import Retry
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
    limit = inf if retry.time_limit is None else retry.time_limit
    return below.repeated(retry.attempts, retry.longest_pauses(), limit)


def _start(retry: Retry, runtime: CommandRuntime) -> RetryPolicy:
    return RetryPolicy(retry, runtime.services.budget(runtime.group, retry.budget))


def _change(held: RetryPolicy, retry: Retry | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    if retry is not None:
        held.policy = retry
        held.budget = runtime.services.budget(runtime.group, retry.budget)
    return None


def _install(site: Site, retry: Retry, held: RetryPolicy) -> None:
    runtime, services = site.runtime, site.runtime.services
    retrying = Retrying(held, key=runtime.key, group=runtime.group, clock=runtime.clock, random=services.random,
                        recorder=runtime.recorder, emitter=services.emitter, accounting=site.accounting)
    site.names.update(retries=held, again=retrying.again, unwanted=retrying.unwanted, backoff_sleep=(
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
    events=(Telling("retry", "Attempts that were followed by another one."),),
)
