"""A forked child hung when a hedged generator that its parent had begun was dropped there, or asked for an item.

It waited for the generator's thread, which a fork leaves behind.
"""

import signal

import pytest

from resilience import Hedge, Registry, Retry, command
from tests.forked import forked


@pytest.mark.parametrize("hold", [0, 1])
def test_a_hedged_generator_of_the_parent_can_be_dropped_in_a_forked_child_and_says_that_it_cannot_go_on(hold):
    @command(key="rows", timeout=None, hedge=Hedge(idempotent=True, delay=60.0), retry=Retry(hold=hold) if hold else None,
             registry=Registry())
    def rows():
        yield from range(3)

    streams = [rows(), rows()]
    assert [next(stream) for stream in streams] == [0, 0]

    def in_the_child():
        signal.alarm(20)  # a child that waits for nobody is ended
        with pytest.raises(RuntimeError, match="rows: this hedged generator runs on a thread of the parent process"):
            next(streams[0])
        streams.clear()
        assert list(rows()) == [0, 1, 2]
        assert rows.resilience.in_flight == 0

    assert forked(in_the_child) == 0
    assert [list(stream) for stream in streams] == [[1, 2], [1, 2]]
    assert rows.resilience.in_flight == 0
