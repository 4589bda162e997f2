"""A loop that was blocked for 0.8 s made thirty healthy calls slow, or let their client's own timeout pass, and their circuit opened.

A stall was noticed only by the timer of our own timeout, if that was due meanwhile. So a call without a timeout, with a longer one,
or with one of its client's, was weighed as if its target had been slow or silent. Calls that were still under way were weighed too.
"""

import asyncio
import gc
import time
import weakref

import attrs
import pytest

from resilience import CircuitBreaker, Registry, command
from resilience.core import stalls as core_stalls
from resilience.core.circuit import Circuit
from resilience.core.events import LocalStall
from resilience.core.in_flight_cohorts import BALLAST, Cohorts
from resilience.core.outcome import SUCCESS
from resilience.core.stalls import NO_STALLS, Stalls
from resilience.drivers import local_stalls

STALL_S = 0.4  # nobody waits for this time: that the loop stands still is the case
SLOW = CircuitBreaker(slow_call=0.2, slow_rate=0.1, min_calls=2, failure_rate=None)
EAGER = CircuitBreaker(consecutive=1, sustained_failures=None)
CALLS = 10


@pytest.fixture(autouse=True)
def _no_stall_of_an_earlier_test(monkeypatch):
    monkeypatch.setattr(local_stalls.system_stalls, "until", float("-inf"))
    monkeypatch.setattr(local_stalls.system_stalls, "_spans", ())
    monkeypatch.setattr(local_stalls.system_stalls, "due", float("inf"))


class FakeLoop:
    """Runs as long as it is not said to be stopped."""

    runs = True

    def is_running(self):
        return self.runs


def state_after(call, **settings):
    """What a stall makes of the circuit of ten calls that are under way; how many stalls it told."""
    registry, heard = Registry(), []
    registry.subscribe(LocalStall, heard.append)
    guarded = command(key="target", registry=registry, max_concurrent=None, **settings)(call)

    async def run():
        begun = [asyncio.ensure_future(guarded()) for _ in range(CALLS)]
        await asyncio.sleep(0.005)
        time.sleep(STALL_S)
        await asyncio.gather(*begun, return_exceptions=True)

    asyncio.run(run())
    return registry["target"].state, len(heard)


async def short():
    await asyncio.sleep(0.02)


async def ready():
    """Its answer is there before the stall, but not read yet: it goes on in the turn in which the loop is blocked."""
    await asyncio.sleep(0.004)


async def silent():
    try:
        async with asyncio.timeout(0.2):
            await asyncio.Event().wait()
    except TimeoutError:
        raise ConnectionError("no answer") from None


@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("call", [short, ready])
@pytest.mark.parametrize("in_flight", [True, False])
def test_calls_that_a_stall_made_slow_open_no_circuit(call, timeout, in_flight):
    breaker = attrs.evolve(SLOW, slow_in_flight=in_flight)
    state, stalls = state_after(call, timeout=timeout, breaker=breaker)
    assert ("closed", 1) == (state, stalls)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_timeout_of_the_client_that_passes_in_a_stall_opens_no_circuit(timeout):
    assert ("closed", 1) == state_after(silent, timeout=timeout, breaker=EAGER)


def test_a_client_that_times_out_without_a_stall_still_opens_it():
    registry = Registry()
    guarded = command(key="target", registry=registry, timeout=None, breaker=EAGER)(silent)

    async def run():
        with pytest.raises(ConnectionError):
            await guarded()

    asyncio.run(run())
    assert "open" == registry["target"].state


def test_calls_under_way_are_not_overdue_by_what_they_lost():
    stalls = Stalls()
    machine = Circuit(SLOW, key="k", group="g", now=0.0, emit=lambda event: None, random=lambda: 0.5, stalls=stalls)
    for at in (0.0, 0.01, 0.02):
        permit = machine.acquire(at)
        permit.cohort.append(None)
    stalls.note(0.03, 5.0)
    machine.acquire(5.1)
    assert "closed" == machine.state
    cohorts = Cohorts(8.0, 0.0)
    cohorts.running.append(None)
    assert 0 == cohorts.turn(8.0, 1.0, stalls)
    assert (0, 1) == (cohorts.turn(8.0, 12.9, stalls), cohorts.turn(8.0, 14.0, stalls))
    assert BALLAST + 1 == len(cohorts._past[0][1])


def test_the_first_call_of_a_closed_circuit_looks_out_and_again_after_a_second_and_none_between():
    looked = []
    stalls = Stalls(lambda: looked.append(None), 1.0)
    machine = Circuit(EAGER, key="k", group="g", now=0.0, emit=lambda event: None, random=lambda: 0.5, stalls=stalls)
    counts = []
    for at in (0.0, 0.5, 0.99, 1.0, 1.5, 30.0):
        term = machine.term
        if at >= term.free_until:  # as the compiled wrapper has it
            term = machine.acquire(at)
        machine.settle(term, SUCCESS, at, at)
        counts.append(len(looked))
    assert [1, 1, 1, 2, 2, 3] == counts


def test_who_weighs_a_call_looks_first_whether_there_was_a_stall_that_nobody_has_noted():
    stalls = Stalls(lambda: stalls.note(1.0, 4.0), 1.0)
    stalls.due = 2.0
    assert (3.0, True) == (stalls.lost(0.0, 4.0), stalls.excuses(0.0, 4.0))
    assert 0.0 == stalls.lost(0.0, 1.0), "what is weighed before is none of its business"


def test_a_program_that_is_idle_is_woken_up_no_more(monkeypatch):
    """The timer comes for ten seconds after the last look, and then no more; a loop is forgotten with it."""
    clock = [0.0]
    timers = []

    class Loop(FakeLoop):
        def time(self):
            return clock[0]

        def call_later(self, delay, callback, *args):
            timers.append((clock[0] + delay, callback, args))

    running = [Loop()]
    monkeypatch.setattr(local_stalls.asyncio, "_get_running_loop", lambda: running[0])
    look_out = local_stalls._look_out
    look_out(lambda: clock[0])
    look_out(lambda: clock[0])
    assert 1 == len(timers)
    fired = 0
    while timers:
        clock[0], come, args = timers.pop(0)
        come(*args, lambda: clock[0])
        fired += 1
    assert 10.0 == pytest.approx(clock[0], abs=0.2)
    assert 100 == pytest.approx(fired, abs=2)
    assert float("inf") == local_stalls.system_stalls.due
    look_out(lambda: clock[0])
    assert 1 == len(timers)
    gone = weakref.ref(running[0])
    timers.clear()
    monkeypatch.undo()
    running.clear()
    del come, args
    gc.collect()
    assert gone() is None


def test_a_loop_whose_clock_stands_still_is_not_late(monkeypatch):
    """A test may freeze the clock of its loop, whose timers do not come then; the system's clock goes on."""
    clock, timers = [0.0], []

    class Loop(FakeLoop):
        def time(self):
            return 7.0

        def call_later(self, delay, callback, *args):
            timers.append((callback, args))

    loop = Loop()
    monkeypatch.setattr(local_stalls.asyncio, "_get_running_loop", lambda: loop)
    local_stalls._look_out(lambda: clock[0])
    clock[0] = 60.0
    local_stalls._look_out(lambda: clock[0])
    assert () == local_stalls.system_stalls._spans


@pytest.fixture
def loops(monkeypatch):
    """Makes loops whose clocks and timers are the test's; the one whose callbacks run is in ``loops.running``."""
    clock = [0.0]

    class Loop(FakeLoop):
        def __init__(self):
            self.timers, self.gone_back = [], 0.0

        def time(self):
            return clock[0] - self.gone_back

        def call_later(self, delay, callback, *args):
            self.timers.append((self.time() + delay, callback, args))
            self.timers.sort(key=lambda timer: timer[0])

        def run(self, until):
            while self.timers and self.timers[0][0] <= until:
                clock[0], come, args = self.timers.pop(0)
                come(*args, lambda: clock[0])
            clock[0] = until

        def look(self):
            running[:] = [self]
            local_stalls._look_out(lambda: clock[0])

    running = []
    Loop.now = clock
    monkeypatch.setattr(local_stalls.asyncio, "_get_running_loop", lambda: running[0])
    return Loop


def test_of_two_loops_the_one_that_is_blocked_is_asked_about_though_the_other_goes_on(loops):
    """The other one's timer had put off the question for as long as it came itself."""
    blocked, other = loops(), loops()
    blocked.look()
    other.look()
    other.run(0.4)
    assert 0.2 == pytest.approx(local_stalls.system_stalls.due), "that of the blocked one has been late since then"
    blocked.look()
    assert [(0.1, 0.4)] == [pytest.approx(span) for span in local_stalls.system_stalls._spans]
    assert local_stalls.system_stalls.due > 0.4, "nobody need ask again at once"
    blocked.runs = False
    other.look()
    other.run(5.0)
    assert 5.2 == pytest.approx(local_stalls.system_stalls.due, abs=0.11), "one that is stopped is not late"


def test_a_loop_in_virtual_time_has_no_timer_for_longer_than_one_of_real_time(loops):
    """A virtual day took seconds: the timer came each tenth of a second of it, until ten real seconds had passed."""
    loop = loops()
    loop.look()
    real, fired = loops.now[0], 0
    while loop.timers and fired < 1000:
        loops.now[0], come, args = loop.timers.pop(0)
        come(*args, lambda: real)
        fired += 1
    assert 100 == pytest.approx(fired, abs=2)


def test_a_loop_whose_clock_goes_back_is_watched_again(loops):
    """At the end of a freeze: the timer was set for a time decades away, and no stall was seen on that loop again."""
    loop = loops()
    loop.gone_back = -1e9
    loop.look()
    loop.gone_back = 0.0
    loop.look()
    loop.run(1.0)
    loops.now[0] = 3.0
    loop.look()
    assert [(1.0, 3.0)] == [pytest.approx(span, abs=0.11) for span in local_stalls.system_stalls._spans]


def test_nobody_looks_for_stalls_on_a_clock_of_ones_own():
    assert (float("inf"), float("inf")) == (NO_STALLS.look_every, NO_STALLS.due)
    assert core_stalls.STALL_S < local_stalls._LOOK_EVERY_S < local_stalls._WATCH_S
