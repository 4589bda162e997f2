"""What the terminal says, from cues and stream messages, on a clock that stands still."""

import io
import json

import pytest

from resilience.demo.script import Cue, Service
from resilience.demo.story import Story, data_lines
from resilience.demo.traffic import Route
from resilience.testing import ManualClock


@pytest.fixture
def clock():
    return ManualClock(100.0)


@pytest.fixture
def out():
    return io.StringIO()


SERVICES = (Service("inventory"), Service("orders", backup=True))
COMMANDS = {"inventory": "inventory", "orders@127.0.0.1:1": "orders-primary", "orders@127.0.0.1:2": "orders-backup"}


@pytest.fixture
def story(clock, out):
    return Story(SERVICES, {service.name: Route.new(service.name, clock()) for service in SERVICES}, COMMANDS,
                 out=out, clock=clock)


def message(*transitions, key="inventory", state="open"):
    return json.dumps({
        "type": "ResilienceCommand", "key": key, "state": state, "error_rate": 0.8,
        "transitions": [{"term": term, "from": old, "to": new, "trigger": trigger, "age_s": age}
                        for term, old, new, trigger, age in transitions]})


def test_an_opening_is_told_with_the_time_since_the_fault_and_the_health_of_the_others(story, clock, out):
    for _ in range(100):
        story._routes["orders"].note("200", 0.009, clock())
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


def test_a_backup_that_takes_over_and_the_primary_that_comes_back_are_told_with_the_errors_that_clients_saw(story, clock, out):
    route = story._routes["orders"]

    def answer(status, program=""):
        route.note(status, 0.01, clock(), program)
        story.look()

    answer("503")  # before the fault: not counted
    answer("200", "orders-primary")
    story.cue(Cue(0.0, "orders-primary", "dead", "orders-primary dies"))
    answer("200", "orders-backup")
    answer("502")
    answer("200", "orders-backup")
    story.cue(Cue(0.0, "orders-primary", "well", "orders-primary is back"))
    answer("200", "orders-primary")

    told = [line.partition(" s  ")[2] for line in out.getvalue().splitlines()]
    assert ["orders-primary dies",
            "orders: orders-backup answers in the place of orders-primary; clients of orders saw no error since the fault",
            "orders-primary is back",
            "orders: orders-primary answers again; clients of orders saw 1 error since the fault"] == told


def test_an_endpoint_is_told_of_by_its_name_and_the_sum_of_the_endpoints_only_gives_the_state(story, out):
    opened = (1, "closed", "open", "failure_rate", 0.3)
    story.hear(message(opened, key="orders@127.0.0.1:1"))
    story.hear(message(opened, key="orders", state="closed"))

    assert 1 == out.getvalue().count("circuit opened")
    assert "orders-primary: circuit opened" in out.getvalue()
    assert "closed" == story.states["orders"]


def test_the_summary_adds_up(story, clock, out):
    for status in ("200", "200", "503", "504", "500", "ConnectError"):
        story._routes["inventory"].note(status, 0.02, clock())
    for program in ("orders-primary", "orders-primary", "orders-backup"):
        story._routes["orders"].note("200", 0.02, clock(), program)
    story.hear(message((1, "closed", "open", "failure_rate", 0.3)))
    story.summary()

    rows = [line.split() for line in out.getvalue().splitlines() if line.startswith(("service", "inventory ", "orders "))]
    assert ["service", "answers", "errors", "500", "503", "504", "other"] == rows[0][:7]
    assert ["inventory", "6", "4", "1", "1", "1", "1"] == rows[1][:7]
    assert "1" == rows[1][-1]
    assert ["orders", "3", "0", "0", "0", "0", "0"] == rows[2][:7]
    assert "orders: 2 answers of orders-primary, 1 answers of orders-backup" in out.getvalue()


def test_data_lines_are_found_between_pings():
    assert ["{1}", "{2}"] == list(data_lines([b": ping\n\ndata: {1}\n", b"\ndata: {2}\n\n"]))
