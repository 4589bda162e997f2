"""The demo's script as data: cues come in order, repeat by rounds, and every illness ends."""

from resilience.demo.script import CUES, PROGRAMS, ROUND_S, SERVICES, cues_between
from resilience.demo.service import MOODS


def test_cues_are_in_order_and_within_a_round():
    times = [cue.at for cue in CUES]

    assert sorted(times) == times
    assert times[-1] < ROUND_S


def test_who_falls_ill_recovers_within_the_round_before_the_next_one_does():
    for ill, well in zip(CUES[::2], CUES[1::2], strict=True):
        assert ill.program == well.program
        assert ill.program in PROGRAMS
        assert ill.mood in set(MOODS) - {"well"}
        assert "well" == well.mood


def test_something_happens_to_every_service():
    assert set(SERVICES) == {service for service in SERVICES for cue in CUES if cue.program in service.programs}


def test_a_demo_of_25_seconds_has_a_sick_neighbour_a_dead_primary_that_comes_back_and_a_sick_canary():
    assert ["inventory", "inventory", "orders-primary", "orders-primary", "pricing-canary"] == \
        [cue.program for cue in cues_between(0.0, 25.0)]


def test_each_cue_is_given_exactly_once_however_time_is_sliced():
    whole = cues_between(0.0, 3 * ROUND_S)
    edges = [i * 0.37 for i in range(int(3 * ROUND_S / 0.37) + 1)] + [3 * ROUND_S]
    sliced = [cue for start, end in zip(edges, edges[1:]) for cue in cues_between(start, end)]

    assert 3 * len(CUES) == len(whole)
    assert whole == sliced
