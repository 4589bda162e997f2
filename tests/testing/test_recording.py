"""Recorded events, and assertions on counts."""

import threading

import pytest

from resilience import CircuitBreaker, CircuitOpenError, StateChanged, command
from resilience.core import events as core_events
from resilience.core.outcome import EVENT_NAMES, event_number
from resilience.events import CallFailed, CallRejected, CommandAdded, CommandConfigured
from resilience.policies.order import KITS
from resilience.testing import RecordedEvents, assert_counts, assert_idle


@pytest.fixture
def events(registry):
    """What happens in the registry."""
    with RecordedEvents(registry) as events:
        yield events


@pytest.fixture
def stock(registry, events):
    """A command that fails when told to, made while events are recorded."""

    @command(key="stock", registry=registry, timeout=None, breaker=CircuitBreaker(min_calls=2, open_for=5.0))
    def stock(fails):
        if fails:
            raise OSError("down")
        return 7

    return stock


def break_and_mend(stock, clock):
    for _ in range(2):
        with pytest.raises(OSError):
            stock(True)
    with pytest.raises(CircuitOpenError):
        stock(False)
    clock.advance(5.0)
    stock(False)


def test_events_are_recorded_in_their_order_and_found_by_type_key_and_field(events, stock, clock):
    break_and_mend(stock, clock)

    kinds = [type(event).__name__ for event in events]
    assert ["CommandAdded", "CallFailed", "StateChanged", "CallFailed", "CallRejected", "StateChanged",
            "StateChanged"] == kinds
    assert ["open", "half_open", "closed"] == events.states(stock) == events.states("stock")
    assert 2 == len(events.of(CallFailed, stock)) == len(events.of(CallFailed, stock.resilience, event="failure"))
    assert [] == events.of(CallFailed, "another")
    assert 5.0 == events.one(StateChanged, "stock", new="half_open").at
    assert isinstance(events.one(CallRejected).error, CircuitOpenError)
    assert (events.one(CommandAdded), 7) == (events[0], len(events))


def test_a_missing_event_is_an_error_that_lists_what_there_was(events, stock):
    with pytest.raises(AssertionError) as caught:
        events.one(StateChanged, stock, new="open")

    assert "0 instead of 1 StateChanged(key='stock', new='open'); recorded: <1 events>" in str(caught.value)
    assert "CommandAdded(key='stock'" in str(caught.value)


def test_one_event_too_many_is_an_error_too(events, stock):
    for _ in range(2):
        with pytest.raises(OSError):
            stock(True)

    with pytest.raises(AssertionError, match="2 instead of 1 CallFailed"):
        events.one(CallFailed)
    with pytest.raises(AssertionError, match=r"2 instead of 0 CallFailed\(key='stock'\)"):
        events.none(CallFailed, stock)
    events.none(CallRejected)


def test_cleared_events_are_forgotten_and_recording_goes_on(events, stock):
    events.clear()
    stock.resilience.configure(max_concurrent=3)

    assert [("max_concurrent",)] == [event.changes for event in events]
    events.one(CommandConfigured)


def test_after_closing_nothing_more_is_recorded_and_what_was_stays(events, stock):
    events.close()
    events.close()
    stock.resilience.force_open()

    assert 1 == len(events)


@pytest.mark.parametrize(("kind", "fields", "message"), [
    (ValueError, {}, "no type of event; there are StateChanged"),
    ("StateChanged", {}, "no type of event"),
    (StateChanged, {"state": "open"}, "StateChanged has no field 'state'; it has key"),
])
def test_a_question_that_can_have_no_answer_is_refused(events, kind, fields, message):
    with pytest.raises(TypeError, match=message):
        events.of(kind, **fields)


def test_every_type_of_event_is_recorded(events, registry):
    kinds = [value for name, value in vars(core_events).items() if hasattr(value, "__attrs_attrs__")]
    assert set(kinds) <= set(registry._table.emitter.listeners)


def test_events_of_many_threads_are_all_there(events, registry):
    @command(key="busy", registry=registry, timeout=None, max_concurrent=None, breaker=None)
    def busy():
        raise OSError

    def work():
        for _ in range(500):
            with pytest.raises(OSError):
                busy()
            list(events)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 2000 == len(events.of(CallFailed, busy))


def test_counts_as_expected_pass(stock, clock):
    break_and_mend(stock, clock)

    assert_counts(stock, success=1, failure=2, short_circuited=1)
    assert_counts(stock.resilience, success=1, failure=2, short_circuited=1, fallback_missing=3)
    assert_counts(stock.resilience.snapshot(), success=1, failure=2, short_circuited=1, exceptions_thrown=3)


def test_counts_that_differ_are_listed_with_all_there_are(stock, clock):
    break_and_mend(stock, clock)

    with pytest.raises(AssertionError) as caught:
        assert_counts(stock, success=3, failure=2, timeout=1)

    assert ("stock counted otherwise:\n"
            "  success          1, not 3\n"
            "  timeout          0, not 1\n"
            "  short_circuited  1, not 0\n"
            "all its counts: success=1, failure=2, short_circuited=1, fallback_missing=3, exceptions_thrown=3"
            ) == str(caught.value)


@pytest.mark.parametrize("ending", sorted({*(kit.refusal for kit in KITS if kit.refusal), "no_time_left", "busy", "failure",
                                           "timeout", "thread_pool_rejected", "bad_request", "cancelled"}))
def test_no_way_in_which_a_call_ended_is_overlooked(stock, ending):
    recorder, number = stock.resilience.__recorder__, EVENT_NAMES.index(ending) if ending in EVENT_NAMES else event_number(ending)
    if ending not in EVENT_NAMES:  # of a plain gate
        recorder.follow(ending, number)
    recorder.count((number,), 0.0)

    with pytest.raises(AssertionError, match=f"{ending}  1, not 0"):
        assert_counts(stock)
    assert_counts(stock, **{ending: 1})


def test_a_command_without_calls_has_no_counts(stock):
    assert_counts(stock)
    with pytest.raises(AssertionError, match="all its counts: none"):
        assert_counts(stock, success=1)


def test_a_count_that_does_not_exist_is_refused_by_name(stock):
    with pytest.raises(TypeError, match="nothing is counted as 'successes'; there are success, failure"):
        assert_counts(stock, successes=1)


def test_a_command_is_idle_when_its_permits_are_back(registry):
    seen = []

    @command(key="busy", registry=registry, timeout=None)
    def busy():
        with pytest.raises(AssertionError) as caught:
            assert_idle(busy)
        seen.append(str(caught.value))

    busy()

    assert_idle(busy)
    assert ["busy has 1 calls in flight (0 of them abandoned)"] == seen
