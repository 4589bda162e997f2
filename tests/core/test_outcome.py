"""The numbers of outcomes and events: they index rows of counts, of which other processes keep some."""

import pytest

from resilience.core import outcome
from resilience.core.outcome import EVENT_NAMES, Event, Outcome, event_name, event_number

OUTCOMES = ["SUCCESS", "FAILURE", "TIMEOUT", "REJECTED", "IGNORED", "CANCELLED", "CUT_SHORT", "BUSY",
            "FAILED_IN_STALL", "TIMED_OUT_IN_STALL"]
EVENTS = [
    "success", "failure", "timeout", "short_circuited", "semaphore_rejected", "thread_pool_rejected", "bad_request",
    "fallback_success", "fallback_failure", "fallback_rejection", "fallback_missing", "exceptions_thrown", "cancelled",
    "responses_from_cache", "collapsed", "emit", "fallback_emit", "throttled", "retry", "shadow_rejected", "chaos",
    "rate_limited", "no_time_left", "hedge", "busy", "retry_left_to_caller", "failover",
    "stale_responses", "refresh", "refresh_failure"]


def test_each_outcome_has_its_number_and_a_plain_int_of_its_name():
    numbers = {name: number for number, name in enumerate(OUTCOMES)}

    assert numbers == {each.name: each.value for each in Outcome}
    assert numbers == {name: getattr(outcome, name) for name in OUTCOMES}


def test_events_are_numbered_in_the_order_of_their_names():
    assert EVENTS == list(EVENT_NAMES)
    assert list(range(30)) == [each.value for each in Event]
    assert EVENTS == [event_name(number) for number in range(30)]


def test_a_users_own_events_follow_and_keep_their_number(monkeypatch):
    monkeypatch.setattr(outcome, "_own_events", [])

    assert [30, 31, 30] == [event_number(name) for name in ("refused_by_a", "refused_by_b", "refused_by_a")]
    assert ["refresh_failure", "refused_by_a", "refused_by_b"] == [event_name(number) for number in (29, 30, 31)]
    with pytest.raises(IndexError):
        event_name(32)
