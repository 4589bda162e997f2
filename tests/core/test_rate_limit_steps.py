"""The rate limit step by step, at literal times: who waits until when, who is told what, and which keys are forgotten."""

import attrs
import pytest

from resilience.core.rate_limit import RateLimit
from resilience.core.rate_limit_queue import COME, LEFT, REFUSED, WAITING, CellRateState, Rate, Reservation
from resilience.core.rate_limiter import RateLimiter
from resilience.errors import RateLimitedError


def asked(limiter, now, *args):
    """("wait", the turn) or ("refused", retry_after)."""
    try:
        return "wait", limiter.reserve(now, args)
    except RateLimitedError as error:
        return "refused", error.retry_after


def waiting_limiter(turns, now=0.0, **settings):
    """One that has let its burst go, and the turns of so many who wait; woken ones are noted."""
    limiter, woken = RateLimiter(RateLimit(1, **{"per": 1.0, "max_wait": 10.0, **settings}), key="k", now=now), []
    for _ in range(settings.get("burst") or 1):
        assert limiter.reserve(now) is None
    made = [limiter.reserve(now) for _ in range(turns)]
    for n, turn in enumerate(made):
        turn.wake = lambda n=n: woken.append(n)
    return limiter, made, woken


def test_a_call_that_would_wait_too_long_is_told_when_it_would_not():
    limiter, turns, _ = waiting_limiter(2, max_wait=2.0)

    assert [1.0, 2.0] == [turn.at for turn in turns]
    assert ("refused", 1.0) == asked(limiter, 0.0)
    assert ("refused", 0.75) == asked(limiter, 0.25)
    assert 3.0 == limiter.reserve(1.0).at


def test_a_call_may_be_early_by_a_millionth_of_an_interval_and_no_more():
    for now, said in ((-1e-6, "wait"), (-1.1e-6, "refused")):
        limiter = RateLimiter(RateLimit(1, per=1.0), key="k", now=-1.0)
        assert limiter.reserve(-1.0) is None
        assert said == asked(limiter, now)[0]


def test_in_shadow_mode_a_call_that_would_wait_books_its_turn_and_one_that_would_be_refused_is_told():
    limiter, told = RateLimiter(RateLimit(1, per=1.0, max_wait=1.5), key="k", now=0.0), []
    limiter.shadow = lambda: told.append(limiter.pace.tat)
    assert [None] * 4 == [limiter.reserve(0.0) for _ in range(4)]
    assert ([2.0, 2.0], 2.0) == (told, limiter.pace.tat)
    limiter.shadow = None
    assert ("refused", 0.5) == asked(limiter, 0.0)
    assert 2.0 == limiter.reserve(1.0).at


def test_each_who_waits_looks_again_when_the_turn_comes_at_the_latest():
    limiter, turns, _ = waiting_limiter(3, burst=2)

    assert [1.0, 2.0, 3.0] == [limiter.look(turn, 0.0) for turn in turns]
    turns[0].at = 0.25  # as an interrupt in the midst of a change leaves it
    assert 0.5 == limiter.look(turns[0], 0.5)
    turns[1].at = 0.5
    assert 2.5 == limiter.look(turns[1], 0.5)
    turns[2].at = 0.5
    assert 2.5 == limiter.look(turns[2], 0.5)


def test_who_waits_is_refused_under_a_shorter_wait_and_told_when_to_come_again():
    limiter, turns, woken = waiting_limiter(4, burst=2)
    limiter.configure(RateLimit(1, per=1.0, burst=2, max_wait=2.5), 0.0)
    assert ([2, 3], 2, 4.0) == (woken, limiter.pace.waiting, limiter.pace.tat)
    for turn in turns[2:]:
        with pytest.raises(RateLimitedError) as caught:
            limiter.look(turn, 0.0)
        assert (0.5, "k") == (caught.value.retry_after, caught.value.key)
        with pytest.raises(RateLimitedError) as caught:
            limiter.look(turn, 3.0)
        assert 0.0 == caught.value.retry_after


def test_the_same_limit_again_changes_nothing_and_a_longer_wait_refuses_nobody():
    limiter, turns, woken = waiting_limiter(2)
    rate = limiter._rate
    limiter.configure(RateLimit(1, per=1.0, max_wait=10.0), 0.0)
    limiter.configure(RateLimit(1, per=1.0, max_wait=20.0), 0.0)
    assert (rate, [], [1.0, 2.0], 3.0) == (limiter._rate, woken, [turn.at for turn in turns], limiter.pace.tat)
    for _ in range(17):
        limiter.reserve(0.0)
    assert 20.0 == limiter.reserve(0.0).at


def test_another_rate_moves_those_who_wait_and_wakes_those_who_wait_less():
    limiter, turns, woken = waiting_limiter(3)
    limiter.configure(RateLimit(2, per=1.0, burst=1, max_wait=10.0), 0.5)
    assert (0.5, 2.25, [0]) == (limiter.emission_interval, limiter.pace.tat, woken)
    assert 0.25 == limiter.look(turns[0], 0.5)
    assert 0.0 == limiter.look(turns[0], 0.75)
    assert (0.5, 1.0) == (limiter.look(turns[1], 0.75), limiter.look(turns[1], 0.25))


def test_a_change_lets_those_go_whose_turn_has_come():
    limiter, turns, woken = waiting_limiter(3)
    limiter.configure(RateLimit(1, per=2.0, max_wait=10.0), 2.25)

    assert ([0, 1], 1) == (woken[:2], limiter.pace.waiting)
    assert 0.0 == limiter.look(turns[1], 2.25)


def test_forgotten_is_what_is_booked_but_for_those_who_wait():
    limiter = RateLimiter(RateLimit(1, per=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    limiter.clear(1.0)
    assert (1.0, None) == (limiter.pace.tat, limiter.reserve(1.0))

    limiter, turns, woken = waiting_limiter(2)
    limiter.clear(1.0)
    assert ([0], 1, 1.0) == (woken, limiter.pace.waiting, limiter.look(turns[1], 1.0))

    keyed = RateLimiter(RateLimit(1, per=10.0, by=str, max_keys=2, max_wait=20.0), key="k", now=0.0)
    for key in "abccd":  # the last three share a pace
        keyed.reserve(0.0, (key,))
    waits = keyed.reserve(0.0, ("a",))
    keyed.clear(1.0)
    assert (1, 2) == (keyed.keys, keyed._overflow.waiting)
    assert keyed.reserve(1.0, ("b",)) is None
    assert 9.0 == keyed.look(waits, 1.0)


def test_the_pace_that_further_keys_share_is_forgotten_too():
    keyed = RateLimiter(RateLimit(1, per=10.0, by=str, max_keys=1), key="k", now=0.0)
    assert [None, None] == [keyed.reserve(0.0, (key,)) for key in "ab"]
    assert "refused" == asked(keyed, 0.0, "c")[0]
    keyed.clear(1.0)
    assert [None, None] == [keyed.reserve(1.0, (key,)) for key in "ab"]


def test_in_a_forked_child_nothing_is_booked_and_no_key_known():
    keyed = RateLimiter(RateLimit(1, per=10.0, by=str, max_keys=1), key="k", now=0.0)
    for key in "ab":
        keyed.reserve(0.0, (key,))
    lock = keyed._lock
    keyed.renew(1.0)

    assert (0, 1.0, 1.0, True) == (keyed.keys, keyed.pace.tat, keyed._overflow.tat, keyed._lock is not lock)
    limiter, _, _ = waiting_limiter(2)
    assert 1 == len(limiter._lines)
    limiter.renew(1.0)
    assert 0 == len(limiter._lines)


def test_the_least_recently_used_of_the_idle_keys_makes_room_and_no_more_than_eight_are_looked_at():
    keyed = RateLimiter(RateLimit(1, per=10.0, by=str, max_keys=3), key="k", now=0.0)
    for now, key in enumerate("abca"):  # the last of which is refused, and used all the same
        asked(keyed, float(now), key)
    assert keyed.reserve(11.0, ("d",)) is None
    assert ["c", "a", "d"] == list(keyed._paces)

    for idle, known in ((8, False), (7, True)):
        keyed = RateLimiter(RateLimit(1, per=10.0, by=str, max_keys=10), key="k", now=-100.0)
        for n in range(10):
            keyed.reserve(-50.0 if n == idle else 0.0, (n,))
        keyed.reserve(1.0, ("new",))
        assert known is ("new" in map(str, keyed._paces))
        assert 10 == keyed.keys


def test_fewer_keys_are_allowed_at_once_as_far_as_they_owe_nothing():
    keyed = RateLimiter(RateLimit(1, per=10.0, by=str, max_keys=5), key="k", now=-100.0)
    for key, now in (("a", 0.0), ("b", -50.0), ("c", -50.0), ("d", -10.0), ("e", 0.0)):
        keyed.reserve(now, (key,))
    keyed.configure(RateLimit(1, per=10.0, by=str, max_keys=4), 0.0)
    assert ["a", "c", "d", "e"] == list(keyed._paces)
    keyed.configure(RateLimit(1, per=10.0, by=str, max_keys=1), 0.0)
    assert ["a", "e"] == list(keyed._paces)


def test_the_number_for_compiled_wrappers_leads_keyed_calls_here_and_grows_with_the_burst():
    rate = RateLimit(2, per=1.0, burst=5)
    limiter, keyed = RateLimiter(rate, key="k", now=0.0), RateLimiter(attrs.evolve(rate, by=str), key="k", now=0.0)
    assert (2.0 + 0.5e-6, float("-inf")) == (limiter.burst_tolerance, keyed.burst_tolerance)
    for each in (limiter, keyed):
        each.configure(attrs.evolve(rate, burst=3, by=None if each is limiter else str), 0.0)
    assert (1.0 + 0.5e-6, float("-inf")) == (limiter.burst_tolerance, keyed.burst_tolerance)
    limiter.configure(attrs.evolve(rate, burst=3, max_wait=1.0), 0.0)
    assert (1.0 + 0.5e-6, 0.5) == (limiter.burst_tolerance, limiter.emission_interval)


def test_a_waiter_is_not_woken_by_its_own_look_but_the_others_are():
    limiter, turns, woken = waiting_limiter(3)
    assert 0.0 == limiter.look(turns[1], 2.0)
    assert [0] == woken


def test_those_whom_a_closed_loop_lets_go_first_are_woken_when_they_come_to_be_next():
    limiter, turns, woken = waiting_limiter(4)

    def closed():
        raise RuntimeError("Event loop is closed")

    turns[1].wake = closed
    limiter.withdraw(turns[0], 0.5)
    assert ([2], 2) == (woken, limiter.pace.waiting)
    assert 0.5 == limiter.look(turns[2], 0.5)
    turns[3].wake = None
    limiter.withdraw(turns[2], 0.5)
    assert ([2], 0.5) == (woken, limiter.look(turns[3], 0.5))


def test_a_line_is_held_as_long_as_somebody_waits_in_it():
    keyed = RateLimiter(RateLimit(1, per=1.0, by=str, max_wait=10.0), key="k", now=0.0)
    keyed.reserve(0.0, ("a",))
    turn = keyed.reserve(0.0, ("a",))
    assert [turn.pace] == list(keyed._lines)
    keyed.look(turn, 0.5)
    assert [turn.pace] == list(keyed._lines)
    keyed.look(turn, 1.0)
    assert [] == list(keyed._lines)


def test_once_it_only_counts_those_who_wait_are_let_go_and_before_they_are_not():
    limiter, turns, woken = waiting_limiter(2)
    limiter.hand_on(0.5)
    assert ([], [WAITING, WAITING]) == (woken, [turn.state for turn in turns])
    limiter.shadow = lambda: None
    limiter.hand_on(0.5)
    assert ([0, 1], [COME, COME], []) == (woken, [turn.state for turn in turns], list(limiter._lines))


class Incomparable:
    def __hash__(self):
        return 7

    def __eq__(self, other):
        raise TypeError("cannot be compared")


def test_a_key_that_tells_no_calls_apart_is_a_mistake_of_by_and_one_that_cannot_be_compared_of_its_own():
    limiter = RateLimiter(RateLimit(5, by=lambda key: key), key="stock", now=0.0)
    with pytest.raises(TypeError, match=r"^stock: by must return something hashable, such as a string or a tuple, not \[\]: "):
        limiter.reserve(0.0, ([],))
    assert limiter.reserve(0.0, (Incomparable(),)) is None
    with pytest.raises(TypeError, match="^cannot be compared$"):
        limiter.reserve(0.0, (Incomparable(),))


def test_who_looks_while_another_thread_changes_the_line_waits_another_interval_at_least():
    class Late(RateLimiter):
        """Another thread changes the line just after it was looked through."""

        def _pass_on(self, pace, now, **others):
            """It was looked through before."""

    limiter = Late(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0)
    limiter.reserve(0.0)
    turns = [limiter.reserve(0.0) for _ in range(3)]

    assert 1.0 == limiter.look(turns[1], 3.5)


def test_a_change_of_the_rate_forgets_the_keys_that_owe_nothing_by_then_and_looks_after_eight():
    keyed = RateLimiter(RateLimit(1, per=10.0, by=str), key="k", now=0.0)
    for key, now in (("a", 0.0), ("b", 0.5), ("c", 1.0)):
        keyed.reserve(now, (key,))
    keyed.configure(RateLimit(1, per=20.0, by=str), 10.5)
    assert ["c"] == list(keyed._paces)
    assert 11.5 == keyed._paces["c"].tat  # half a second of ten is one of twenty

    keyed = RateLimiter(RateLimit(1, per=10.0, by=str), key="k", now=0.0)
    for n in range(10):
        keyed.reserve(0.0, (n,))
    keyed.configure(RateLimit(1, per=20.0, by=str), 5.0)
    assert [*map(str, (8, 9, 0, 1, 2, 3, 4, 5, 6, 7))] == list(keyed._paces)
    assert [10.0] * 2 + [15.0] * 8 == [pace.tat for pace in keyed._paces.values()]
    assert ("refused", 10.0) == asked(keyed, 5.0, 9)
    assert ["9"] == list(keyed._paces)[-1:]


def test_who_comes_wakes_those_whose_turn_has_come():
    limiter, woken = RateLimiter(RateLimit(1, per=1.0, max_wait=10.0), key="k", now=0.0), []
    limiter.reserve(0.0)
    turns = [limiter.reserve(0.0) for _ in range(3)]
    for n, turn in enumerate(turns):
        turn.wake = lambda n=n: woken.append(n)
    assert 4.0 == limiter.reserve(2.0).at

    assert ([0, 1], 2) == (woken, limiter.pace.waiting)


def test_a_key_that_no_change_looked_after_is_brought_up_to_date_before_it_is_kept_or_forgotten():
    for forget in (lambda keyed: keyed.reserve(6.0, ("new",)),
                   lambda keyed: keyed.configure(RateLimit(1, per=1.0, by=str, max_keys=9), 6.0)):
        keyed = RateLimiter(RateLimit(1, per=10.0, by=str, max_keys=10), key="k", now=0.0)
        for n in range(10):
            keyed.reserve(0.0, (n,))
        keyed.configure(RateLimit(1, per=1.0, by=str, max_keys=10), 5.0)
        assert (10, 10.0, 5.5) == (keyed.keys, keyed._paces["8"].tat, keyed._paces["0"].tat)
        forget(keyed)
        assert "8" not in keyed._paces
        assert {*"012345679"} <= set(keyed._paces)


def test_a_call_that_passes_in_the_midst_of_a_change_is_moved_with_what_was_booked():
    limiter, passes = RateLimiter(RateLimit(1, per=1.0, burst=4), key="k", now=0.0), [1]
    pace = limiter.pace

    class Passed(Rate):
        """In the midst of a move somebody passes, as by a compiled wrapper."""

        __slots__ = ()

        def moved(self, tat, later):
            if passes:
                pace.tat += float(passes.pop())
            return super().moved(tat, later)

    limiter.reserve(0.0)
    limiter._rate = pace.rate = Passed(1.0, 4)
    limiter.configure(RateLimit(2, per=1.0, burst=4), 0.0)

    assert (1.0, 0.5, []) == (pace.tat, limiter.emission_interval, passes)  # two calls at half a second


def test_what_is_new_in_a_line_is_as_it_is_said():
    rate = Rate(0.5, 2)
    pace = CellRateState(rate, 3.0)
    turn = Reservation(pace, 4.0)

    assert (0, 1, 2, 3) == (WAITING, COME, LEFT, REFUSED)
    assert (rate, 3.0, 3.0, 3.0, 0, None, None) == (pace.rate, pace.tat, pace.base, pace.planned, pace.waiting, pace.first, pace.last)
    assert (pace, 4.0, 4.0, WAITING, None, None, None) == (turn.pace, turn.asked, turn.at, turn.state, turn.before, turn.after, turn.wake)
    rate.until = 3.0
    assert (2.5, 3.0, 3.25, 4.5) == tuple(rate.moved(tat, Rate(0.25, 4)) for tat in (2.5, 3.0, 3.25, 5.0))
