"""What a tile tells the person on call at a glance: how bad, since when, why, whose, and what comes next."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.messages import OpenPage, hystrix, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser

FAILURE = {"type": "httpx.ConnectTimeout", "message": 'no <b>route</b> to "10.0.0.9"', "ago_s": 4.2, "count": 41}
RED, AMBER, GREEN = "rgb(191, 38, 38)", "rgb(147, 88, 0)", "rgb(26, 122, 69)"


def tile(page: Page, key: str) -> Locator:
    return page.locator(f"[data-command={json.dumps(key)}]")


def field(page: Page, key: str, name: str) -> Locator:
    return tile(page, key).locator(f'[data-field="{name}"]')


def bar(page: Page, key: str) -> Any:
    return tile(page, key).evaluate("e => getComputedStyle(e, '::before').backgroundColor")


def test_the_bar_takes_the_worse_of_state_and_error_rate(stream: StreamServer, open_page: OpenPage) -> None:
    waiting = {"state": "open", "retry_after_s": 0.0, "rate": 0.0}
    stream.messages = [
        resilience("well"),
        resilience("closed-and-full", counts={"semaphore_rejected": 100}),
        resilience("one-in-ten", error_rate=0.1),
        resilience("one-in-twenty", error_rate=0.05),
        resilience("open-without-errors", state="open", retry_after_s=2.0, rate=0.0),
        resilience("forced-without-errors", state="forced_open", rate=0.0),
        resilience("probing", state="half_open"),
        resilience("probing-and-failing", state="half_open", error_rate=0.9),
        resilience("waiting", **waiting),
        resilience("off-and-failing", state="disabled", error_rate=0.5),
        hystrix("legacy-failing", requests=100, errors=60),
    ]
    page = open_page(stream, color_scheme="light")
    colours = {
        "well": GREEN, "closed-and-full": RED, "one-in-ten": AMBER, "one-in-twenty": GREEN, "open-without-errors": RED,
        "forced-without-errors": RED, "probing": AMBER, "probing-and-failing": RED, "waiting": AMBER,
        "off-and-failing": RED, "legacy-failing": RED,
    }  # fmt: skip
    expect(page.locator("[data-command]")).to_have_count(len(colours))
    assert colours == {key: bar(page, key) for key in colours}


def test_a_closed_circuit_on_a_red_tile_is_not_called_well_by_a_green_word(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [resilience("sick", error_rate=1.0), resilience("well")]
    page = open_page(stream, color_scheme="light")
    expect(field(page, "sick", "state")).to_have_text("closed")
    assert tile(page, "sick").locator(".state").evaluate("e => getComputedStyle(e).color") != GREEN
    assert tile(page, "well").locator(".state").evaluate("e => getComputedStyle(e).color") == GREEN


def test_a_full_gauge_is_red_also_if_it_is_full_on_one_instance_only(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("full", in_flight=20),
        resilience("nearly", in_flight=17),
        resilience("some", in_flight=3),
        resilience("unbounded", in_flight=300, max_concurrent=None),
        resilience("one-of-two", instance="a:1", in_flight=20),
        resilience("one-of-two", instance="b:1", in_flight=0),
    ]
    page = open_page(stream, color_scheme="light")
    expect(page.locator("[data-command]")).to_have_count(5)
    expected = {"full": RED, "one-of-two": RED, "nearly": AMBER}
    for key in ("full", "nearly", "some", "unbounded", "one-of-two"):
        fill = tile(page, key).locator(".gauge-now").evaluate("e => getComputedStyle(e).fill")
        assert expected.get(key, "rgb(12, 107, 99)") == fill, key
        expect(tile(page, key).locator(".full")).to_be_visible(visible=expected.get(key) == RED)


def test_an_operators_word_waits_for_the_operator(stream: StreamServer, open_page: OpenPage) -> None:
    """Also where an old server says a time after which a refused caller should come back."""
    stream.messages = [
        resilience("forced", state="forced_open", forced=True, state_since_s=27.4, retry_after_s=None),
        resilience("old", state="forced_open", retry_after_s=5.0),
        resilience("held-closed", state="forced_closed", state_since_s=3.0),
    ]
    page = open_page(stream)
    for key in ("forced", "old", "held-closed"):
        expect(field(page, key, "course")).to_have_text("until released")
        expect(tile(page, key).get_by_text("retry in")).to_be_hidden()
    expect(field(page, "forced", "since")).to_contain_text("for 27 s")
    expect(field(page, "forced", "since")).to_have_attribute("data-value", "27")
    expect(field(page, "old", "since")).to_have_text("")


def test_a_circuit_whose_wait_is_over_says_that_it_waits_for_a_call(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("nightly", state="open", retry_after_s=0.0, rate=0.0, state_since_s=7300.0),
        resilience("soon", state="open", retry_after_s=1.5),
    ]
    page = open_page(stream)
    expect(field(page, "nightly", "course")).to_have_text("ready to probe; waits for the next call")
    expect(tile(page, "nightly").get_by_text("retry in")).to_be_hidden()
    expect(tile(page, "nightly")).to_have_attribute("data-state", "open")
    expect(page.get_by_role("button", name="2 open")).to_be_visible()
    expect(tile(page, "soon").get_by_text("retry in")).to_be_visible()
    expect(field(page, "soon", "retry_after")).to_have_text("1.5 s")
    expect(field(page, "soon", "course")).to_have_text("")


def test_since_when_is_the_outage_and_not_its_last_probe(stream: StreamServer, open_page: OpenPage) -> None:
    change = {"term": 9, "from": "half_open", "to": "open", "trigger": "probe_failed", "age_s": 2.0}
    stream.messages = [
        resilience("flapping", state="open", state_since_s=2.0, opened_ago_s=200.0, transitions=[change]),
        resilience("no-outage", state_since_s=7000.0, opened_ago_s=None),
        resilience("old-server", state="open", transitions=[change]),
    ]
    page = open_page(stream)
    expect(field(page, "flapping", "since")).to_have_text("for 3 min")
    expect(field(page, "no-outage", "since")).to_have_text("for 2 h")
    expect(field(page, "old-server", "since")).to_contain_text("for 2 s")


def test_since_when_a_hystrix_circuit_is_open_is_what_the_page_has_seen(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [hystrix("CreditCard")]
    page = open_page(stream)
    expect(field(page, "CreditCard", "since")).to_have_text("")
    stream.messages = [hystrix("CreditCard", isCircuitBreakerOpen=True)]
    expect(field(page, "CreditCard", "since")).to_contain_text("for 0 s")


def test_how_long_calls_fail_behind_a_closed_circuit_is_told(stream: StreamServer, open_page: OpenPage) -> None:
    history = {"step_s": 5.0, "age_s": 0.0, "requests": [50] * 26, "errors": [0] * 20 + [50] * 6}
    forever = {**history, "errors": [50] * 26}
    stream.messages = [
        resilience("lately", error_rate=1.0, history=history),
        resilience("always", error_rate=1.0, history=forever),
        resilience("no-more", history=history),
    ]
    page = open_page(stream)
    expect(field(page, "lately", "failing")).to_contain_text("failing for 3")
    expect(field(page, "always", "failing")).to_have_text("failing for 2 min or longer")
    expect(field(page, "no-more", "failing")).to_have_text("")


def test_the_last_failure_says_what_when_and_how_often(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("sick", state="open", last_failure=FAILURE, reason="5 of 8 calls failed"),
        resilience("once", last_failure={**FAILURE, "count": 1, "message": ""}),
        resilience("none", last_failure=None),
        resilience("old"),
    ]
    page = open_page(stream)
    expect(field(page, "sick", "reason")).to_have_text("5 of 8 calls failed")
    expect(field(page, "sick", "failure_type")).to_have_text("httpx.ConnectTimeout")
    expect(field(page, "sick", "failure_message")).to_have_text('no <b>route</b> to "10.0.0.9"')
    expect(field(page, "sick", "failure_when")).to_have_text("4 s ago, 41 like it")
    expect(field(page, "once", "failure_when")).to_have_text("4 s ago")
    for key in ("none", "old"):
        expect(tile(page, key).locator(".failure")).to_be_hidden()
        expect(field(page, key, "reason")).to_have_text("")


@pytest.mark.parametrize("width", [320, 1400])
def test_when_the_last_failure_was_is_seen_however_long_its_message(
    stream: StreamServer, open_page: OpenPage, width: int
) -> None:
    """A screen without a pointer shows all of the message, too: no one can rest on it there."""
    stream.messages = [resilience("sick", state="open", last_failure={**FAILURE, "message": "no answer " * 20})]
    page = open_page(stream, viewport={"width": width, "height": 900})
    expect(field(page, "sick", "failure_when")).to_have_text("4 s ago, 41 like it")
    inside = """e => { const [last] = [...e.getClientRects()].slice(-1), box = e.closest('.failure').getBoundingClientRect();
        return last.bottom <= box.bottom + 1 && last.right <= box.right + 1; }"""
    assert field(page, "sick", "failure_when").evaluate(inside)
    assert (width == 320) == field(page, "sick", "failure_message").evaluate(inside)


def test_a_tile_that_was_looked_for_tells_its_failure_whole(stream: StreamServer, open_page: OpenPage) -> None:
    """By the keyboard alone nobody can rest on a message."""
    stream.messages = [resilience("sick", last_failure={**FAILURE, "message": "no answer " * 20}), resilience("well")]
    page = open_page(stream, viewport={"width": 1400, "height": 900})
    cut = "e => e.scrollHeight > e.clientHeight + 1"
    expect(tile(page, "sick").locator(".failure")).to_be_visible()
    assert tile(page, "sick").locator(".failure").evaluate(cut)
    page.keyboard.press("/")
    page.keyboard.type("sick")
    expect(tile(page, "well")).to_be_hidden()
    assert not tile(page, "sick").locator(".failure").evaluate(cut)


def test_of_several_instances_the_latest_failure_is_shown_and_those_like_it_are_counted(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [
        resilience("k", instance="a:1", last_failure={**FAILURE, "ago_s": 9.0, "count": 3}),
        resilience("k", instance="b:1", last_failure={**FAILURE, "ago_s": 1.0, "message": "later", "count": 4}),
        resilience("k", instance="c:1", last_failure={**FAILURE, "type": "OSError", "ago_s": 5.0, "count": 100}),
    ]
    page = open_page(stream)
    expect(field(page, "k", "failure_message")).to_have_text("later")
    expect(field(page, "k", "failure_when")).to_have_text("1 s ago, 7 like it")


def test_the_limit_that_refuses_most_calls_is_the_reason_if_the_server_gives_none(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [
        resilience("full", counts={"success": 10, "semaphore_rejected": 30, "throttled": 2}),
        resilience("few", counts={"success": 98, "semaphore_rejected": 2}),
        resilience("broken", counts={"success": 10, "failure": 60, "rate_limited": 30}),
    ]
    page = open_page(stream)
    expect(field(page, "full", "reason")).to_have_text("bulkhead full: 30 of 100 requests")
    for key in ("few", "broken"):
        expect(field(page, key, "reason")).to_have_text("")


def test_the_instances_in_trouble_are_named_the_worst_first(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("k", instance="web-1:17"),
        resilience("k", instance="web-2:17", state="half_open", state_since_s=8.0),
        resilience("k", instance="<b>web-3</b>", state="open", retry_after_s=2.0, state_since_s=3.0, rate=5.0),
        resilience("k", instance="web-4:17", error_rate=0.5, in_flight=20),
        resilience("alone", state="open"),
    ]
    page = open_page(stream)
    rows = tile(page, "k").get_by_role("list", name="Instances in trouble").get_by_role("listitem")
    expect(rows).to_have_count(3)
    expect(rows.nth(0)).to_have_text("web-4:1750.0% errors, full (20)")
    expect(rows.nth(1)).to_have_text("<b>web-3</b>open for 3 s")
    expect(rows.nth(2)).to_have_text("web-2:17half-open for 8 s")
    assert ["web-4:17", "<b>web-3</b>", "web-2:17"] == [row.get_attribute("data-instance") for row in rows.all()]
    expect(tile(page, "alone").locator(".troubled li")).to_have_count(0)


def test_instances_that_fell_silent_are_named_last_and_a_long_list_is_cut(
    stream: StreamServer, open_page: OpenPage
) -> None:
    sick = [resilience("k", instance=f"sick-{n}", error_rate=0.9) for n in range(4)]
    stream.messages = [*sick, resilience("k", instance="gone-1")]
    page = open_page(stream)
    rows = tile(page, "k").locator(".troubled li")
    expect(rows).to_have_count(4)
    expect(rows.nth(3)).to_have_text("and 1 more")
    stream.messages = sick[:1]
    expect(rows.nth(0)).to_contain_text("sick-0")
    expect(rows.nth(0)).to_contain_text("90.0% errors")
    expect(rows.nth(1)).to_contain_text("silent for")
    expect(rows.nth(3)).to_have_text("and 2 more")


def test_a_stream_that_names_no_instance_is_told_by_its_address(stream: StreamServer, open_page: OpenPage) -> None:
    other = StreamServer()
    other.start()
    try:
        stream.messages, other.messages = [hystrix("k")], [hystrix("k", isCircuitBreakerOpen=True)]
        page = open_page(stream, other)
        expect(tile(page, "k").locator(".troubled li")).to_have_text(f"{other.url}open")
    finally:
        other.stop()


def test_a_kind_of_refusal_that_the_page_does_not_know_is_counted_too(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [resilience("k", refused=7, counts={"throttled": 3}), resilience("known", counts={"throttled": 3})]
    page = open_page(stream)
    expect(field(page, "k", "other_refusals")).to_have_text("4")
    expect(field(page, "k", "other_refusals")).to_be_visible()
    expect(field(page, "k", "rejected")).to_have_text("7")
    expect(field(page, "known", "other_refusals")).to_be_hidden()


def test_a_command_without_a_fallback_shows_no_row_of_fallbacks(stream: StreamServer, open_page: OpenPage) -> None:
    counts = {"failure": 40, "fallback_missing": 40}
    stream.messages = [
        resilience("without", counts=counts, has_fallback=False),
        resilience("with", counts=counts, has_fallback=True),
        resilience("old-without", counts=counts),
        resilience("old-with", counts={**counts, "fallback_success": 1}),
        hystrix("legacy", rollingCountFallbackMissing=4),
    ]
    page = open_page(stream)
    for key, shown in {"without": False, "with": True, "old-without": False, "old-with": True, "legacy": False}.items():
        expect(tile(page, key).locator(".fallbacks")).to_be_visible(visible=shown)
    expect(tile(page, "with").locator(".fallbacks")).to_contain_text("not handled40")
    assert "missing" not in page.locator("main").inner_text().lower()


def test_a_page_that_is_opened_in_an_outage_shows_how_it_began(stream: StreamServer, open_page: OpenPage) -> None:
    history = {"step_s": 5.0, "age_s": 1.0, "requests": [50] * 26, "errors": [0] * 20 + [50] * 6}
    stream.messages = [resilience("told", error_rate=1.0, history=history), resilience("untold", error_rate=1.0)]
    page = open_page(stream)
    points = """e => e.getAttribute('d').split(/[ML]/).slice(1).map(p => p.split(' ').map(Number))
        .filter(([x]) => x < 200)"""
    line = tile(page, "told").locator(".spark-line").evaluate(points)
    bad = tile(page, "told").locator(".spark-bad").evaluate(points)
    assert len(line) > 80
    assert len({y for _, y in line[20:]}) == 1, "the traffic was steady"
    assert {y for x, y in bad if 50 < x < 150} == {56}, "all was well"
    assert min(y for _, y in bad) < 56, "it ends in errors"
    assert [] == tile(page, "untold").locator(".spark-line").evaluate(points)


def test_what_is_cut_off_a_long_name_is_its_middle(stream: StreamServer, open_page: OpenPage) -> None:
    start, end = "com.example.platform.services.", ".charge_card"
    long = start + "inventory.of.every.warehouse.in.the.country.by.region.and.by.article." * 2 + "eu" + end
    stream.messages = [resilience(long), resilience(long.replace("eu" + end, "us" + end)), resilience("short")]
    page = open_page(stream, viewport={"width": 420, "height": 800})
    head, tail = tile(page, long).locator("h2 .name-head"), tile(page, long).locator("h2 .name-tail")
    expect(tail).to_contain_text("eu.charge_card")
    expect(tile(page, long).locator("h2")).to_have_text(long)
    expect(tile(page, long).locator("h2 bdi")).to_have_attribute("title", long)
    for density in ("full", "compact"):
        if density == "compact":
            page.get_by_role("button", name="Compact").click()
        cut = "e => e.scrollHeight > e.clientHeight + 1 || e.scrollWidth > e.clientWidth + 1"
        assert head.evaluate(cut), density
        inside = "e => { const box = e.getBoundingClientRect(); return box.width > 20 && box.right <= innerWidth; }"
        assert tail.evaluate(inside), density
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), density


def test_names_that_differ_in_their_middle_show_where(stream: StreamServer, open_page: OpenPage) -> None:
    names = [f"com.example.platform.payments.{region}.charge_the_card_by_token" for region in ("eu-west", "us-east")]
    stream.messages = [resilience(name) for name in names]
    page = open_page(stream)
    expect(tile(page, names[0]).locator(".name-tail")).to_have_text("eu-west.charge_the_card_by_token")
    page.get_by_role("button", name="Compact").click()
    seen = tile(page, names[0]).locator(".name-tail").evaluate("""e => { const range = document.createRange();
        range.setStart(e.firstChild, 0); range.setEnd(e.firstChild, 7);
        return range.getBoundingClientRect().right <= e.getBoundingClientRect().right; }""")
    assert seen


def test_failing_behind_a_closed_circuit_is_announced_once(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream)
    expect(tile(page, "stock")).to_be_visible()
    page.wait_for_function("() => document.querySelector('[data-command] .spark-line').getAttribute('d').includes('L')")
    stream.messages = [resilience("stock", error_rate=0.8)]
    expect(page.locator("#announcer")).to_have_text("stock: closed, 80.0% errors")


@pytest.mark.parametrize("nonsense", [7, "x", [], {}, {"type": 3}, {"type": ""}, {"type": "E", "message": {}, "ago_s": "x", "count": -1}])
def test_nonsense_in_the_new_fields_does_no_harm(stream: StreamServer, open_page: OpenPage, nonsense: object) -> None:
    fields = ("last_failure", "state_since_s", "opened_ago_s", "reason", "forced", "has_fallback", "history")
    stream.messages = [resilience("k", **dict.fromkeys(fields, nonsense))]
    page = open_page(stream)
    expect(field(page, "k", "success")).to_have_text("100")
    assert "undefined" not in tile(page, "k").inner_text()
    assert "NaN" not in tile(page, "k").inner_text()
