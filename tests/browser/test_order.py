"""Which tile comes first, which are shown, and that nothing jumps."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.messages import OpenPage, resilience
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser


def keys(page: Page) -> list[str]:
    return page.evaluate(
        "[...document.querySelectorAll('[data-command]')].filter(e => !e.hidden).map(e => e.dataset.command)"
    )


def expect_keys(page: Page, *expected: str) -> None:
    page.wait_for_function(
        """expected => JSON.stringify(expected) === JSON.stringify([...document.querySelectorAll('[data-command]')]
            .filter(e => !e.hidden).map(e => e.dataset.command))""",
        arg=list(expected),
    )


def test_60_percent_at_2_per_second_stands_above_1_percent_at_1000_per_second(
    stream: StreamServer, open_page: OpenPage
) -> None:
    """The original page glues error rate and volume together as text and gets this the wrong way round."""
    stream.messages = [
        resilience("one-percent", rate=1000.0, error_rate=0.01),
        resilience("five-percent", rate=100.0, error_rate=0.05),
        resilience("sixty-percent", rate=2.0, error_rate=0.6),
    ]
    expect_keys(open_page(stream), "sixty-percent", "five-percent", "one-percent")


def test_open_circuits_come_first_then_probing_ones_then_volume_breaks_ties(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [
        resilience("quiet", rate=1.0),
        resilience("busy", rate=100.0),
        resilience("failing", rate=10.0, error_rate=0.4),
        resilience("probing", rate=0.0, state="half_open"),
        resilience("open-idle", rate=0.0, state="open"),
        resilience("open-busy", rate=10.0, counts={"short_circuited": 100}, state="forced_open"),
    ]
    expect_keys(open_page(stream), "open-busy", "open-idle", "probing", "failing", "busy", "quiet")


def test_other_sorts_and_their_reverse(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("b", rate=1.0, latency=0.9),
        resilience("a", rate=9.0, latency=0.1),
        resilience("c", rate=5.0, latency=0.1),
    ]
    page = open_page(stream)
    page.get_by_label("Sort").select_option("p99")
    expect_keys(page, "b", "a", "c")
    page.get_by_role("button", name="Reverse").click()
    expect_keys(page, "a", "c", "b")
    page.get_by_label("Sort").select_option("name")
    expect_keys(page, "c", "b", "a")
    page.get_by_role("button", name="Reverse").click()
    expect_keys(page, "a", "b", "c")
    page.get_by_label("Sort").select_option("volume")
    expect_keys(page, "a", "c", "b")


def test_the_choice_survives_a_reload(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("b", rate=9.0), resilience("a", rate=1.0), resilience("other")]
    page = open_page(stream)
    page.get_by_label("Sort").select_option("name")
    page.get_by_label("Filter by name or group").fill("a")
    page.reload()
    expect(page.get_by_label("Sort")).to_have_value("name")
    expect(page.get_by_label("Filter by name or group")).to_have_value("a")
    expect_keys(page, "a")


def test_the_filter_wants_every_word_in_key_or_group(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("stock.read", group="Inventory"),
        resilience("stock.write", group="inventory"),
        resilience("price.read", group="catalog"),
    ]
    page = open_page(stream)
    expect(page.locator("[data-command]")).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("INVENTORY read")
    expect_keys(page, "stock.read")
    expect(page.locator("#show-shown")).to_have_text("1 of 3 shown")
    page.keyboard.press("Control+A")
    page.keyboard.type("nothing like it")
    expect(page.locator("#show-empty")).to_have_text("No command matches the filter.")
    page.keyboard.press("Escape")
    expect_keys(page, "price.read", "stock.read", "stock.write")


def test_the_summary_counts_and_its_chips_filter(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("closed", rate=30.0),
        resilience("open", rate=10.0, counts={"short_circuited": 100}, state="open"),
        resilience("probing", rate=0.0, state="half_open"),
    ]
    page = open_page(stream)
    expect(page.locator("#show-commands")).to_have_text("3")
    expect(page.locator("#show-rate")).to_have_text("40.0")
    expect(page.locator("#show-refused")).to_have_text("10.0")
    expect(page.locator("#show-errors")).to_have_text("25.0%")
    page.get_by_role("button", name="1 open").click()
    expect_keys(page, "open")
    page.get_by_role("button", name="1 half-open").click()
    expect_keys(page, "probing")
    page.get_by_role("button", name="1 half-open").click()
    expect(page.get_by_role("button", name="1 half-open")).to_have_attribute("aria-pressed", "false")
    expect_keys(page, "open", "probing", "closed")


def test_nothing_moves_under_the_pointer_until_it_leaves(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("a", error_rate=0.5), resilience("b", error_rate=0.1)]
    page = open_page(stream)
    expect_keys(page, "a", "b")
    page.locator('[data-command="a"] h2').hover()
    stream.messages = [resilience("a", error_rate=0.1), resilience("b", error_rate=0.9), resilience("new", rate=1.0)]
    expect_keys(page, "a", "b", "new")
    expect(page.locator("#show-held")).to_have_text("order held while you look")
    assert keys(page) == ["a", "b", "new"]
    page.locator("header h1").hover()
    expect_keys(page, "b", "a", "new")


def test_equal_commands_never_swap(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience(key, rate=5.0) for key in "dbca"]
    page = open_page(stream)
    expect_keys(page, "a", "b", "c", "d")
    page.evaluate("""() => { window.moves = 0; new MutationObserver(list => { window.moves += list.length; })
        .observe(document.getElementById('board'), { childList: true }); }""")
    stream.messages = [resilience(key, rate=6.0) for key in "acbd"]
    expect(page.locator('[data-command="d"] [data-field="rate"]')).to_have_text("6.0")
    assert page.evaluate("window.moves") == 0
