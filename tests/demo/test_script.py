"""The demo's script as data: cues come in order, repeat by rounds, and every illness ends."""

from resilience.demo.script import CUES, ROUND_S, SERVICES, cues_between
from resilience.demo.service import MOODS


def test_cues_are_in_order_and_within_a_round():
    times = [cue.at for cue in CUES]

    assert sorted(times) == times
    assert times[-1] < ROUND_S


def test_every_service_falls_ill_and_recovers_within_the_round():
    for service in SERVICES:
        moods = [cue.mood for cue in CUES if cue.service == service]
        assert len(moods) >= 2
        assert "well" == moods[-1]
        assert set(moods) <= set(MOODS)


def test_each_cue_is_given_exactly_once_however_time_is_sliced():
    whole = cues_between(0.0, 3 * ROUND_S)
    edges = [i * 0.37 for i in range(int(3 * ROUND_S / 0.37) + 1)] + [3 * ROUND_S]
    sliced = [cue for start, end in zip(edges, edges[1:]) for cue in cues_between(start, end)]

    assert 3 * len(CUES) == len(whole)
    assert whole == sliced
