"""Each further policy where it has nothing to do, beside every peer that has it, and a chain of seven.

A retry that does not retry, a rate limit that does not wait, an answer that is in
the cache: what a policy costs the calls that it is not for, and the cache those that
it is for. A peer that is not installed is named and left out.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module

import resilience
from resilience import (
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Pipeline,
    RateLimit,
    Registry,
    Retry,
    Throttle,
    Timeout,
    http_status,
)

from .harness import Stopwatch, Subject, Timing
from .peers import async_echo, echo
from .report import Gate, Section, Table

PLENTY = 1_000_000_000  # calls per second: nobody ever waits
KINDS = ("retry", "rate limit", "cache hit")
HALF = 0.5  # of the cheapest peer's overhead
CHAIN = "ours: async chain of seven"
CHAIN_BOUND = 4.0
JUDGED_BOUND_NS = 60.0


def run(*, rounds: int) -> Section:
    """Measure all policies in *rounds* interleaved rounds."""
    notes: list[str] = []
    subjects = [Subject(name="bare", call=echo), Subject(name="async bare", call=async_echo, is_async=True), *_ours()]
    for peer in PEERS:
        try:
            subjects.extend(peer())
        except ImportError:
            notes.append(f"{peer.__name__[1:]} is not installed")
    timings = Stopwatch(rounds=rounds).measure(subjects)
    return Section(name="policies", tables=list(_tables(subjects, timings)), gates=list(_gates(timings)), notes=notes)


def _ours() -> Iterator[Subject]:
    mine = Registry()
    yield Subject(name="ours: retry", call=resilience.retry(key="retry", registry=mine)(echo))
    yield Subject(name="ours: async retry", call=resilience.retry(key="aretry", registry=mine)(async_echo), is_async=True)
    limit = resilience.rate_limit(PLENTY, key="rate", registry=mine)
    yield Subject(name="ours: rate limit", call=limit(echo))
    limit = resilience.rate_limit(PLENTY, key="arate", registry=mine)
    yield Subject(name="ours: async rate limit", call=limit(async_echo), is_async=True)
    yield Subject(name="ours: cache hit", call=resilience.cache(key="cache", registry=mine)(echo))
    yield Subject(name="ours: async cache hit", call=resilience.cache(key="acache", registry=mine)(async_echo),
                  is_async=True)
    hedge = resilience.hedge(idempotent=True, delay=1.0, key="hedge", registry=mine)
    yield Subject(name="ours: async hedge", call=hedge(async_echo), is_async=True)
    yield Subject(name="ours: adaptive limit", call=resilience.adaptive_limit(key="adaptive", registry=mine)(echo))
    yield Subject(name="ours: throttle", call=resilience.throttle(key="throttle", registry=mine)(echo))
    breaker = resilience.circuit_breaker(key="abreaker", registry=mine)
    yield Subject(name="ours: async breaker", call=breaker(async_echo), is_async=True)
    for name, where in (("status_code", Answer), ("status", OtherAnswer)):
        answer = where()
        for rules, failures in (("", None), (f" judged by {name}", http_status())):
            judged = resilience.command(key=f"{name}{rules}", registry=mine, timeout=None, failures=failures)
            yield Subject(name=f"ours: command, {where.__name__}{rules}", call=judged(lambda x, answer=answer: answer))
    seven = Pipeline(Fallback(lambda x: 0), Retry(), CircuitBreaker(), Throttle(), RateLimit(PLENTY), Bulkhead(10),
                     Timeout(1.0), key="seven", registry=mine)
    yield Subject(name=CHAIN, call=seven(async_echo), is_async=True)


class Answer:
    """What requests and httpx return, as far as failure rules look at it."""

    def __init__(self) -> None:
        self.status_code = 200


class OtherAnswer:
    """What aiohttp returns."""

    def __init__(self) -> None:
        self.status = 200


def _tenacity() -> Iterator[Subject]:
    module = import_module("tenacity")
    retry = module.retry(stop=module.stop_after_attempt(3), wait=module.wait_exponential_jitter())
    yield Subject(name="retry: tenacity", call=retry(echo))
    yield Subject(name="async retry: tenacity", call=retry(async_echo), is_async=True)


def _stamina() -> Iterator[Subject]:
    retry = import_module("stamina").retry(on=OSError)
    yield Subject(name="retry: stamina", call=retry(echo))
    yield Subject(name="async retry: stamina", call=retry(async_echo), is_async=True)


def _backoff() -> Iterator[Subject]:
    module = import_module("backoff")
    retry = module.on_exception(module.expo, OSError, max_tries=3)
    yield Subject(name="retry: backoff", call=retry(echo))
    yield Subject(name="async retry: backoff", call=retry(async_echo), is_async=True)


def _hyx() -> Iterator[Subject]:
    retry = import_module("hyx.retry").retry(on=OSError, attempts=3)
    yield Subject(name="async retry: hyx", call=retry(async_echo), is_async=True)
    bucket, made = import_module("hyx.ratelimit").tokenbucket, []

    async def limited(x: int) -> int:
        if not made:  # it wants a running loop
            made.append(bucket(PLENTY, 1)(async_echo))
        result: int = await made[0](x)
        return result

    yield Subject(name="async rate limit: hyx", call=limited, is_async=True)


def _interlock() -> Iterator[Subject]:
    build = import_module("interlock").Pipeline.builder
    yield Subject(name="retry: interlock", call=build().retry(attempts=3).build()(echo))
    yield Subject(name="async retry: interlock", call=build().retry(attempts=3).build()(async_echo), is_async=True)


def _pyresilience() -> Iterator[Subject]:
    module = import_module("pyresilience")
    retry = module.resilient(retry=module.RetryConfig())
    yield Subject(name="retry: pyresilience", call=retry(echo))
    yield Subject(name="async retry: pyresilience", call=retry(async_echo), is_async=True)
    for prefix, fn in (("", echo), ("async ", async_echo)):
        limit = module.resilient(rate_limiter=module.RateLimiterConfig(max_calls=PLENTY, period=1.0))
        yield Subject(name=f"{prefix}rate limit: pyresilience", call=limit(fn), is_async=fn is async_echo)
        cached = module.resilient(cache=module.CacheConfig())
        yield Subject(name=f"{prefix}cache hit: pyresilience", call=cached(fn), is_async=fn is async_echo)


def _limits() -> Iterator[Subject]:
    module, item = import_module("limits"), import_module("limits").RateLimitItemPerSecond(PLENTY)
    hit = module.strategies.FixedWindowRateLimiter(module.storage.MemoryStorage()).hit

    def limited(x: int) -> int:
        if not hit(item, "bench"):
            raise RuntimeError
        return echo(x)

    yield Subject(name="rate limit: limits, fixed window", call=limited)


def _pyrate_limiter() -> Iterator[Subject]:
    module = import_module("pyrate_limiter")
    acquire = module.Limiter(module.Rate(PLENTY, module.Duration.SECOND)).try_acquire

    def limited(x: int) -> int:
        acquire("bench")
        return echo(x)

    yield Subject(name="rate limit: pyrate-limiter", call=limited)


def _aiolimiter() -> Iterator[Subject]:
    limiter = import_module("aiolimiter").AsyncLimiter(PLENTY, 1.0)

    async def limited(x: int) -> int:
        async with limiter:
            return await async_echo(x)

    yield Subject(name="async rate limit: aiolimiter", call=limited, is_async=True)


def _cachetools() -> Iterator[Subject]:
    module = import_module("cachetools")
    cached = module.cached(module.TTLCache(maxsize=1024, ttl=3600), lock=threading.RLock())
    yield Subject(name="cache hit: cachetools, TTL and lock", call=cached(echo))


def _async_lru() -> Iterator[Subject]:
    cached = import_module("async_lru").alru_cache(ttl=3600)
    yield Subject(name="async cache hit: async_lru, TTL", call=cached(async_echo), is_async=True)


def _aiocache() -> Iterator[Subject]:
    cached = import_module("aiocache").cached(ttl=3600)
    yield Subject(name="async cache hit: aiocache, TTL", call=cached(async_echo), is_async=True)


def _nopanic() -> Iterator[Subject]:
    module = import_module("nopanic")
    for prefix, fn in (("", echo), ("async ", async_echo)):
        is_async = fn is async_echo
        yield Subject(name=f"{prefix}retry: nopanic", call=module.retry(attempts=3)(fn), is_async=is_async)
        limit = module.rate_limit(PLENTY, per=1.0)
        yield Subject(name=f"{prefix}rate limit: nopanic", call=limit(fn), is_async=is_async)
        yield Subject(name=f"{prefix}cache hit: nopanic", call=module.cache(ttl=3600)(fn), is_async=is_async)
    hedge = module.hedge(delay=1.0)
    yield Subject(name="async hedge: nopanic", call=hedge(async_echo), is_async=True)


PEERS = (_nopanic, _tenacity, _stamina, _backoff, _hyx, _interlock, _pyresilience, _limits, _pyrate_limiter, _aiolimiter,
         _cachetools, _async_lru, _aiocache)


def _overheads(timings: Mapping[str, Timing]) -> dict[str, float]:
    """Of each subject over the bare function of its kind, ns."""
    return {name: timing.over(timings["async bare" if "async" in name else "bare"]).minimum
            for name, timing in timings.items()}


def _tables(subjects: Iterable[Subject], timings: Mapping[str, Timing]) -> Iterator[Table]:
    overheads = _overheads(timings)
    for title, wanted in (("Sync policies", False), ("Async policies", True)):
        rows = [(each.name, round(timings[each.name].minimum), round(overheads[each.name]))
                for each in subjects if each.is_async is wanted]
        yield Table(title=f"{title}: ns per call, least of the rounds", columns=("", "ns", "overhead"), rows=rows)


def _gates(timings: Mapping[str, Timing]) -> Iterator[Gate]:
    overheads = _overheads(timings)
    for kind in (f"{prefix}{kind}" for kind in KINDS for prefix in ("", "async ")):
        peers = {name: cost for name, cost in overheads.items() if name.startswith(f"{kind}: ")}
        if peers:
            cheapest = min(peers, key=lambda name: peers[name])
            yield Gate(what=f"{kind} / {cheapest.partition(': ')[2]}, the cheapest peer",
                       measured=overheads[f"ours: {kind}"] / peers[cheapest], bound=HALF)
    yield Gate(what="async chain of seven policies / async breaker", bound=CHAIN_BOUND,
               measured=overheads[CHAIN] / overheads["ours: async breaker"])
    for name in ("Answer judged by status_code", "OtherAnswer judged by status"):
        plain = f"ours: command, {name.partition(' ')[0]}"
        yield Gate(what=f"what an HTTP status rule adds to a command, {name}", bound=JUDGED_BOUND_NS, unit=" ns",
                   measured=overheads[f"ours: command, {name}"] - overheads[plain])


