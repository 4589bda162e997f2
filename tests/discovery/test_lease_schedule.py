"""When an instance registers and renews: each row of the table, and random histories against a registry that comes and goes."""

from __future__ import annotations

import random

from resilience.discovery import InstanceStatus
from resilience.discovery.lease_schedule import LeaseAnswer, LeaseSchedule, LeaseState
from tests.seeds import over_seeds

STARTING, UP, DOWN = InstanceStatus.STARTING, InstanceStatus.UP, InstanceStatus.DOWN
TAKEN, UNKNOWN, FAILED = LeaseAnswer.TAKEN, LeaseAnswer.UNKNOWN, LeaseAnswer.FAILED
ABSENT, PRESENT = LeaseState.ABSENT, LeaseState.PRESENT


def answered(schedule: LeaseSchedule, answer: LeaseAnswer, now: float, u: float = 0.0, trouble: str = "") -> bool:
    schedule.began()
    return schedule.answered(answer, trouble, now, u)


def test_it_registers_at_once_and_renews_after_each_interval_or_up_to_a_tenth_sooner() -> None:
    schedule = LeaseSchedule(UP, 30.0, 100.0)
    assert (ABSENT, 100.0) == (schedule.state, schedule.due)
    assert not answered(schedule, TAKEN, 100.5)
    assert (PRESENT, 130.5) == (schedule.state, schedule.due)
    assert not answered(schedule, TAKEN, 131.0, 0.5)
    assert (PRESENT, 159.5) == (schedule.state, schedule.due)


def test_a_registry_that_has_forgotten_the_instance_is_registered_with_at_once() -> None:
    schedule = LeaseSchedule(UP, 30.0, 0.0)
    answered(schedule, TAKEN, 0.0)
    assert not answered(schedule, UNKNOWN, 30.0)
    assert (ABSENT, 30.0, "") == (schedule.state, schedule.due, schedule.trouble)


def test_tries_that_fail_are_repeated_after_pauses_that_double_up_to_an_interval_and_are_shortened_by_chance() -> None:
    schedule = LeaseSchedule(UP, 30.0, 0.0)
    pauses = []
    for _ in range(8):
        answered(schedule, FAILED, 1000.0, 0.0, "refused")
        pauses.append(schedule.due - 1000.0)
    assert [1, 2, 4, 8, 16, 30, 30, 30] == pauses
    answered(schedule, FAILED, 1000.0, 0.5, "refused")
    assert 1022.5 == schedule.due
    answered(schedule, TAKEN, 1001.0)
    answered(schedule, FAILED, 1031.0, 0.0, "refused")
    assert (PRESENT, 1032.0) == (schedule.state, schedule.due), "of a lease that lasts, the renewal is tried again soon"
    for _ in range(2000):
        answered(schedule, FAILED, 2000.0, 0.0, "refused")
    assert 2030.0 == schedule.due


def test_a_lease_that_is_over_is_none_and_the_next_step_is_a_registration() -> None:
    schedule = LeaseSchedule(UP, 30.0, 0.0)
    answered(schedule, TAKEN, 5.0)
    answered(schedule, FAILED, 94.9, trouble="refused")
    assert PRESENT is schedule.state
    answered(schedule, FAILED, 95.0, trouble="refused")
    assert (ABSENT, 97.0) == (schedule.state, schedule.due)
    answered(schedule, TAKEN, 97.0)
    answered(schedule, FAILED, 186.0, trouble="refused")
    assert PRESENT is schedule.state


def test_each_trouble_is_told_of_once_and_so_is_its_end() -> None:
    schedule = LeaseSchedule(UP, 30.0, 0.0)
    told = [answered(schedule, FAILED, 0.0, 0.0, trouble) for trouble in ("a", "a", "b", "a", "b")]
    assert [True, False, True, False, False] == told
    assert [True, False] == [answered(schedule, TAKEN, 0.0), answered(schedule, TAKEN, 0.0)]
    assert answered(schedule, FAILED, 0.0, 0.0, "a")
    assert 101 > sum(answered(schedule, FAILED, 0.0, 0.0, f"trouble {number}") for number in range(10_000))


def test_another_status_is_registered_at_once_even_if_it_comes_while_the_registry_is_asked() -> None:
    schedule = LeaseSchedule(STARTING, 30.0, 0.0)
    answered(schedule, TAKEN, 0.0)
    assert not schedule.be(STARTING, 1.0)
    assert schedule.be(UP, 1.0)
    assert (ABSENT, 1.0) == (schedule.state, schedule.due)
    for answer in (TAKEN, UNKNOWN, FAILED):
        assert ABSENT is schedule.began()
        schedule.be(DOWN if schedule.status is UP else UP, 2.0)
        schedule.answered(answer, "late", 3.0, 0.0)
        assert (ABSENT, 2.0) == (schedule.state, schedule.due), "what was answered is about another status"


@over_seeds(60)
def test_in_random_histories_the_registry_has_the_instance_soon_after_it_is_there_and_is_never_flooded(seed: int) -> None:
    rng = random.Random(seed)
    interval, now = 30.0, 0.0
    schedule = LeaseSchedule(STARTING, interval, now)
    listed: InstanceStatus | None = None  # what a plain registry lists
    is_away, back_at, changed_at, asked = True, 0.0, 0.0, list[float]()
    for _ in range(300):
        happens_at = now + rng.choice([0.5, 3.0, 20.0, 90.0])
        while schedule.due <= happens_at:
            now = max(now, schedule.due)
            asked.append(now)
            step = schedule.began()
            if is_away:
                answer = FAILED
            elif step is ABSENT:
                listed, answer = schedule.status, TAKEN
            else:
                answer = TAKEN if listed is not None else UNKNOWN
            schedule.answered(answer, "away" if is_away else "", now, rng.random())
        now = happens_at
        if not is_away and now - max(back_at, changed_at) > interval:
            assert listed is schedule.status, "an interval is enough"
        match rng.randrange(4):
            case 0:
                is_away = not is_away
                back_at = now
            case 1:
                listed, back_at = None, now  # it has restarted
            case 2 if schedule.be(rng.choice([STARTING, UP, DOWN]), now):
                changed_at = now
    for first, sixth in zip(asked, asked[6:], strict=False):
        assert sixth - first >= 0.5, "six questions take a while, whatever the registry says"
