"""Events as values: what two of them have in common when they are equal, and that each can be printed."""

import pytest

from resilience.core.events import CallFailed, CallRejected, State, StateChanged, Trigger
from resilience.errors import LastFailure


def opened(**details):
    return StateChanged("k", "g", State.CLOSED, State.OPEN, Trigger.FAILURE_RATE, 1, 2.0, **details)


def test_what_is_said_about_a_change_for_people_does_not_make_it_another():
    assert opened() == opened(reason="5 of 8 calls failed") == opened(last_failure=LastFailure("OSError", "down", 1.0, 1))


def test_the_error_of_an_event_is_compared_by_identity():
    error = OSError("down")

    assert CallFailed("k", "g", "failure", error, 1.0, 2.0) == CallFailed("k", "g", "failure", error, 1.0, 2.0)
    assert CallFailed("k", "g", "failure", error, 1.0, 2.0) != CallFailed("k", "g", "failure", OSError("down"), 1.0, 2.0)


class Unprintable(Exception):
    def __repr__(self):
        raise ValueError


@pytest.mark.parametrize(("error", "shown"), [
    (OSError("down"), "OSError('down')"), (Unprintable(), "<Unprintable that cannot be shown>")])
def test_an_event_shows_its_error_whatever_that_is(error, shown):
    assert f"error={shown}," in repr(CallRejected("k", "g", "throttled", error, 1.0))
