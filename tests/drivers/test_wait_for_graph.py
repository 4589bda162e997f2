"""The wait-for graph: what can end although somebody else waits."""

from resilience.drivers.pools import PooledCall, WorkerPool
from resilience.drivers.wait_for_graph import WaitScope, can_end


def waiting(*targets):
    scope = WaitScope()
    scope.awaited.update({object(): each for each in targets})
    return scope


class FullPool(WorkerPool):
    """A shared pool whose threads are at work for calls that wait for these."""

    def __init__(self, *awaited):
        super().__init__("full", size=len(awaited), max_queue=5)
        for targets in awaited:
            self.call_that_awaits(targets)

    def call_that_awaits(self, targets):
        taken = []
        self._turns.take(taken)
        pooled = PooledCall(self)
        pooled.awaited.update({object(): each for each in targets})
        self.started(pooled)
        return pooled


def test_a_scope_can_end_once_all_that_it_waits_for_can():
    free, me = WaitScope(), WaitScope()
    assert can_end(free)
    assert not can_end(me, (me,))
    assert can_end(waiting(free, waiting(free)))
    assert not can_end(waiting(free, waiting(me)), (me,))


def test_those_who_wait_in_a_circle_cannot_end_nor_who_waits_for_them():
    one, two = WaitScope(), WaitScope()
    one.awaited[object()], two.awaited[object()] = two, one
    assert not can_end(one)
    assert not can_end(waiting(two))


def test_two_ways_to_the_same_end_are_no_circle():
    end = WaitScope()
    assert can_end(waiting(waiting(end), waiting(end)))


def test_a_pool_goes_on_if_a_thread_is_free_or_one_of_its_calls_can_end():
    me = WaitScope()
    assert can_end(WorkerPool("free", size=1, max_queue=1))
    assert can_end(FullPool([me], []), (me,))
    assert not can_end(FullPool([me], [me]), (me,))


def test_a_pool_all_of_whose_threads_but_one_wait_for_it_is_held_up_by_that_one():
    pool = FullPool([], [])
    mine, other = pool._pooled
    other.awaited[object()] = waiting(pool)

    assert can_end(waiting(pool))
    assert not can_end(waiting(pool), (mine,))
    assert pool._can_end(0)
    mine.awaited[object()] = waiting(pool)
    assert not pool._can_end(0)
