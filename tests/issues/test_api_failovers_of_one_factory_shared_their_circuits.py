"""Two clients that one factory makes call different targets, and yet the second was refused for the first one's failures.

A derived key is nobody's wish to share; functions with a failover had their name alone for a key, whoever stood under it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from resilience import CircuitBreaker, Failover, Fallback, Pipeline, Registry, Retry, configure, failover
from resilience.testing import ManualClock

BREAKER = CircuitBreaker(consecutive=2, failure_rate=None)
ABOVE = {"nothing": (), "a retry": (Retry(attempts=2, base=0.0, on=KeyError),),
         "a fallback": (Fallback(lambda: "none", on=KeyError),)}


def sync_client(works: bool) -> Callable[..., Any]:
    def get(target: str = "") -> str:
        if not works:
            raise OSError(target)
        return target
    return get


def async_client(works: bool) -> Callable[..., Any]:
    async def get(target: str = "") -> str:
        return str(sync_client(works)(target))
    return get


def generator_client(works: bool) -> Callable[..., Any]:
    def get(target: str = "") -> Any:
        yield sync_client(works)(target)
    return get


def async_generator_client(works: bool) -> Callable[..., Any]:
    async def get(target: str = "") -> Any:
        yield sync_client(works)(target)
    return get


async def _first(stream: Any) -> Any:
    return await stream.__anext__()


RUN = {sync_client: lambda get: get(), generator_client: lambda get: next(get()),
       async_client: lambda get: asyncio.run(get()), async_generator_client: lambda get: asyncio.run(_first(get()))}


def guarded(fn: Callable[..., Any], registry: Registry, key: str | None = None, above: tuple[Any, ...] = ()) -> Any:
    return Pipeline(*above, Failover(("eu", "us")), BREAKER, key=key, registry=registry)(fn)


@pytest.mark.parametrize("above", ABOVE)
@pytest.mark.parametrize("client", RUN)
def test_each_product_of_a_factory_has_targets_of_its_own(client: Callable[..., Any], above: str) -> None:
    registry = Registry(clock=ManualClock())
    ill, well = (guarded(client(works), registry, above=ABOVE[above]) for works in (False, True))
    for _ in range(3):
        with pytest.raises(Exception):  # noqa: B017 - the failure first, and then refusals
            RUN[client](ill)
    assert {"open"} == {ill.resilience[target].state for target in ("eu", "us")}
    assert {"closed"} == {well.resilience[target].state for target in ("eu", "us")}
    assert "eu" == RUN[client](well)


def test_the_targets_of_the_second_have_a_number() -> None:
    registry = Registry()
    first, second = (guarded(sync_client(True), registry) for _ in range(2))
    name = f"{__name__}.sync_client.<locals>.get"
    assert [f"{name}[eu]", f"{name}[us]"] == [first.resilience[target].key for target in ("eu", "us")]
    assert [f"{name}[eu]#2", f"{name}[us]#2"] == [second.resilience[target].key for target in ("eu", "us")]


class Client:
    def __init__(self, registry: Registry, works: bool) -> None:
        self.works = works
        self.get = guarded(self._get, registry)

    def _get(self, target: str = "") -> str:
        return str(sync_client(self.works)(target))


def test_each_instance_that_guards_its_method_has_targets_of_its_own() -> None:
    registry = Registry()
    ill, well = Client(registry, False), Client(registry, True)
    for _ in range(3):
        with pytest.raises(Exception):  # noqa: B017 - as above
            ill.get()
    assert "eu" == well.get()


def test_lambdas_have_targets_of_their_own() -> None:
    registry = Registry()
    one, other = (guarded(lambda target="", number=number: f"{target} {number}", registry) for number in (1, 2))
    one.resilience["eu"].force_open()
    assert ("us 1", "eu 2") == (one(), other())


def test_a_key_shares_them_on_purpose() -> None:
    registry = Registry()
    one, other = (guarded(sync_client(True), registry, key="shop") for _ in range(2))
    assert one.resilience["eu"] is other.resilience["eu"]


def test_what_a_file_says_of_a_target_holds_for_all_that_the_factory_makes() -> None:
    registry = Registry()
    name = f"{__name__}.sync_client.<locals>.get"
    first, second = (guarded(sync_client(True), registry) for _ in range(2))
    configure({"commands": {f"{name}[eu]": {"breaker": {"consecutive": 7}}}}, registry=registry)
    third = guarded(sync_client(True), registry)
    assert [7, 7, 7] == [each.resilience["eu"].settings.breaker.consecutive for each in (first, second, third)]
    assert 2 == second.resilience["us"].settings.breaker.consecutive


def test_they_go_with_their_function_and_their_numbers_are_used_again() -> None:
    registry = Registry()
    stays = guarded(sync_client(True), registry)
    for _ in range(100):
        assert "eu" == guarded(sync_client(True), registry)()
        gc.collect()
    last = guarded(sync_client(True), registry)
    assert [*stays.resilience, *last.resilience] == list(registry)
    assert last.resilience["eu"].key.endswith("#2")


def test_a_decorator_over_a_decorator_is_one_function() -> None:
    registry = Registry()

    @failover(["eu", "us"], registry=registry)
    @Pipeline(BREAKER, registry=registry)
    def get(target: str = "") -> str:
        return target

    assert "eu" == get()
    assert 2 == len(list(registry))
