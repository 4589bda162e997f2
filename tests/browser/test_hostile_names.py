"""Names and messages that mean harm, or are just broken, do none."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.messages import OpenPage, hystrix, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser

NAMES = [
    "<img src=x onerror=\"window.harmed=1\">",
    "</template></article><script>window.harmed=1</script>",
    "\"'><svg/onload=window.harmed=1>",
    "line one\nline two\r\n\ttabbed\u2028separated",
    "javascript:window.harmed=1",
    "__proto__",
    "constructor",
    "a\\b\\\"c",
    "\u202eright to left",
    "\U0001f525 ünïcode",
    " ",
    "n" * 500,
    "<b>" * 166 + "xx",
]  # fmt: skip


def test_any_name_is_shown_as_it_is_and_nothing_runs(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience(name, group=name) for name in NAMES]
    page = open_page(stream)
    expect(page.locator("[data-command]")).to_have_count(len(NAMES))
    shown = page.evaluate("""() => [...document.querySelectorAll('[data-command]')].map(e => [
        e.dataset.command, e.dataset.group, e.querySelector('h2').textContent])""")
    assert sorted([name, name, name] for name in NAMES) == sorted(shown)
    assert page.evaluate("window.harmed") is None
    assert page.locator("main img, main script, main b:not([data-field])").count() == 0


def test_a_hystrix_name_is_no_markup_either(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [hystrix(NAMES[1])]
    page = open_page(stream)
    expect(page.locator("h2")).to_have_text(NAMES[1])
    assert page.evaluate("window.harmed") is None


def test_a_name_of_500_characters_keeps_the_tile_in_its_place(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("n" * 500, group="g" * 500), resilience("short")]
    page = open_page(stream, viewport={"width": 900, "height": 700})
    expect(page.locator("[data-command]")).to_have_count(2)
    widths = page.evaluate("[...document.querySelectorAll('.tile')].map(e => e.offsetWidth)")
    assert widths[0] == widths[1]
    heights = page.evaluate("[...document.querySelectorAll('.head')].map(e => e.offsetHeight)")
    assert max(heights) < 90
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_broken_messages_are_counted_and_the_rest_goes_on(stream: StreamServer, open_page: OpenPage) -> None:
    broken = ["{", "null", "[]", "42", '"text"', '{"type":"ResilienceCommand"}', '{"type":"ResilienceCommand","key":7}',
              '{"type":"HystrixCommand","name":null}', '{"no":"type"}']  # fmt: skip
    stream.messages = [*broken, resilience("stock")]
    page = open_page(stream)
    expect(page.locator("[data-command]")).to_have_count(1)
    page.wait_for_function("n => Number(document.getElementById('show-malformed').textContent) >= n", arg=len(broken))
    expect(page.locator("#show-notes")).to_contain_text("malformed messages skipped")


def test_unknown_types_are_no_mistakes(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        {"type": "HystrixThreadPool", "name": "pool"},
        {"type": "HystrixCollapser", "name": "c"},
        {"type": "meta", "name": "meta", "timestamp": 1},
        {"deleteData": "true", "type": "HystrixCommand2", "name": "x"},
        {"type": "FromTheFuture"},
        resilience("stock"),
    ]
    page = open_page(stream)
    expect(page.locator("[data-command]")).to_have_count(1)
    expect(page.locator("#show-malformed")).to_have_text("0")


def test_fields_of_the_wrong_type_read_as_nothing(stream: StreamServer, open_page: OpenPage) -> None:
    nonsense = resilience("stock")
    nonsense |= {"counts": {"success": "7", "failure": -3, "timeout": None, "bad_request": 1.9}, "latency_s": [],
                 "rate": "fast", "error_rate": 17, "state": "<b>", "transitions": [None, 3, {"from": 1}],
                 "max_concurrent": {}, "retry_after_s": "soon", "in_flight": 1e308, "group": ["x"]}  # fmt: skip
    stream.messages = [nonsense, '{"type":"ResilienceCommand","key":"huge","rate":1e999,"requests":1e400}']
    page = open_page(stream)
    expect(page.locator("[data-command]")).to_have_count(2)
    tile = page.locator('[data-command="stock"]')
    expect(tile.locator('[data-field="success"]')).to_have_text("0")
    expect(tile.locator('[data-field="failure"]')).to_have_text("0")
    expect(tile.locator('[data-field="bad_request"]')).to_have_text("1")
    expect(tile.locator('[data-field="error_rate"]')).to_have_text("100.0%")
    expect(tile).to_have_attribute("data-state", "closed")


def test_an_endless_stream_of_new_names_stops_making_tiles(stream: StreamServer, open_page: OpenPage) -> None:
    page = open_page(stream)
    counted = page.evaluate("""async () => {
        const { Fleet } = await import('./js/fleet.js');
        const fleet = new Fleet({ staleAfterMs: 5000, forgetAfterMs: 10000, maxCommands: 50 });
        for (let i = 0; i < 80; i += 1) fleet.apply(0, JSON.stringify({type: 'ResilienceCommand', key: `k${i}`}), 1);
        return [fleet.commands.size, fleet.overflowed];
    }""")
    assert counted == [50, 30]
