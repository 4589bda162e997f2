"""Copies of cached answers: what a caller does to an answer is nobody else's business."""

import asyncio
import copy
import threading

import pytest

from resilience import Cache, Fallback, Pipeline, Registry, configure
from resilience.events import RefreshFailed
from resilience.testing import assert_counts, virtual_time
from tests.drivers.until import until

KINDS = ["def", "async def", "thread"]


def called(kind, registry, body, *policies, **settings):
    from resilience import Timeout

    async def coroutine(key):
        return body(key)

    fallback = [each for each in policies if isinstance(each, Fallback)]
    stack = [*fallback, Cache(**settings), *([Timeout(60.0)] if kind == "thread" else [])]
    guarded = Pipeline(*stack, registry=registry, key="k")(coroutine if kind == "async def" else body)
    return guarded, guarded if kind != "async def" else lambda key: asyncio.run(guarded(key))


@pytest.mark.parametrize("kind", KINDS)
def test_callers_that_change_their_answer_do_not_change_what_is_kept(registry, clock, kind):
    guarded, call = called(kind, registry, lambda key: [key], copy=copy.deepcopy, ttl=10.0, stale_if_error=5.0)
    for _ in range(4):
        answer = call("a")
        assert ["a"] == answer
        answer.append("changed")
    assert_counts(guarded, success=1, responses_from_cache=3)


@pytest.mark.parametrize("kind", KINDS)
def test_an_expired_answer_is_a_copy_too(registry, clock, kind):
    down = []

    def body(key):
        if down:
            raise OSError
        return [key]

    _, call = called(kind, registry, body, copy=list.copy, ttl=10.0, stale_if_error=5.0)
    call("a").append("changed")
    clock.advance(10.0)
    down.append(True)
    for _ in range(3):
        answer = call("a")
        assert ["a"] == answer
        answer.append("changed")


def test_each_of_those_who_wait_for_one_execution_gets_a_copy_of_its_own():
    async def main():
        loop = asyncio.get_running_loop()

        @Pipeline(Cache(copy=list.copy), registry=Registry(clock=loop.time))
        async def fn(key):
            await asyncio.sleep(1.0)
            return [key]

        async def caller():
            answer = await fn("a")
            found = list(answer)
            answer.append("changed")
            return found, answer

        found = await asyncio.gather(*(caller() for _ in range(5)))
        assert [["a"]] * 5 == [first for first, _ in found]
        assert 5 == len({id(answer) for _, answer in found})

    virtual_time(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cache_none", [True, False])
def test_none_needs_no_copy(registry, kind, cache_none):
    _, call = called(kind, registry, lambda key: None, copy=list.copy, cache_none=cache_none)
    assert [None, None] == [call("a"), call("a")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_that_raises_is_its_own_error_and_neither_a_failure_nor_a_case_for_the_fallback(registry, kind):
    copies = []

    def copying(value):
        copies.append(value)
        if len(copies) > 1:
            raise LookupError("mine")
        return value

    guarded, call = called(kind, registry, lambda key: [key], Fallback(lambda key: "fallback"), copy=copying,
                           stale_if_error=5.0)
    call("a")
    with pytest.raises(LookupError, match="mine"):
        call("a")
    assert_counts(guarded, success=1, bad_request=1, exceptions_thrown=1)
    with pytest.raises(LookupError, match="mine"):
        call("b")
    assert 1 == guarded.resilience.cached
    assert_counts(guarded, success=2, bad_request=1)


def test_who_waits_hears_of_a_copy_that_raises_and_nothing_runs_again():
    async def main():
        loop, runs = asyncio.get_running_loop(), []

        @Pipeline(Cache(copy=dict.copy), registry=Registry(clock=loop.time))
        async def fn(key):
            runs.append(key)
            await asyncio.sleep(1.0)
            return [key]

        found = await asyncio.gather(*(fn("a") for _ in range(5)), return_exceptions=True)
        assert ([TypeError] * 5, 1) == ([type(each) for each in found], len(runs))

    virtual_time(main())


def test_a_copy_that_raises_in_a_refresh_is_told(registry, clock):
    told, broken = [], []
    registry.subscribe(RefreshFailed, told.append)

    def copying(value):
        if broken and threading.current_thread() is not threading.main_thread():
            raise LookupError("mine")
        return list(value)

    guarded, call = called("def", registry, lambda key: [key], copy=copying, ttl=10.0, refresh_ahead=5.0)
    call("a")
    broken.append(True)
    clock.advance(5.0)
    assert ["a"] == call("a")
    until(lambda: told)
    assert LookupError is type(told[0].error)
    registry.close()


def test_it_is_named_in_a_file_and_changed_live(registry, tmp_path):
    guarded, call = called("def", registry, lambda key: [key])
    assert call("a") is call("a")
    file = tmp_path / "resilience.toml"
    file.write_text('[commands.k.cache]\ncopy = "copy:deepcopy"\n', encoding="utf-8")
    configuration = configure(file, registry=registry, environ={}, watch=False)
    assert copy.deepcopy is guarded.resilience.settings.cache.copy
    first = call("a")
    assert ["a"] == first
    assert first is not call("a")
    configuration.close()
    assert call("a") is call("a")
