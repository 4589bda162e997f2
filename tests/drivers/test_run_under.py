"""Work in steps under a deadline that holds in each step and between none."""

import pytest

from resilience import deadline, remaining
from resilience.drivers.deadline_context import current, run_under


def test_an_end_holds_in_each_step_and_not_between_them(clock):
    with deadline(5.0, clock=clock):
        end = current()
    for left in (5.0, 4.0):
        assert (run_under(end, remaining), remaining()) == (left, None)
        clock.advance(1.0)


def test_what_was_in_force_before_is_so_again_whatever_a_step_leaves_or_raises(clock):
    with deadline(5.0, clock=clock):
        end = current()

    def careless():
        deadline(1.0, clock=clock).__enter__()
        raise LookupError

    with deadline(9.0, clock=clock):
        with pytest.raises(LookupError):
            run_under(end, careless)
        assert remaining() == 9.0
        assert run_under(None, remaining) == 9.0
        assert run_under(current(), remaining) == 9.0
        assert remaining() == 9.0
