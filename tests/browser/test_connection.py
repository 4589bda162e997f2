"""Streams that fall silent, break off and come back, and what the page says meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.messages import OpenPage, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser


def watch(page: Page, selector: str) -> Callable[[], list[str]]:
    """What these elements say from now on."""
    page.evaluate("""selector => { window.said = [];
        for (const node of document.querySelectorAll(selector))
            new MutationObserver(() => said.push(node.textContent)).observe(node, { subtree: true, childList: true, characterData: true });
    }""", selector)
    return lambda: page.evaluate("() => said")


def test_a_killed_stream_is_called_stale_and_its_return_is_noticed(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock", rate=10.0)]
    page = open_page(stream)
    connection, tile = page.locator("#show-connection"), page.locator('[data-command="stock"]')
    expect(connection).to_have_text("Live")
    stream.stop()
    expect(connection).to_contain_text("Stale: no data for")
    expect(tile).to_have_attribute("data-stale", "true")
    expect(tile.locator(".silence")).to_contain_text("no data for")
    expect(page.get_by_role("region", name="Streams in trouble")).to_contain_text(stream.url)
    expect(page.locator("#complaints")).to_contain_text("cannot connect")
    expect(page.locator("#complaints")).to_contain_text("trying again in")
    stream.messages = [resilience("stock", rate=20.0)]
    stream.start()
    expect(connection).to_have_text("Live")
    expect(tile).to_have_attribute("data-stale", "false")
    expect(tile.locator('[data-field="rate"]')).to_have_text("20.0")
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("[data-command]")).to_have_count(1)


def test_a_stream_that_only_pings_is_stale_too(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream)
    expect(page.locator("#show-connection")).to_have_text("Live")
    stream.paused.set()
    expect(page.locator("#show-connection")).to_contain_text("Stale: no data for")
    expect(page.locator("#complaints")).to_contain_text("connected, waiting for a message")
    stream.paused.clear()
    expect(page.locator("#show-connection")).to_have_text("Live")
    assert len(stream.requests) == 1


def test_a_command_that_stops_reporting_is_greyed_and_later_forgotten(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [resilience("stays"), resilience("goes", error_rate=1.0)]
    page = open_page(stream, settings={"forget_after": 3.0})
    goes = page.locator('[data-command="goes"]')
    expect(goes).to_have_attribute("data-stale", "false")
    stream.messages = [resilience("stays")]
    expect(goes).to_have_attribute("data-stale", "true")
    expect(page.locator("#show-connection")).to_have_text("Live")
    expect(page.get_by_role("button", name="1 stale")).to_be_visible()
    expect(goes).to_have_count(0)
    expect(page.locator('[data-command="stays"]')).to_have_attribute("data-stale", "false")


def test_a_reader_can_ask_for_an_attempt_at_once(stream: StreamServer, open_page: OpenPage) -> None:
    stream.stop()
    page = open_page(stream, settings={"retry_min": 3600.0, "retry_max": 3600.0})
    expect(page.locator("#complaints")).to_contain_text("trying again in")
    expect(page.locator("#show-connection")).to_have_text("No data yet")
    stream.messages = [resilience("stock")]
    stream.start()
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#show-connection")).to_have_text("Live")


def test_an_empty_registry_is_no_trouble(stream: StreamServer, open_page: OpenPage) -> None:
    """A process that has just started, and one whose commands were idle for so long that they are gone: both only ping."""
    new, idle = StreamServer(), StreamServer()
    for server in (new, idle):
        server.start()
    try:
        new.paused.set()
        idle.messages, stream.messages = [resilience("report", instance="idle")], [resilience("stock")]
        page = open_page(new)
        expect(page.locator("#show-empty")).to_have_text("Connected. No command has reported yet.")
        expect(page.locator("#show-connection")).to_have_text("Live")
        page = open_page(new, idle, stream)
        expect(page.locator("[data-command]")).to_have_count(2)
        idle.messages = [{"type": "ResilienceRemoved", "key": "report", "instance": "idle"}]
        expect(page.locator("[data-command]")).to_have_count(1)
        idle.paused.set()
        stream.paused.set()
        expect(page.locator("#complaints")).to_contain_text("no data for 2 s")
        expect(page.locator("#complaints li")).to_have_count(1)
        expect(page.locator("#complaints")).to_contain_text(stream.url)
        expect(page.locator("#show-connection")).to_have_text("1 of 3 streams silent")
        idle.stop()
        expect(page.locator("#complaints")).to_contain_text(f"{idle.url}: no data for")
    finally:
        for server in (new, idle):
            server.stop()


def test_a_growing_number_is_not_read_out_every_second(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock"), "no JSON"]
    page = open_page(stream)
    expect(page.locator("#show-connection")).to_have_text("Live")
    said = watch(page, "[role=status], [aria-live]")
    expect(page.locator("#show-malformed")).not_to_have_text("1")
    stream.stop()
    expect(page.locator("#show-connection")).to_have_text("Stale: no data for 2 s")
    stream.start()
    expect(page.locator("#announcer")).to_have_text("Live")
    told = [text.partition(":")[0] for text in said()]
    assert {"Stale", "Live"} == set(told)
    assert all(one != other for one, other in itertools.pairwise(told))  # on a starved machine there may be a gap more


def test_opened_circuits_are_announced(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock")]
    page = open_page(stream)
    expect(page.locator('[data-command="stock"]')).to_have_attribute("data-state", "closed")
    page.wait_for_function("() => document.querySelector('[data-command] .spark-line').getAttribute('d').includes('L')")
    stream.messages = [resilience("stock", state="open")]
    expect(page.locator("#announcer")).to_have_text("stock: open")


def test_more_streams_than_a_browser_opens_connections_are_all_heard_in_two_tabs(stream: StreamServer, open_page: OpenPage) -> None:
    """A browser has six connections to a server: with a connection for each stream, the seventh instance was never heard."""
    streams = [StreamServer() for _ in range(8)]
    for number, server in enumerate(streams):
        server.start()
        server.messages = [resilience("stock", instance=f"web-{number}:1")]
    try:
        page = open_page(*streams)
        expect(page.locator('[data-field="instances"]')).to_have_text("8 instances")
        expect(page.locator("#show-connection")).to_have_text("Live: 8 streams")
        second = page.context.new_page()
        second.goto(page.url)
        expect(second.locator('[data-field="instances"]')).to_have_text("8 instances")
        streams[7].stop()
        expect(page.locator("#complaints")).to_contain_text(f"{streams[7].url}: no data for")
        expect(page.locator("#complaints")).to_contain_text("cannot connect")
        expect(page.locator("#complaints li")).to_have_count(1)
        streams[7].start()
        expect(page.locator("#banner")).to_be_hidden()
    finally:
        for server in streams:
            server.stop()


def test_one_of_several_streams_can_be_asked_for_at_once(stream: StreamServer, open_page: OpenPage) -> None:
    other = StreamServer()
    other.start()
    other.stop()
    stream.messages = [resilience("stock")]
    page = open_page(stream, other, settings={"retry_min": 3600.0, "retry_max": 3600.0})
    expect(page.locator("#complaints")).to_contain_text("trying again in")
    other.messages = [resilience("price", instance="host-b:1")]
    other.start()
    try:
        page.get_by_role("button", name="Try now").click()
        expect(page.locator("#show-connection")).to_have_text("Live: 2 streams")
        expect(page.locator("[data-command]")).to_have_count(2)
    finally:
        other.stop()


def test_a_computer_that_slept_asks_anew(stream: StreamServer, open_page: OpenPage) -> None:
    """In a sleep the page's clock stands still: numbers of last night would be called live until the silence is noticed."""
    stream.messages = [resilience("stock")]
    page = open_page(stream)
    expect(page.locator("#show-connection")).to_have_text("Live")
    assert len(stream.requests) == 1
    page.evaluate("() => { const now = Date.now; Date.now = () => now() + 8 * 3600 * 1000; }")
    page.wait_for_function("() => document.getElementById('show-connection').textContent === 'Live'")
    with stream.changed:
        assert stream.changed.wait_for(lambda: len(stream.requests) == 2, 15)
    expect(page.locator("#show-connection")).to_have_text("Live")
    expect(page.locator('[data-command="stock"]')).to_have_attribute("data-stale", "false")
