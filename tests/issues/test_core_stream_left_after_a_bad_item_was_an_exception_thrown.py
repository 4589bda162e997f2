"""A consumer that left a stream whose item had been judged failed was counted as if an exception had been thrown at it,
and as if a fallback had been missing. Nothing was thrown: the item was passed on, and the consumer went.
"""

import asyncio

import pytest

from resilience import FailureRules, Registry, command

RULES = {"by predicate": FailureRules(items=lambda item: item == "bad"),
         "by judge": FailureRules(lambda ending: ending.result == "bad" if ending.is_item else None)}


def counts(stream):
    return {name: n for name, n in stream.resilience.snapshot().counts.items() if n}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_a_generator_that_is_left_after_a_bad_item_counts_as_one_failure_and_no_more(rules):
    @command(timeout=None, failures=rules, registry=Registry())
    def stream():
        yield "bad"
        yield "good"

    items = stream()
    assert "bad" == next(items)
    items.close()

    assert {"failure": 1, "emit": 1} == counts(stream)
    assert 0 == stream.resilience.in_flight


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_so_does_an_async_generator_whether_it_is_closed_or_cancelled(rules):
    @command(timeout=None, failures=rules, registry=Registry())
    async def stream():
        yield "bad"
        await asyncio.Event().wait()

    async def close():
        items = stream()
        assert "bad" == await anext(items)
        await items.aclose()

    async def cancel():
        async def consume():
            async for _ in stream():
                seen.set()

        seen = asyncio.Event()
        task = asyncio.ensure_future(consume())
        await seen.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(close())
    assert {"failure": 1, "emit": 1} == counts(stream)
    asyncio.run(cancel())
    assert {"failure": 2, "emit": 2} == counts(stream)


def test_an_exception_after_a_bad_item_is_still_one_that_was_thrown():
    @command(timeout=None, failures=RULES["by predicate"], registry=Registry())
    def stream():
        yield "bad"
        raise OSError

    with pytest.raises(OSError):
        list(stream())

    assert {"failure": 1, "emit": 1, "fallback_missing": 1, "exceptions_thrown": 1} == counts(stream)
