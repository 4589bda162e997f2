"""The script of the fleet's demo, on a clock that is told."""

from resilience.demo.fleet_script import FLEET_CUES, FLEET_ROUND_S, GATEWAYS, INSTANCES, REDIS, REGISTRY, Act, Script


def test_every_cue_comes_in_order_once_a_round_and_rounds_repeat():
    script, told = Script(), []
    for tenth in range(int(2.5 * FLEET_ROUND_S * 10)):
        cue = script.next(tenth / 10, is_busy=False)
        if cue is not None:
            told.append(cue)
    assert [*FLEET_CUES, *FLEET_CUES] == told[:2 * len(FLEET_CUES)]
    assert FLEET_CUES[0] == told[2 * len(FLEET_CUES)]


def test_no_cue_comes_while_the_one_before_is_not_done_and_none_is_left_out():
    script = Script()
    first = next(cue for tenth in range(100) if (cue := script.next(tenth / 10, is_busy=False)))
    assert FLEET_CUES[0] == first
    assert [None] * 500 == [script.next(10.0 + second, is_busy=True) for second in range(500)]
    pause = FLEET_CUES[1].at - FLEET_CUES[0].at
    assert script.next(509.0 + pause - 0.5, is_busy=False) is None
    assert FLEET_CUES[1] == script.next(509.0 + pause, is_busy=False)


def test_whoever_is_stopped_or_killed_in_a_round_is_started_again_before_the_next():
    up = dict.fromkeys((*GATEWAYS, *INSTANCES[:-1], REGISTRY, REDIS), True) | {INSTANCES[-1]: False}
    before = dict(up)
    for cue in FLEET_CUES:
        assert up[cue.program] is (cue.act is not Act.START), cue
        up[cue.program] = cue.act in (Act.START, Act.RESTART)
        assert sum(up[name] for name in GATEWAYS) >= 2 <= sum(up[name] for name in INSTANCES)
    assert before == up
