"""Who hears of an event, and what becomes of a listener that raises."""

import logging
import threading
import traceback

import pytest

from resilience.drivers.retry_layers import layer
from resilience.engine.emitter import Emitter


class Event:
    """Something that happened."""


class Other(Event):
    """Something else."""


def test_each_subscription_hears_events_of_exactly_its_type_until_it_ends():
    emitter, heard = Emitter(), []
    assert not emitter.wanted(Event)
    ends = [emitter.subscribe(Event, lambda event, n=n: heard.append((n, event))) for n in range(2)]
    assert (True, False) == (emitter.wanted(Event), emitter.wanted(Other))
    event = Event()
    emitter.emit(event)
    emitter.emit(Other())
    assert [(0, event), (1, event)] == heard

    ends[0]()
    emitter.emit(event)
    assert [(1, event)] == heard[2:]
    ends[1]()
    ends[1]()  # twice is once
    emitter.emit(event)
    assert (3, False, {}) == (len(heard), emitter.wanted(Event), emitter.listeners)


def test_the_end_of_the_last_subscription_of_one_type_leaves_those_of_others():
    emitter, heard = Emitter(), []
    emitter.subscribe(Other, heard.append)
    emitter.subscribe(Event, heard.append)()
    emitter.emit(Other())

    assert ([Other], 1) == ([*emitter.listeners], len(heard))


def test_a_listener_that_subscribed_twice_hears_twice_and_ends_once():
    emitter, heard = Emitter(), []
    end = emitter.subscribe(Event, heard.append)
    emitter.subscribe(Event, heard.append)
    emitter.emit(Event())
    assert 2 == len(heard)
    end()
    emitter.emit(Event())
    assert 3 == len(heard)


def test_nobody_repeats_what_a_listener_calls_and_the_call_is_repeated_as_before():
    emitter, heard = Emitter(), []
    emitter.subscribe(Event, lambda event: heard.append([*layer.get()]))
    before = layer.set(["key"])
    try:
        emitter.emit(Event())
        assert ([[]], ["key"]) == (heard, layer.get())
    finally:
        layer.reset(before)


async def awaits(event):
    """Nobody would await it."""


@pytest.mark.parametrize(("kind", "listener", "words"), [
    ("Event", print, "takes a type of event first"), (Event, "print", "a listener must be callable, not 'print'"),
    (Event, awaits, "must be a plain function")])
def test_what_cannot_listen_is_refused(kind, listener, words):
    emitter = Emitter()
    with pytest.raises(TypeError, match=words):
        emitter.subscribe(kind, listener)
    assert {} == emitter.listeners


def fails(event):
    raise OSError("down")


def test_a_listener_that_raises_is_logged_once_stays_and_hinders_nobody(caplog):
    emitter, heard = Emitter(), []
    end = emitter.subscribe(Event, fails)
    emitter.subscribe(Event, heard.append)
    for _ in range(3):
        emitter.emit(Event())

    (record,) = caplog.records
    assert (logging.ERROR, 3) == (record.levelno, len(heard))
    assert "a listener for Event raised; it stays subscribed, and is not logged again" == record.getMessage()
    assert (OSError, "down") == (record.exc_info[0], str(record.exc_info[1]))
    assert "fails" == traceback.extract_tb(record.exc_info[2])[-1].name
    assert 1 == len(emitter._faulty)
    end()
    assert set() == emitter._faulty  # another may come to be at the same place in memory
    emitter.subscribe(Event, fails)
    emitter.emit(Event())
    assert 2 == len(caplog.records)


def test_what_fails_within_an_event_within_an_event_is_logged_when_the_outermost_is_delivered(caplog):
    emitter, logged = Emitter(), []

    def outer(event):
        emitter.emit(Other())
        logged.append(len(caplog.records))

    emitter.subscribe(Other, fails)
    emitter.subscribe(Event, outer)
    emitter.emit(Event())

    assert ([0], 1) == (logged, len(caplog.records))
    emitter.subscribe(Other, fails)
    emitter.emit(Other())
    assert 2 == len(caplog.records)


def test_an_interrupt_passes_and_the_next_event_is_delivered_and_logged_as_ever(caplog):
    emitter, raised = Emitter(), [KeyboardInterrupt(), OSError("down")]

    def listener(event):
        raise raised.pop(0)

    emitter.subscribe(Event, listener)
    with pytest.raises(KeyboardInterrupt):
        emitter.emit(Event())
    emitter.emit(Event())

    assert ["down"] == [str(record.exc_info[1]) for record in caplog.records]


def test_a_log_that_raises_harms_nobody():
    class Broken(logging.Filter):
        def filter(self, record):
            raise ValueError

    emitter, log, broken = Emitter(), logging.getLogger("resilience"), Broken()
    emitter.subscribe(Event, fails)
    log.addFilter(broken)
    try:
        emitter.emit(Event())
    finally:
        log.removeFilter(broken)


def test_listeners_of_an_earlier_moment_are_put_back():
    emitter, heard = Emitter(), []
    emitter.subscribe(Event, heard.append)
    earlier = emitter.listeners
    emitter.subscribe(Event, fails)
    emitter.put_back(earlier)
    emitter.emit(Event())

    assert (earlier, 1) == (emitter.listeners, len(heard))


def test_in_a_forked_child_the_lock_that_another_thread_held_is_another():
    emitter, held, done = Emitter(), threading.Event(), threading.Event()

    def hold():
        with emitter._lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    emitter.renew()
    free = emitter._lock.acquire(blocking=False)
    done.set()
    thread.join(60)

    assert free
