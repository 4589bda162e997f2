"""Two thousand commands, and a machine with little to spare: how much the page does for each message.

Counted, not timed: how long it takes is the machine's.
"""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.messages import Message, OpenPage, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser

COMMANDS = 2000
IN_SIGHT = 60  # tiles on the screen of a test, and near it, are some twenty
PATIENCE_MS = 120_000
QUIET = {"stale_after": 600.0, "forget_after": 1200.0, "sort_every": 600.0}

#: The browser is idle when the test says so, and only then.
IDLE_ON_DEMAND = """() => { window.waiting = [];
    window.requestIdleCallback = callback => waiting.push(callback);
    window.idle = () => { for (let i = 0; i < 10_000 && waiting.length > 0; i += 1)
        waiting.shift()({ didTimeout: false, timeRemaining: () => 50 }); }; }"""
FILLED = "[...document.querySelectorAll('[data-filled=true]')].map(e => e.dataset.command)"


def commands(rate: float) -> list[Message]:
    return [resilience(f"command-{n:04}", rate=rate) for n in range(COMMANDS)]


@pytest.fixture
def many(stream: StreamServer, open_page: OpenPage) -> Page:
    stream.interval = 1.0
    page = open_page(stream, settings=QUIET)
    page.evaluate(IDLE_ON_DEMAND)
    stream.messages = [*commands(1.0)]
    expect(page.locator("[data-command]")).to_have_count(COMMANDS, timeout=PATIENCE_MS)
    expect(rate(page, 0)).to_have_text("1.0", timeout=PATIENCE_MS)
    return page


def rate(page: Page, number: int) -> Any:
    return page.locator(f'[data-command="command-{number:04}"] [data-field="rate"]')


def test_only_what_can_be_seen_is_drawn(stream: StreamServer, many: Page) -> None:
    assert len(many.evaluate(FILLED)) <= IN_SIGHT
    assert many.evaluate("document.querySelectorAll('#board *').length") < 10 * COMMANDS
    many.evaluate("""() => { window.touched = new Set(); window.records = 0;
        new MutationObserver(list => list.forEach(({ target }) => { window.records += 1;
            touched.add((target.nodeType === 1 ? target : target.parentElement).closest('[data-command]')?.dataset.command); }))
            .observe(document.getElementById('board'), { subtree: true, childList: true, characterData: true, attributes: true }); }""")
    stream.messages = commands(2.0)
    expect(rate(many, 0)).to_have_text("2.0", timeout=PATIENCE_MS)
    many.wait_for_function("() => document.getElementById('show-rate').textContent === '4000'", timeout=PATIENCE_MS)
    assert set(many.evaluate("[...touched]")) <= set(many.evaluate(FILLED))
    assert len(many.evaluate("[...touched]")) <= IN_SIGHT


def test_what_is_scrolled_to_is_whole_and_of_this_moment(stream: StreamServer, many: Page) -> None:
    stream.messages = commands(2.0)
    many.wait_for_function("() => document.getElementById('show-rate').textContent === '4000'", timeout=PATIENCE_MS)
    many.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(rate(many, COMMANDS - 1)).to_have_text("2.0", timeout=PATIENCE_MS)
    many.evaluate("window.scrollTo(0, 0)")
    stream.messages = commands(3.0)
    expect(rate(many, 0)).to_have_text("3.0", timeout=PATIENCE_MS)
    many.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(rate(many, COMMANDS - 1)).to_have_text("3.0", timeout=PATIENCE_MS)


def test_an_idle_browser_fills_the_rest_up_to_a_bound_and_prints_all(many: Page) -> None:
    most = many.evaluate("import('./js/board.js').then(m => m.MOST_FILLED)")
    many.evaluate("idle()")
    assert most == len(many.evaluate(FILLED))
    many.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    expect(rate(many, COMMANDS - 1)).to_have_text("1.0", timeout=PATIENCE_MS)
    many.evaluate("idle()")
    assert len(many.evaluate(FILLED)) <= most
    expect(rate(many, COMMANDS - 1)).to_have_text("1.0")
    many.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert COMMANDS == len(many.evaluate(FILLED))


def test_messages_that_wait_do_not_keep_the_page_from_anything_else(stream: StreamServer, open_page: OpenPage) -> None:
    """What is buffered is read in one go otherwise: eleven seconds in which no click was heard."""
    page = open_page(stream)
    handled = page.evaluate("""async () => {
        const { Link } = await import('./js/link.js');
        const chunk = new TextEncoder().encode('data: {}\\n\\n');
        window.fetch = async () => new Response(new ReadableStream({ start(controller) {
            for (let i = 0; i < 40; i += 1) controller.enqueue(chunk);
        } }), { headers: { 'content-type': 'text/event-stream' } });
        let count = 0, whenOthersCame = null;
        return await new Promise(resolve => {
            const onEvent = () => {
                if (count === 0) setTimeout(() => { whenOthersCame = count; });
                for (const end = performance.now() + 10; performance.now() < end;);
                if ((count += 1) === 40) resolve(whenOthersCame);
            };
            new Link({ url: 'x', label: 'x', retry: { min: 1e6, max: 1e6 }, silenceMs: 1e6, onEvent, onChange() {}, expects: () => true }).connect();
        });
    }""")
    assert handled is not None
    assert handled < 10
