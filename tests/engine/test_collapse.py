"""Collapsed calls of tasks, in virtual time: who goes with whom, who gets what, and who is harmed by whom.

facts/hystrix.md section 5, wish 22, never granted outside Hystrix: "request collapsing outside Hystrix",
resilience4j #541.
"""

import asyncio
import contextvars
import gc
import random
import weakref

import pytest

from resilience import (
    BatchResultError,
    CallTimeoutError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    MissingResultError,
    Registry,
    ResilienceError,
    collapse,
    command,
    request_context,
)
from resilience.testing import VirtualTimeLoop, virtual_time
from tests.seeds import over_seeds


async def after(seconds, call):
    await asyncio.sleep(seconds)
    return await call()


def collected(*calls):
    """What *calls*, coroutines, return or raise."""
    return asyncio.gather(*calls, return_exceptions=True)


class Served:
    """A batch function that notes when it was called and for what."""

    def __init__(self, takes=0.5, **settings):
        self.asked = []

        @collapse(**settings)
        async def load(ids):
            loop = asyncio.get_running_loop()
            self.asked.append((round(loop.time() - 1000.0, 6), list(ids)))
            await asyncio.sleep(takes)
            return {each: f"<{each}>" for each in ids if each != "missing"}

        self.load = load


def test_wish_22_single_calls_within_a_few_milliseconds_are_one_call_for_many():
    served = Served()

    async def main():
        return await asyncio.gather(*(after(0.001 * n, lambda n=n: served.load(n)) for n in range(4)))

    assert ["<0>", "<1>", "<2>", "<3>"] == virtual_time(main())
    assert [(0.005, [0, 1, 2, 3])] == served.asked


def test_a_later_call_is_in_a_later_batch():
    served = Served()

    async def main():
        await asyncio.gather(served.load(0), after(0.004, lambda: served.load(1)), after(0.006, lambda: served.load(2)))

    virtual_time(main())
    assert [(0.005, [0, 1]), (0.011, [2])] == served.asked


def test_a_full_batch_does_not_wait_any_longer():
    served = Served(max_batch=2, window=10.0)

    async def main():
        await asyncio.gather(*map(served.load, range(5)))

    virtual_time(main())
    assert [(0.0, [0, 1]), (0.0, [2, 3]), (10.0, [4])] == served.asked


def test_without_a_window_what_is_called_in_one_turn_of_the_loop_goes_together():
    served = Served(window=0)

    async def main():
        await asyncio.gather(*map(served.load, range(5)))

    virtual_time(main())
    assert [(0.0, [0, 1, 2, 3, 4])] == served.asked


def test_equal_items_are_asked_for_once_and_share_the_answer():
    served = Served(max_batch=2, window=1.0)

    async def main():
        answers = await asyncio.gather(*map(served.load, [1, 1, 1, 1.0, True]))
        assert 1 == len(set(map(id, answers)))

    virtual_time(main())
    assert [(1.0, [1])] == served.asked


def test_a_missing_answer_is_an_error_for_that_caller_alone():
    served = Served()

    async def main():
        one, missing, two = await collected(*map(served.load, [1, "missing", 2]))
        assert ("<1>", "<2>") == (one, two)
        assert isinstance(missing, MissingResultError)
        assert {LookupError, ResilienceError} == set(MissingResultError.__bases__)
        assert "missing" == missing.item
        assert missing.function.endswith("load")
        assert "no answer to 'missing'" in str(missing)

    virtual_time(main())


def test_an_answer_that_is_an_exception_is_raised_for_that_caller_alone():
    @collapse
    async def load(ids):
        return [ValueError(each) if each % 2 else each for each in ids]

    async def main():
        answers = await collected(*map(load, [0, 1, 1, 2]))
        assert [0, "ValueError(1)", "ValueError(1)", 2] == [a if isinstance(a, int) else repr(a) for a in answers]
        assert answers[1] is not answers[2]

    virtual_time(main())


def test_an_error_of_the_batch_is_everybodys_and_each_has_his_own():
    @collapse
    async def load(ids):
        raise OSError("down")

    async def main():
        errors = await collected(*map(load, [1, 2, 2]))
        assert ["OSError('down')"] * 3 == [repr(error) for error in errors]
        assert 3 == len(set(map(id, errors)))
        assert 1 == len({len(tracebacks(error)) for error in errors})
        assert "load" == tracebacks(errors[0])[-1]

    virtual_time(main())


def tracebacks(error):
    names, trace = [], error.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return names


def test_answers_of_another_number_than_items_are_everybodys_error():
    @collapse
    async def load(ids):
        return ids[1:]

    async def main():
        errors = await collected(load(1), load(2))
        assert all(isinstance(error, BatchResultError) for error in errors)
        assert "1 answers to 2 items" in str(errors[0])

    virtual_time(main())


def test_items_that_cannot_be_hashed_need_a_key_which_a_mapping_answers_by():
    @collapse
    async def plain(ids):
        return ids

    @collapse(key=lambda item: item["id"])
    async def keyed(items):
        return {each["id"]: each["name"] for each in items}

    async def main():
        with pytest.raises(TypeError, match="plain: .* collapse needs a key"):
            await plain({"id": 1})
        assert ["a", "b", "a"] == await asyncio.gather(
            keyed({"id": 1, "name": "a"}), keyed({"id": 2, "name": "b"}), keyed({"id": 1, "name": "other"}))

    virtual_time(main())


def test_a_caller_who_is_cancelled_harms_nobody_and_is_not_asked_for():
    served = Served()

    async def main():
        tasks = [asyncio.create_task(served.load(n)) for n in range(3)]
        await asyncio.sleep(0.001)
        tasks[0].cancel()  # who was first
        await asyncio.sleep(0.01)
        tasks[1].cancel()  # when the batch runs
        return await collected(*tasks)

    first, second, third = virtual_time(main())
    assert [asyncio.CancelledError] * 2 == [type(first), type(second)]
    assert "<2>" == third
    assert [(0.005, [1, 2])] == served.asked


def test_a_batch_that_everybody_left_never_starts():
    served = Served()

    async def main():
        tasks = [asyncio.create_task(served.load(n)) for n in range(3)]
        await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await collected(*tasks)
        await asyncio.sleep(1)
        assert "<7>" == await served.load(7)

    virtual_time(main())
    assert [(1.006, [7])] == served.asked


def test_a_batch_that_everybody_leaves_while_it_runs_is_cancelled():
    ended = []

    @collapse
    async def load(ids):
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(asyncio.get_running_loop().time() - 1000.0)

    async def main():
        for n in (1, 1):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(n):
                    await asyncio.gather(load(1), load(2))
            await asyncio.sleep(0)
        assert [1.0, 2.0] == ended

    virtual_time(main())


def test_a_callers_own_timeout_ends_only_his_waiting():
    served = Served(takes=1.0)

    async def hasty():
        async with asyncio.timeout(0.5):
            await served.load(1)

    async def main():
        return await collected(hasty(), served.load(2), served.load(1))

    hasty_one, *others = virtual_time(main())
    assert isinstance(hasty_one, TimeoutError)
    assert ["<2>", "<1>"] == others


def test_a_batch_function_that_is_cancelled_from_inside_cancels_who_waits():
    @collapse
    async def load(ids):
        raise asyncio.CancelledError

    async def main():
        assert [asyncio.CancelledError] * 2 == [type(each) for each in await collected(load(1), load(2))]
        assert isinstance((await collected(load(1)))[0], asyncio.CancelledError)

    virtual_time(main())


def test_a_batch_function_may_ask_for_single_items_itself():
    @collapse(max_batch=2)
    async def total(ids):
        return {n: n and n + await total(n - 1) for n in ids}

    async def main():
        assert [6, 10, 0] == await asyncio.gather(total(3), total(4), total(0))

    virtual_time(main())


def test_the_batch_functions_policies_see_one_call_for_a_batch():
    async def main():
        registry = Registry(clock=asyncio.get_running_loop().time)
        down = True

        @collapse
        @command(registry=registry, timeout=1.0, breaker=CircuitBreaker(min_calls=2, open_for=5.0))
        async def load(ids):
            if down:
                await asyncio.sleep(60)
            return ids

        for _ in range(2):
            assert {CallTimeoutError} == {type(each) for each in await collected(*map(load, range(50)))}
        errors = await collected(*map(load, range(50)))
        assert {CircuitOpenError} == {type(error) for error in errors}
        counts = load.resilience.snapshot().counts
        assert (2, 1, 150) == (counts["timeout"], counts["short_circuited"], counts["collapsed"])
        down = False
        await asyncio.sleep(5)
        assert list(range(50)) == await asyncio.gather(*map(load, range(50)))

    virtual_time(main())


def test_a_fallback_answers_for_the_batch():
    @collapse
    @command(fallback=lambda ids: dict.fromkeys(ids, 0), registry=Registry())
    async def stock(ids):
        raise OSError

    async def main():
        assert [0, 0] == await asyncio.gather(stock("a"), stock("b"))

    virtual_time(main())


def test_duplicates_are_counted_as_calls_that_were_collapsed():
    async def main():
        @collapse
        @command(registry=Registry(clock=asyncio.get_running_loop().time))
        async def load(ids):
            return ids

        await asyncio.gather(load(1), load(1), load(2))
        assert 3 == load.resilience.snapshot().counts["collapsed"]
        assert 1 == load.resilience.snapshot().counts["success"]

    virtual_time(main())


def test_each_objects_calls_are_its_own():
    asked = []

    class Store:
        def __init__(self, name):
            self.name = name

        def __hash__(self):
            raise AssertionError("an object is itself, whatever it says")

        __eq__ = None

        @collapse(max_batch=50)
        async def load(self, ids):
            asked.append((self.name, ids))
            return {each: f"{self.name}{each}" for each in ids}

        @classmethod
        @collapse
        async def of_class(cls, ids):
            return [(cls, each) for each in ids]

        @staticmethod
        @collapse
        async def of_nobody(ids):
            return ids

    async def main():
        a, b = Store("a"), Store("b")
        assert ["a1", "b1", "a2"] == await asyncio.gather(a.load(1), b.load(1), a.load(2))
        assert [("a", [1, 2]), ("b", [1])] == asked
        assert [(Store, 1), (Store, 2)] == await asyncio.gather(a.of_class(1), Store.of_class(2))
        assert [1, 2] == await asyncio.gather(a.of_nobody(1), Store.of_nobody(2))
        kept = weakref.ref(a)
        del a
        gc.collect()
        assert kept() is None

    virtual_time(main())


def test_within_a_request_only_its_own_calls_go_together():
    served = Served(scope="request")

    async def serve(*ids):
        with request_context():
            return await asyncio.gather(*map(served.load, ids))

    async def main():
        await asyncio.gather(serve(1, 2), serve(2, 3))
        await asyncio.gather(served.load(8), served.load(8))

    virtual_time(main())
    assert [(0.005, [1, 2]), (0.005, [2, 3]), (0.505, [8]), (0.505, [8])] == served.asked


def test_a_shared_batch_runs_in_nobodys_context_and_a_requests_batch_in_the_requests():
    who, seen = contextvars.ContextVar("who", default="nobody"), []

    def decorated(scope):
        @collapse(scope=scope)
        async def load(ids):
            seen.append(who.get())
            who.set("the batch")
            return ids

        return load

    who.set("the application")
    of_all, of_request = decorated("global"), decorated("request")

    async def ask(name, load):
        who.set(name)
        with request_context():
            await load(1)
        assert name == who.get()

    async def main():
        await asyncio.gather(ask("ann", of_all), ask("bob", of_all))
        await asyncio.gather(ask("ann", of_request), ask("bob", of_request))

    virtual_time(main())
    assert ["the application", "ann", "bob"] == seen


def test_loops_have_batches_of_their_own_and_are_not_kept():
    served = Served()
    known = []

    async def main(n):
        known.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(served.load(n), served.load(n + 1))

    for n in range(3):
        virtual_time(main(n))
    gc.collect()

    assert [[0, 1], [1, 2], [2, 3]] == [ids for _, ids in served.asked]
    assert [None] * 3 == [ref() for ref in known]


def test_a_loop_that_was_closed_with_a_batch_under_way_is_forgotten_by_the_next():
    served = Served(takes=100.0)

    def abandon():
        loop = VirtualTimeLoop()
        task = loop.create_task(served.load(1))
        loop.run_until_complete(asyncio.sleep(0.01))
        task._log_destroy_pending = False
        for each in asyncio.all_tasks(loop):
            each._log_destroy_pending = False
        loop.close()
        return weakref.ref(loop)

    abandoned = abandon()
    virtual_time(served.load(2))
    gc.collect()

    assert abandoned() is None


def test_nothing_stays_behind_when_batches_are_over():
    class Answer:
        pass

    @collapse
    async def load(ids):
        return [Answer() if each else OSError() for each in ids]

    async def main():
        answers = await collected(load(0), load(1), load(1))
        refs = [weakref.ref(answer) for answer in answers if isinstance(answer, Answer)]
        del answers
        await asyncio.sleep(0)
        assert [None, None] == [ref() for ref in refs]

    gc.collect()
    gc.disable()
    try:
        virtual_time(main())
    finally:
        gc.enable()


def test_a_coroutine_that_is_dropped_leaves_its_batch():
    served = Served()

    async def main():
        call = served.load(1)
        call.send(None)
        other = asyncio.create_task(served.load(2))
        await asyncio.sleep(0.001)
        call.close()
        assert "<2>" == await other

    virtual_time(main())
    assert [(0.005, [2])] == served.asked


@pytest.mark.parametrize(("fn", "words"), [
    (lambda: (), "is called with one list"),
    (lambda a, b, c: [], "is called with one list"),
    (lambda *, ids: [], "is called with one list"),
])
def test_what_takes_no_list_is_no_batch_function(fn, words):
    with pytest.raises(ConfigError, match=words):
        collapse(fn)


def test_a_generator_and_a_class_and_a_value_are_no_batch_functions():
    async def rows(ids):
        yield 1

    with pytest.raises(ConfigError, match="generator"):
        collapse(rows)
    with pytest.raises(TypeError, match="not classes"):
        collapse(type("Loader", (), {}))
    with pytest.raises(TypeError, match="not callable"):
        collapse(7)
    with pytest.raises(TypeError, match="not callable"):
        collapse(None)
    with pytest.raises(ConfigError, match="did you mean window"):
        collapse(windo=1)


def test_the_single_function_looks_like_the_batch_function_but_for_its_signature():
    import inspect

    async def load(ids):
        """Load them."""

    single = collapse(load)

    assert ("load", "Load them.", load) == (single.__name__, single.__doc__, single.__wrapped__)
    assert inspect.iscoroutinefunction(single)
    assert ["item"] == list(inspect.signature(single).parameters)
    with pytest.raises(TypeError):
        single(1, 2)


@over_seeds(40)
def test_random_traffic_is_collapsed_as_a_plain_model_says(seed):
    chance = random.Random(seed)
    window, most, takes = chance.choice([0.0, 0.5, 2.0]), chance.choice([1, 2, 4, 100]), chance.choice([0.0, 0.3, 1.1])
    # Arrivals and cancellations at times of their own: nothing happens at once with anything else.
    calls, at = [], 0.0
    for n in range(40):
        at += chance.choice([0.013, 0.213, 0.713])
        cancelled = at + chance.choice([0.0531, 0.3531, 1.0531]) + n * 1e-5 if chance.random() < 0.3 else None
        calls.append((at, chance.randrange(6), cancelled))
    served = Served(takes=takes, window=window, max_batch=most)

    async def ask(at, item, cancelled):
        await asyncio.sleep(at)
        if cancelled is None:
            return await served.load(item)
        async with asyncio.timeout_at(1000.0 + cancelled):
            return await served.load(item)

    async def main():
        return await collected(*(ask(*call) for call in calls))

    outcomes = ["gone" if isinstance(each, TimeoutError) else each for each in virtual_time(main())]
    expected_batches, expected_outcomes = expected(calls, window, most, takes)

    assert expected_batches == served.asked
    assert expected_outcomes == outcomes


def expected(calls, window, most, takes):
    """Batches and outcomes, found by going through all that happens in the order of time."""
    happenings = sorted([(at, "come", n) for n, (at, _, _) in enumerate(calls)]
                        + [(gone, "go", n) for n, (_, _, gone) in enumerate(calls) if gone is not None])
    batch, due, batches, ends = {}, None, [], {}

    def begin(now):
        nonlocal batch, due
        batches.append((round(now, 6), list(batch)))
        for who in batch.values():
            ends.update(dict.fromkeys(who, now + takes))
        batch, due = {}, None

    for now, what, n in [*happenings, (1e9, "end", None)]:
        if due is not None and due < now:
            begin(due)
        if what == "come":
            due = now + window if due is None else due
            batch.setdefault(calls[n][1], set()).add(n)
            if len(batch) == most:
                begin(now)
        elif what == "go":
            batch = {item: who - {n} for item, who in batch.items() if who != {n}}
            due = due if batch else None
    return batches, ["gone" if gone is not None and gone < ends.get(n, 1e9) else f"<{item}>"
                     for n, (_, item, gone) in enumerate(calls)]
