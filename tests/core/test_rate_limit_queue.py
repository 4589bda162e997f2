"""One line of callers, step by step: who waits, until when, and what a leaver or another limit does to those behind."""

import pytest

from resilience.core.rate_limit_queue import COME, REFUSED, WAITING, CellRateState, Rate, Reservation


def line(waiting=0):
    """One call a second and none at once, with so many in the line since 10 s."""
    pace = CellRateState(Rate(1.0, 1), 10.0)
    pace.tat = 11.0  # somebody has just gone
    turns = [Reservation(pace, 10.0) for _ in range(waiting)]
    for turn in turns:
        pace.join(turn, 10.0, 1.0, 0.0)
    return pace, turns


def shape(pace):
    """The line from its head, and from its end."""
    there, back = [], []
    turn = pace.first
    while turn is not None:
        there.append(turn)
        turn = turn.after
    turn = pace.last
    while turn is not None:
        back.insert(0, turn)
        turn = turn.before
    assert there == back
    return there


def numbers(pace):
    return pace.base, pace.tat, pace.planned, pace.waiting


@pytest.mark.parametrize(("tat", "interval", "burst", "moved"), [
    (3.0, 0.5, 20, 3.0), (5.0, 0.5, 20, 5.0),  # nothing is spent
    (9.0, 0.5, 20, 9.0),  # 4 of 10 are 8 of 20
    (9.0, 2.0, 5, 13.0),  # 4 calls stay 4
    (9.0, 2.0, 3, 11.0),  # the burst has no more
    (9.0, 2.0, 10, 13.0),
])
def test_what_is_spent_stays_spent_under_another_rate(tat, interval, burst, moved):
    rate = Rate(1.0, 10)
    rate.until = 5.0

    assert moved == rate.moved(tat, Rate(interval, burst))


def test_a_rate_stands_until_another_takes_its_place():
    rate = Rate(2.0, 3)

    assert (2.0, 3, 0.0, None) == (rate.emission_interval, rate.burst, rate.until, rate.later)


def test_a_new_line_has_nothing_booked():
    pace, _ = line()
    pace.renew(20.0)

    assert (20.0, 20.0, 20.0, 0) == numbers(pace)
    assert [] == shape(pace)


def test_each_who_joins_is_a_call_behind_the_last():
    pace, turns = line(3)

    assert [11.0, 12.0, 13.0] == [turn.at for turn in turns]
    assert (11.0, 14.0, 14.0, 3) == numbers(pace)
    assert turns == shape(pace)
    assert [WAITING] * 3 == [turn.state for turn in turns]


def test_who_joins_an_idle_line_books_from_now_on_and_may_go_earlier_by_the_tolerance():
    pace, _ = line()
    turn = Reservation(pace, 20.0)
    pace.join(turn, 20.0, 1.0, 0.25)

    assert 19.75 == turn.at
    assert (20.0, 21.0, 21.0, 1) == numbers(pace)


def test_those_whose_turn_has_come_go():
    pace, (first, second, third) = line(3)
    assert [] == pace.pass_on(10.9, 1.0, 0.0)
    assert [first] == pace.pass_on(11.0, 1.0, 0.0)
    assert (12.0, 14.0, 14.0, 2) == numbers(pace)
    assert [second, third] == shape(pace)
    assert [second, third] == pace.pass_on(13.0, 1.0, 0.0)
    assert (14.0, 14.0, 14.0, 0) == numbers(pace)
    assert [] == shape(pace)
    assert [COME] * 3 == [turn.state for turn in (first, second, third)]


def test_a_tolerance_lets_them_go_earlier():
    pace, (first, second) = line(2)

    assert [first] == pace.pass_on(10.4, 1.0, 0.5)  # learns that it is to go at 10.5
    assert (WAITING, 10.5) == (first.state, first.at)
    assert [first, second] == pace.pass_on(10.5, 1.0, 0.5)  # the second learns that it is to go at 11.5
    assert (COME, WAITING, 11.5) == (first.state, second.state, second.at)
    assert [second] == pace.pass_on(11.5, 1.0, 0.5)


def test_the_next_is_woken_if_his_turn_comes_sooner():
    pace, (first, second) = line(2)
    second.at = 12.5

    assert [first, second] == pace.pass_on(11.0, 1.0, 0.0)
    assert (12.0, WAITING) == (second.at, second.state)


def test_once_somebody_who_need_not_wait_has_come_all_go():
    pace, turns = line(2)
    pace.tat += 1.0

    assert turns == pace.pass_on(10.0, 1.0, 0.0)


@pytest.mark.parametrize(("leaver", "left"), [(0, [1, 2]), (1, [0, 2]), (2, [0, 1])])
def test_those_behind_a_leaver_move_up(leaver, left):
    pace, turns = line(3)
    pace.leave(turns[leaver], REFUSED, 1.0)

    assert [turns[at] for at in left] == shape(pace)
    assert (11.0, 13.0, 13.0, 2) == numbers(pace)
    assert (REFUSED, None, None) == (turns[leaver].state, turns[leaver].before, turns[leaver].after)


def test_who_has_left_cannot_leave_again():
    pace, turns = line(2)
    pace.leave(turns[0], REFUSED, 1.0)
    pace.leave(turns[0], COME, 1.0)

    assert (REFUSED, 1) == (turns[0].state, pace.waiting)


def test_a_leaver_gives_nothing_back_once_others_have_booked_behind_the_line():
    pace, turns = line(2)
    pace.tat += 1.0
    pace.leave(turns[0], REFUSED, 1.0)

    assert (11.0, 14.0, 13.0, 1) == numbers(pace)


def test_under_a_slower_limit_those_are_refused_who_would_wait_too_long_and_the_others_told():
    pace, turns = line(4)

    assert turns[1:] == pace.plan_anew(3.0, 2.0, 0.0)  # 11, 13, 15 and 15 again
    assert [WAITING, WAITING, REFUSED, REFUSED] == [turn.state for turn in turns]
    assert [11.0, 13.0] == [turn.at for turn in turns[:2]]
    assert turns[:2] == shape(pace)


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_under_the_same_limit_or_one_with_more_tolerance_nobody_is_told(tolerance):
    pace, turns = line(3)

    assert [] == pace.plan_anew(3.0, 1.0, tolerance)
    assert turns == shape(pace)


def test_under_another_limit_a_leaver_gives_back_what_a_call_books_there():
    pace, turns = line(3)
    pace.leave(turns[0], REFUSED, 2.0)

    assert (11.0, 15.0, 15.0, 2) == numbers(pace)


def test_in_a_forked_child_whoever_waits_goes_on():
    pace, turns = line(3)
    pace.renew(20.0)

    assert [(COME, None, None)] * 3 == [(turn.state, turn.before, turn.after) for turn in turns]
    assert (20.0, 20.0, 20.0, 0) == numbers(pace)
    assert [] == shape(pace)
