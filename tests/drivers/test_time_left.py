"""The deadline that is handed down: the earliest wins, everywhere below, and what is put in force is given back."""

import asyncio
import contextvars
import gc
import random
import threading

import pytest

from resilience import ConfigError, deadline, deadline_headers, remaining
from resilience.drivers import deadline_context as time_left
from resilience.testing import ManualClock
from tests.forked import forked
from tests.interrupts import interrupted


def fresh(work, *args):
    """Run *work* in a context without a deadline."""
    return contextvars.Context().run(work, *args)


def test_the_earliest_of_random_nested_deadlines_holds(clock):
    def nest(rng, ends, depth):
        clock.advance(rng.choice([0.0, rng.uniform(0, 3)]))
        seconds = rng.choice([None, 0, rng.uniform(-1, 5), rng.uniform(0, 10)])
        inner = ends if seconds is None else [*ends, clock() + seconds]
        with deadline(seconds, clock=clock):
            check(inner)
            for _ in range(rng.randint(0, 2) if depth else 0):
                nest(rng, inner, depth - 1)
                check(inner)
        check(ends)

    def check(ends):
        assert (min(ends) - clock() if ends else None) == pytest.approx(remaining())
        assert bool(ends and min(ends) <= clock()) == time_left.spent()

    for seed in range(300):
        fresh(nest, random.Random(seed), [], 4)
    assert remaining() is None


def test_each_deadline_is_told_the_time_by_its_own_clock():
    here, there = ManualClock(100.0), ManualClock(5.0)
    with deadline(4.0, clock=here), deadline(2.0, clock=there):
        here.advance(1.0)
        assert 2.0 == remaining()
        there.advance(1.5)
        assert 0.5 == remaining()
        with deadline(1.0, clock=here):
            assert 0.5 == remaining()


def test_it_can_be_entered_again_once_left_but_not_twice_at_a_time(clock):
    bound = deadline(3.0, clock=clock)
    for _ in range(2):
        with bound:
            assert 3.0 == remaining()
            clock.advance(1.0)
            with pytest.raises(RuntimeError, match="entered already"), bound:
                pass
            assert 2.0 == remaining()
        assert remaining() is None


def test_tasks_and_threads_started_inside_keep_it_and_others_never_see_it(clock):
    seen = {}

    def note(name):
        seen[name] = remaining()

    async def main():
        outside = asyncio.create_task(later("outside"))
        with deadline(3.0, clock=clock):
            inside = asyncio.create_task(later("inside"))
            await asyncio.to_thread(note, "to_thread")
            thread = threading.Thread(target=contextvars.copy_context().run, args=(note, "thread"))
            thread.start()
            thread.join(10)
        go.set()
        await asyncio.gather(inside, outside)
        note("after")

    async def later(name):
        await go.wait()
        note(name)

    go = asyncio.Event()
    asyncio.run(main())
    assert {"outside": None, "inside": 3.0, "to_thread": 3.0, "thread": 3.0, "after": None} == seen


def test_a_child_process_has_the_time_that_its_parent_had(clock):
    def child():
        assert (2.0, True) == (remaining(), bool(time_left.in_use))

    with deadline(3.0, clock=clock):
        clock.advance(1.0)
        assert 0 == forked(child)


def test_a_generator_dropped_in_another_context_leaves_no_deadline_behind(clock):
    def items():
        with deadline(3.0, clock=clock):
            yield remaining()

    def begin():
        source = items()
        next(source)
        return source

    context = contextvars.Context()
    source = context.run(begin)
    assert 3.0 == context.run(remaining)
    source.close()
    assert context.run(remaining) is None
    del source
    gc.collect()
    assert context.run(remaining) is None


def test_an_outer_deadline_that_ends_first_takes_the_inner_one_along_and_the_inner_one_then_harms_nobody(clock):
    outer, inner = deadline(5.0, clock=clock), deadline(3.0, clock=clock)
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert remaining() is None
    with deadline(1.0, clock=clock):
        inner.__exit__(None, None, None)
        assert 1.0 == remaining()
    assert remaining() is None


def test_a_deadline_whose_beginning_is_interrupted_never_holds():
    began = []

    def work():
        entered = False
        bound = deadline(3.0)
        bound.__enter__()
        entered = True
        began.append(entered)

    for _ in interrupted(lambda: contextvars.copy_context().run(checked, work)):
        pass
    assert began


def checked(work):
    """Run *work*; if it raises, no deadline may be in force."""
    try:
        work()
    except BaseException:
        assert time_left._current.get() is None
        raise


@pytest.mark.parametrize("wrong", ["2", True, float("nan"), float("inf"), 86_401.0, -86_401.0, 10**400])
def test_what_is_no_number_of_seconds_is_refused(wrong):
    with pytest.raises(ConfigError, match="seconds must be a number"):
        deadline(wrong)


def test_a_clock_has_to_be_callable():
    with pytest.raises(ConfigError, match="clock must be callable"):
        deadline(1.0, clock=7)


# -- headers


def test_the_header_says_whole_milliseconds_and_never_more_than_are_left(clock):
    assert {} == deadline_headers()
    for seconds, text in [(1.0, "1000"), (0.0129, "12"), (0.0009, "0"), (0.0, "0"), (-5.0, "0"), (86_400, "86400000")]:
        with deadline(seconds, clock=clock):
            assert {deadline.HEADER: text} == deadline_headers()


@pytest.mark.parametrize(("value", "seconds"), [
    ("250", 0.25), (b"250", 0.25), (" 250\t", 0.25), ("0", 0.0), ("0000000250", 0.25), ("9999999999", 86_400.0),
    # as good as none:
    (None, None), ("", None), ("-1", None), ("+250", None), ("2.5", None), ("1e3", None), ("1_000", None), ("0x10", None),
    ("٢٥٠", None), ("²", None), ("250, 100", None), ("250ms", None), ("9" * 11, None), ("9" * 100_000, None),
    ("2 50", None), ("250\n", None), ("250\x00", None), (b"\xff\xfe", None), (250, None), (["250"], None),
])
def test_a_header_is_a_whole_number_of_milliseconds_or_as_good_as_none(clock, value, seconds):
    assert seconds == deadline.from_header(value).seconds
    for most in (0.1, 5.0):
        with deadline.from_header(value, most=most, clock=clock):
            assert min(most, most if seconds is None else seconds) == pytest.approx(remaining())


def test_random_bytes_never_harm_and_never_give_more_than_the_most():
    rng = random.Random(7)
    for _ in range(5000):
        value = bytes(rng.choice(b"0123456789 -+.e\t\xb2\x00m") for _ in range(rng.randint(0, 12)))
        text = value.decode("latin-1").strip(" \t")
        digits = 0 < len(text) <= 10 and all(c in "0123456789" for c in text)
        assert (min(5.0, int(text) / 1000) if digits else 5.0) == deadline.from_header(value, most=5.0).seconds


def test_what_one_service_sends_the_next_one_reads(clock):
    with deadline(1.2345, clock=clock):
        sent = deadline_headers()
    with deadline.from_header(sent[deadline.HEADER], most=10.0, clock=clock):
        assert 1.234 == remaining()
