"""The peers' guards around the same two functions, each as its own documentation shows it.

All thresholds are such that nothing opens while calls succeed. A peer that is not
installed yields no subject; the report says so. Modules are imported by name, so
that neither the suite nor the type checkers need any of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from time import monotonic
from typing import Any

from .harness import Subject

Guard = Callable[[Callable[..., Any]], Callable[[int], Any]]


def echo(x: int) -> int:
    """The guarded function: nothing."""
    return x


async def async_echo(x: int) -> int:
    """The guarded coroutine function: nothing, without suspending."""
    return x


async def suspending_echo(x: int) -> int:
    """As real calls do, it gives the loop a turn."""
    await asyncio.sleep(0)
    return x


class PlainError(Exception):
    """What a refusal is compared with: an exception that carries one attribute."""

    def __init__(self, key: str) -> None:
        self.key = key


def catching(call: Callable[[int], object], error: type[Exception]) -> Callable[[int], None]:
    """Raise and catch: *call* must raise *error*."""

    def attempt(x: int) -> None:
        try:
            call(x)
        except error:
            return
        raise AssertionError("nothing was raised")

    return attempt


def closure(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The cheapest decorator there is."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


def floor(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The least that a guard which measures time can do."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        monotonic()
        try:
            return fn(*args, **kwargs)
        finally:
            monotonic()

    return wrapper


def async_floor(fn: Callable[..., Any]) -> Callable[..., Any]:
    """floor(), for a coroutine function."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        monotonic()
        try:
            return await fn(*args, **kwargs)
        finally:
            monotonic()

    return wrapper


def asyncio_timeout(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The standard library's timeout around each call."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        async with asyncio.timeout(1.0):
            return await fn(*args, **kwargs)

    return wrapper


def refusing(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A closure that raises a plain exception instead of calling."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        raise PlainError("bench")

    return wrapper


def limits(pool: ThreadPoolExecutor) -> Iterator[Subject]:
    """What any implementation in Python pays at least."""
    yield Subject(name="bare", call=echo)
    yield Subject(name="closure", call=closure(echo))
    yield Subject(name="floor: closure, 2 clock reads, try", call=floor(echo))
    yield Subject(name="plain exception, raised and caught", call=catching(refusing(echo), PlainError))
    yield Subject(name="submit(f).result()", call=lambda x: pool.submit(echo, x).result())
    yield Subject(name="async bare", call=async_echo, is_async=True)
    yield Subject(name="async floor", call=async_floor(async_echo), is_async=True)
    yield Subject(name="async bare, suspending", call=suspending_echo, is_async=True)
    yield from timeouts()


def timeouts() -> Iterator[Subject]:
    """asyncio's own timeout; measured again on each kind of loop."""
    yield Subject(name="asyncio.timeout", call=asyncio_timeout(async_echo), is_async=True)
    yield Subject(name="asyncio.timeout, suspending", call=asyncio_timeout(suspending_echo), is_async=True)


def circuitbreaker() -> Iterator[Subject]:
    """circuitbreaker: a count of consecutive failures, no lock."""
    circuit = import_module("circuitbreaker").circuit
    yield Subject(name="circuitbreaker", call=circuit(name="bench")(echo))
    yield Subject(name="async circuitbreaker", call=circuit(name="abench")(async_echo), is_async=True)


def pybreaker() -> Iterator[Subject]:
    """pybreaker: a lock held during the call."""
    yield Subject(name="pybreaker", call=import_module("pybreaker").CircuitBreaker()(echo))


def aiobreaker() -> Iterator[Subject]:
    """aiobreaker: pybreaker's fork for asyncio, usable on plain functions too."""
    breaker = import_module("aiobreaker").CircuitBreaker
    yield Subject(name="aiobreaker", call=breaker(timeout_duration=timedelta(seconds=60))(echo))
    guarded = breaker(timeout_duration=timedelta(seconds=60))(async_echo)
    yield Subject(name="async aiobreaker", call=guarded, is_async=True)


def purgatory() -> Iterator[Subject]:
    """purgatory: a unit of work around each call."""
    module = import_module("purgatory")
    yield Subject(name="purgatory", call=module.SyncCircuitBreakerFactory()("bench")(echo))
    guarded = module.AsyncCircuitBreakerFactory()("bench")(async_echo)
    yield Subject(name="async purgatory", call=guarded, is_async=True)


def hyx() -> Iterator[Subject]:
    """hyx: asynchronous only."""
    guarded = import_module("hyx.circuitbreaker").consecutive_breaker()(async_echo)
    yield Subject(name="async hyx", call=guarded, is_async=True)


def interlock() -> Iterator[Subject]:
    """interlock-cb: time window, slow calls, pipelines."""
    module = import_module("interlock")

    def breaker(name: str) -> Any:
        return module.CircuitBreaker(name=name)

    def pipeline(name: str) -> Any:
        builder = module.Pipeline.builder().fallback(lambda error: 0)
        return builder.circuit_breaker(breaker(name)).bulkhead(10)

    yield Subject(name="interlock", call=breaker("a")(echo))
    yield Subject(name="interlock fallback+breaker+bulkhead", call=pipeline("b").build()(echo))
    yield Subject(name="async interlock", call=breaker("c")(async_echo), is_async=True)
    full = pipeline("d").timeout(1.0).build()(async_echo)
    yield Subject(name="async interlock fallback+breaker+bulkhead+timeout", call=full, is_async=True)


def pyresilience() -> Iterator[Subject]:
    """pyresilience: one decorator for all policies."""
    module = import_module("pyresilience")

    def guard(**policies: Any) -> Guard:
        guarded: Guard = module.resilient(circuit_breaker=module.CircuitBreakerConfig(), **policies)
        return guarded

    yield Subject(name="pyresilience", call=guard()(echo))
    yield Subject(name="pyresilience breaker+bulkhead", call=guard(bulkhead=module.BulkheadConfig())(echo))
    yield Subject(name="async pyresilience", call=guard()(async_echo), is_async=True)


def nopanic() -> Iterator[Subject]:
    """nopanic: one decorator a policy, to be composed."""
    module = import_module("nopanic")

    def whole(name: str) -> list[Any]:
        return [module.fallback(0), module.circuit_breaker(name=name), module.bulkhead(10, max_wait=0)]

    yield Subject(name="nopanic", call=module.circuit_breaker(name="a")(echo))
    yield Subject(name="nopanic fallback+breaker+bulkhead", call=module.compose(*whole("b"))(echo))
    yield Subject(name="async nopanic", call=module.circuit_breaker(name="c")(async_echo), is_async=True)
    yield Subject(name="async nopanic timeout", call=module.timeout(1.0)(async_echo), is_async=True)
    full = module.compose(*whole("d"), module.timeout(1.0))(async_echo)
    yield Subject(name="async nopanic fallback+breaker+bulkhead+timeout", call=full, is_async=True)


def fluxgate() -> Iterator[Subject]:
    """fluxgate: a breaker made of rules; its sync one is not thread-safe."""
    module = import_module("fluxgate")
    yield Subject(name="fluxgate", call=module.CircuitBreaker()(echo))
    yield Subject(name="async fluxgate", call=module.AsyncCircuitBreaker()(async_echo), is_async=True)


def installed() -> tuple[list[Subject], list[str]]:
    """The subjects of all peers that are here, and the names of those that are not."""
    subjects: list[Subject] = []
    absent: list[str] = []
    for peer in (circuitbreaker, pybreaker, aiobreaker, purgatory, hyx, interlock, pyresilience, nopanic, fluxgate):
        try:
            subjects.extend(peer())
        except ImportError:
            absent.append(peer.__name__)
    return subjects, absent
