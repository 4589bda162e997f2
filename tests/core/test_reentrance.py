"""The guard that every machine has: what is done at once, what is put off, and what is not done at all."""

import random
import threading

from resilience.core.reentrance import MET, ReentryGuard
from tests.core.hammer import hammer
from tests.interrupts import interrupted


def test_work_is_done_at_once_and_its_news_are_told_when_the_lock_is_free():
    heard = []

    def tell(news):
        heard.append((news, guard.ask(lambda: None)))  # not MET: nobody is at work

    guard = ReentryGuard(tell)
    guard.do(lambda a, b: a + b, 1, 2)
    assert "asked" == guard.ask(lambda: "asked")
    guard.do(lambda: None)  # no news

    assert [(3, None), ("asked", None)] == heard


def test_who_meets_himself_at_work_puts_off_what_he_does_and_is_told_when_he_asks():
    done, heard = [], []

    def outer():
        guard.do(done.append, "late")
        done.append(guard.ask(done.append, "never"))
        guard.do(lambda: "news of the late")
        done.append("outer")
        return "news of the outer"

    guard = ReentryGuard(heard.append)
    guard.do(outer)

    assert [MET, "outer", "late"] == done
    assert ["news of the outer", "news of the late"] == heard


def test_what_was_put_off_by_work_that_fails_is_done_by_the_next_who_comes():
    done, guard = [], ReentryGuard()

    def fails():
        guard.do(done.append, "late")
        raise KeyboardInterrupt

    for way in (guard.do, guard.ask):
        try:
            way(fails)
        except KeyboardInterrupt:
            pass
        assert [] == done
        guard.ask(done.append, "next")
        assert ["next", "late"] == done
        done.clear()


def test_what_is_put_off_by_what_was_put_off_is_done_too():
    done, guard = [], ReentryGuard()

    def work(depth):
        if depth:
            guard.do(work, depth - 1)
        done.append(depth)

    guard.do(work, 3)
    assert [3, 2, 1, 0] == done


def test_an_interrupt_anywhere_leaves_the_guard_free_and_loses_nothing_that_was_put_off_but_what_it_struck():
    made = []

    def work():
        guard, done = ReentryGuard(), []
        made[:] = [guard, done]

        def outer():
            for n in range(3):
                guard.do(done.append, n)

        guard.do(outer)

    for n in interrupted(work):
        if not made:
            continue
        guard, done = made
        finished = []
        thread = threading.Thread(target=lambda finished=finished, guard=guard: finished.append(guard.ask(lambda: "x")))
        thread.start()
        thread.join(10)
        assert ["x"] == finished, n  # from another thread: the lock is free
        missing = set(range(max(done, default=-1) + 1)) - set(done)
        assert (len(done), True) == (len(set(done)), len(missing) <= 1), n  # the one that it struck
        made.clear()


def test_several_threads_do_each_piece_once_and_one_at_a_time():
    guard, counts = ReentryGuard(), {"inside": 0, "done": 0}

    def piece():
        counts["inside"] += 1
        assert 1 == counts["inside"]
        counts["done"] += 1
        counts["inside"] -= 1

    def outer():
        guard.do(piece)
        guard.do(piece)

    def body():
        rng = random.Random()
        for _ in range(300):
            guard.do(outer if rng.random() < 0.5 else lambda: (guard.do(piece), guard.do(piece)) and None)

    hammer(body, threads=4)
    assert 4 * 300 * 2 == counts["done"]


def test_renewed_in_a_child_it_is_free_whatever_its_parents_threads_did():
    guard, done = ReentryGuard(), []

    def outer():
        guard.do(done.append, "the parent's")
        guard.renew()
        assert "free" == guard.ask(lambda: "free")

    guard.do(outer)
    guard.do(done.append, "mine")
    assert ["mine"] == done
