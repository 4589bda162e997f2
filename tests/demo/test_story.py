"""What the terminal says, from cues and stream messages, on a clock that stands still."""

import io
import json

import pytest

from resilience.demo.script import Cue
from resilience.demo.story import Story, data_lines
from resilience.demo.traffic import Route
from resilience.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(100.0)


@pytest.fixture
def out():
    return io.StringIO()


@pytest.fixture
def story(clock, out):
    return Story({name: Route.new(name, clock()) for name in ("inventory", "pricing")}, out=out, clock=clock)


def message(*transitions, key="inventory", state="open"):
    return json.dumps({
        "type": "ResilienceCommand", "key": key, "state": state, "error_rate": 0.8,
        "transitions": [{"term": term, "from": old, "to": new, "trigger": trigger, "age_s": age}
                        for term, old, new, trigger, age in transitions]})


def test_an_opening_is_told_with_the_time_since_the_fault_and_the_health_of_the_others(story, clock, out):
    for _ in range(100):
        story._routes["pricing"].note("200", 0.009, clock())
    story.cue(Cue(0.0, "inventory", "hang", "inventory hangs"))
    clock.advance(1.5)
    story.hear(message((1, "closed", "open", "failure_rate", 0.3)))

    assert "inventory hangs" in out.getvalue()
    assert "inventory: circuit opened after 1.2 s (too many of its calls failed); the other routes are unaffected: p99 9 ms" \
        in out.getvalue()
    assert 1 == story.opened["inventory"]


def test_each_transition_is_told_once_though_the_stream_repeats_it(story, out):
    opened = (1, "closed", "open", "failure_rate", 0.3)
    story.hear(message(opened))
    story.hear(message(opened))
    story.hear(message(opened, (2, "open", "half_open", "wait_elapsed", 0.1), (3, "half_open", "closed", "probes_passed", 0.0),
                       state="closed"))

    told = out.getvalue()
    assert 1 == told.count("circuit opened")
    assert 1 == told.count("half-open, probing")
    assert 1 == told.count("the probe succeeded, circuit closed")


@pytest.mark.parametrize("noise", ["", "{", "[]", '{"type": "HystrixCommand"}', '{"type": "ResilienceCommand", "key": "other"}'])
def test_what_is_not_ours_is_passed_over(story, out, noise):
    story.hear(noise)

    assert "" == out.getvalue()


def test_the_summary_adds_up(story, clock, out):
    route = story._routes["inventory"]
    for status in ("200", "200", "503", "504", "500", "ConnectError"):
        route.note(status, 0.02, clock())
    story.summary()

    (row,) = [line for line in out.getvalue().splitlines() if line.startswith("inventory")]
    assert ["inventory", "6", "2", "1", "1", "1", "1"] == row.split()[:7]


def test_data_lines_are_found_between_pings():
    assert ["{1}", "{2}"] == list(data_lines([b": ping\n\ndata: {1}\n", b"\ndata: {2}\n\n"]))
