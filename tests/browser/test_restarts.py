"""A process that was restarted has one row beside it no longer: its successor takes its place."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from resilience_dashboard import app

from tests.browser.messages import OpenPage, resilience
from tests.dashboard.servers import StreamServer, served

pytestmark = pytest.mark.browser

#: Plays [[second, instance or instances], ...] to a fleet of one command; what is left of it at each second that is asked for.
PLAY = """async ([base, told, asked]) => {
    const { Fleet } = await import(`${base}/js/fleet.js`);
    const fleet = new Fleet({ staleAfterMs: 5000, forgetAfterMs: 300_000 });
    const seen = [];
    for (let second = 0; second <= 700; second += 1) {
        for (const [from, to, stream, instance] of told) {
            if (second >= from && second <= to)
                fleet.apply(stream, JSON.stringify({ type: 'ResilienceCommand', key: 'k', instance, rate: 1 }), second * 1000);
        }
        fleet.tick(second * 1000);
        if (!asked.includes(second)) continue;
        const command = fleet.commands.get('k\\n');
        seen.push([[...command.reporters.values()].map(r => r.reading.instance).sort(), command.view.hosts, command.view.silent,
            command.restarts(second * 1000, 300_000)?.times ?? 0]);
    }
    return seen;
}"""


def play(browser: Browser, told: list[list[Any]], *asked: int) -> Any:
    with served(app, ["/resilience.stream"]) as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(base + "/favicon.svg")
        return page.evaluate(PLAY, [base, told, list(asked)])


def test_the_successor_takes_the_place_once_the_other_is_silent(browser: Browser) -> None:
    told = [[0, 10, 0, "web-1:17"], [13, 700, 0, "web-1:23"]]
    before, after, later = play(browser, told, 14, 16, 330)
    assert [["web-1:17", "web-1:23"], 2, 0, 0] == before
    assert [["web-1:23"], 1, 0, 1] == after
    assert [["web-1:23"], 1, 0, 0] == later


def test_a_process_that_does_not_stay_up_is_counted(browser: Browser) -> None:
    told = [[0, 10, 0, "w:1"], [11, 12, 0, "w:2"], [13, 14, 0, "w:3"], [20, 20, 0, "w:4"], [30, 700, 0, "w:5"]]
    assert [[["w:5"], 1, 0, 4]] == play(browser, told, 40)


def test_each_successor_replaces_one(browser: Browser) -> None:
    told = [[0, 10, 0, "w:1"], [0, 10, 0, "w:2"], [0, 700, 0, "w:3"], [12, 700, 0, "w:4"]]
    ((instances, hosts, silent, times),) = play(browser, told, 20)
    assert (len(instances), hosts, silent, times) == (3, 2, 1, 1)
    assert {"w:3", "w:4"} < set(instances)


def test_a_busy_page_that_reads_both_at_one_time_goes_by_their_order(browser: Browser) -> None:
    (told,) = play(browser, [[0, 10, 0, "w:1"], [10, 700, 0, "w:2"]], 20)
    assert [["w:2"], 1, 0, 1] == told


@pytest.mark.parametrize("there", [[[0, 0, 0, "w:1"], [0, 700, 0, "w:2"]], [[0, 700, 0, "w:2"], [0, 10, 0, "w:1"]]])
def test_two_that_a_page_heard_first_at_one_time_were_there_together(browser: Browser, there: list[list[Any]]) -> None:
    ((instances, hosts, silent, times),) = play(browser, there, 20)
    assert (instances, hosts, silent, times) == (["w:1", "w:2"], 1, 1, 0)


@pytest.mark.parametrize(
    "other",
    [[5, 700, 0, "w:2"], [12, 700, 1, "w:2"], [12, 700, 0, "v:2"], [12, 700, 0, "w"], [12, 700, 0, "ww:2"]],
    ids=["a worker that was there", "another stream", "another host", "no process", "a longer name"],
)
def test_who_is_no_successor_leaves_the_other_silent(browser: Browser, other: list[Any]) -> None:
    ((instances, hosts, silent, times),) = play(browser, [[0, 10, 0, "w:1"], other], 20)
    assert "w:1" in instances
    assert (hosts, silent, times) == (1, 1, 0)


def test_a_stream_that_broke_off_brings_its_instances_back(browser: Browser) -> None:
    told = [[0, 10, 0, "w:1"], [0, 10, 0, "w:2"], [30, 700, 0, "w:1"], [30, 700, 0, "w:2"]]
    assert [[["w:1", "w:2"], 2, 0, 0]] == play(browser, told, 40)


def test_the_tile_says_so(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("k", instance="web-1:17")]
    page = open_page(stream)
    tile = page.locator('[data-command="k"]')
    expect(tile).to_be_visible()
    stream.messages = [resilience("k", instance="web-1:23")]
    expect(tile.locator('[data-field="restarted"]')).to_contain_text("restarted ")
    expect(tile.locator('[data-field="instances"]')).to_have_text("")
    expect(tile.locator(".troubled li")).to_have_count(0)
    stream.messages = [resilience("k", instance="web-1:24")]
    expect(tile.locator('[data-field="restarted"]')).to_contain_text("2 restarts, the last one ")
