"""The cache's kit: a layer over the wrapper, which answers without it if it can."""

from __future__ import annotations

from typing import Any, Final

import attrs

from ..core.cache import Cache
from ..drivers.background_calls import BackgroundCalls
from ..engine.cache_keys import CacheKeys
from ..engine.caching import Caches, Caching
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError

_BELOW: Final = ("retry", "failover", "breaker", "throttle", "rate_limit", "max_concurrent", "adaptive_limit",
                 "timeout", "hedge")


def _suits(cache: Cache, declaration: Any, flavour: Flavour, key: str) -> None:
    if flavour.is_generator:
        raise ConfigError(f"{key}: a generator has no result to keep; cache what it calls, or return a list", "cache")


def _start(cache: Cache, runtime: CommandRuntime) -> Caches:
    return Caches(cache, BackgroundCalls(runtime.key, runtime.services.background_pool))


def _change(caches: Caches, cache: Cache | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    if cache is None:
        caches.switch_off()
    else:
        caches.configure(cache)
    return None


def _cannot_change(caches: Caches, cache: Cache) -> str | None:
    return "it was decorated without stale_if_error, and its calls do not hand their failures to the cache; decorate " \
           "it with stale_if_error=..." if cache.stale_if_error and not caches.can_be_stale else None


def _forget(caches: Caches, now: float) -> None:
    caches.clear()


def _renew(caches: Caches, now: float) -> None:
    caches.renew()


def _install(site: Site, cache: Cache, caches: Caches) -> None:
    runtime = site.runtime
    with runtime.services.lock:
        caching = Caching(caches, CacheKeys(site.fn, cache.by, site.apart), site)
        caches.add(caching)
        if site.may_be_stale:
            caches.can_be_stale = site.accounting.hands_up = True
    site.fall_back = caching.fall_back
    site.layers.append(caching.over)


def _worst_case(cache: Cache, below: WorstCase) -> WorstCase:
    return attrs.evolve(below, besides=(*below.besides, "as long again for each caller of the same arguments that it "
                                                        "waits for and that gives up"))


CACHE: Final = Kit(
    name="cache",
    policy=Cache,
    about="Answers equal calls without executing them.",
    no_block="a cache answers without running the code, and Python runs a block that it has entered",
    above=dict.fromkeys(_BELOW, "an answer that is there already would have to pass it"),
    kept=("by",),
    compiled_in=("stale_if_error",),
    can_be_off=True,
    suits=_suits,
    start=_start,
    change=_change,
    cannot_change=_cannot_change,
    forget=_forget,
    renew=_renew,
    install=_install,
    worst_case=_worst_case,
    events=(TelemetryItem("responses_from_cache", "Calls that were answered without an execution of their own."),
            TelemetryItem("stale_responses",
                          "Calls that failed, or waited for one that did, and got an expired answer."),
            TelemetryItem("refresh", "Executions in the background that were to renew an answer before it expires."),
            TelemetryItem("refresh_failure", "Refreshes that brought no new answer, or could not begin.")),
)
