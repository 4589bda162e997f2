"""Which tile comes first, which are shown, and that nothing jumps."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.messages import OpenPage, hystrix, resilience
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


def test_ten_failed_calls_a_second_stand_above_one_however_large_its_share(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [
        resilience("sixty-percent", rate=2.0, error_rate=0.6),
        resilience("five-percent", rate=100.0, error_rate=0.05),
        resilience("one-percent", rate=1000.0, error_rate=0.01),
    ]
    expect_keys(open_page(stream), "one-percent", "five-percent", "sixty-percent")


def test_what_a_fallback_or_a_stale_answer_has_answered_hurts_nobody_but_is_not_lost_among_the_well(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [
        resilience("a-well"),
        resilience("answered", rate=50.0, counts={"failure": 500, "fallback_success": 500}, error_rate=1.0),
        resilience("stale", rate=40.0, counts={"failure": 400, "stale_responses": 400}, error_rate=1.0),
        resilience("felt", rate=10.0, counts={"success": 50, "failure": 50, "fallback_missing": 50}, error_rate=0.5),
        hystrix("legacy", requests=100, errors=60),
    ]
    expect_keys(open_page(stream), "legacy", "felt", "answered", "stale", "a-well")


def test_60_percent_stands_above_1_percent_when_the_error_rate_is_asked_for(
    stream: StreamServer, open_page: OpenPage
) -> None:
    """The original page glues error rate and volume together as text and gets this the wrong way round."""
    stream.messages = [
        resilience("one-percent", rate=1000.0, error_rate=0.01),
        resilience("five-percent", rate=100.0, error_rate=0.05),
        resilience("sixty-percent", rate=2.0, error_rate=0.6),
    ]
    page = open_page(stream)
    page.get_by_label("Sort").select_option("error")
    expect_keys(page, "sixty-percent", "five-percent", "one-percent")


def test_failed_and_refused_calls_come_first_the_state_second_then_volume_breaks_ties(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [
        resilience("quiet", rate=1.0),
        resilience("busy", rate=100.0),
        resilience("failing", rate=10.0, error_rate=0.4),
        resilience("probing", rate=0.0, state="half_open"),
        resilience("open-idle", rate=0.0, state="open", retry_after_s=3.0),
        resilience("full", rate=20.0, counts={"semaphore_rejected": 200}),
        resilience("open-busy", rate=20.0, counts={"short_circuited": 200}, state="forced_open"),
    ]
    expect_keys(open_page(stream), "open-busy", "full", "failing", "open-idle", "probing", "busy", "quiet")


def test_the_healthy_stand_by_name_whatever_their_traffic(stream: StreamServer, open_page: OpenPage) -> None:
    """An operator who looks for a tile finds it where it was."""
    stream.messages = [resilience(key, rate=rate) for key, rate in (("c", 100.0), ("a", 1.0), ("b", 50.0))]
    page = open_page(stream)
    expect_keys(page, "a", "b", "c")
    stream.messages = [resilience(key, rate=rate) for key, rate in (("c", 1.0), ("a", 10.0), ("b", 500.0))]
    expect(page.locator('[data-command="b"] [data-field="rate"]')).to_have_text("500")
    assert keys(page) == ["a", "b", "c"]


def test_an_instance_that_fails_often_outweighs_an_idle_open_one(stream: StreamServer, open_page: OpenPage) -> None:
    """Summed over instances and over both dialects, each over its own window."""
    stream.messages = [
        resilience("two-sick", rate=3.0, error_rate=1.0, instance="a:1"),
        resilience("two-sick", rate=3.0, error_rate=1.0, instance="b:1"),
        hystrix("legacy", requests=50, errors=50),
        resilience("short-window", requests=16, errors=8, error_rate=0.5, rate=8.0, window_s=2.0),
        resilience("idle", rate=0.0, state="open", retry_after_s=1.0),
    ]
    expect_keys(open_page(stream), "two-sick", "legacy", "short-window", "idle")


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
        resilience("failing", rate=10.0, counts={"semaphore_rejected": 100}),
    ]
    page = open_page(stream)
    expect(page.locator("#show-commands")).to_have_text("4")
    expect(page.locator("#show-rate")).to_have_text("50.0")
    expect(page.locator("#show-refused")).to_have_text("20.0")
    expect(page.locator("#show-errors")).to_have_text("40.0%")
    page.get_by_role("button", name="1 open").click()
    expect_keys(page, "open")
    page.get_by_role("button", name="1 half-open").click()
    expect_keys(page, "probing")
    page.get_by_role("button", name="1 half-open").click()
    expect(page.get_by_role("button", name="1 half-open")).to_have_attribute("aria-pressed", "false")
    expect_keys(page, "open", "failing", "probing", "closed")
    page.get_by_role("button", name="1 failing").click()
    expect_keys(page, "failing")


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


def test_a_tile_that_recovers_moves_alone(stream: StreamServer, open_page: OpenPage) -> None:
    worst = [resilience(f"sick-{n}", rate=50.0, error_rate=1.0) for n in range(2)]
    others = [resilience(f"other-{n:02}", rate=20.0, error_rate=0.5) for n in range(20)]
    names = [other["key"] for other in others]
    stream.messages = [*worst, *others]
    page = open_page(stream)
    expect_keys(page, "sick-0", "sick-1", *names)
    page.evaluate("""() => { window.moved = []; new MutationObserver(list => list.forEach(({ addedNodes }) =>
        addedNodes.forEach(node => moved.push(node.dataset.command)))).observe(document.getElementById('board'), { childList: true }); }""")
    stream.messages = [*(resilience(each["key"]) for each in worst), *others]
    expect_keys(page, *names, "sick-0", "sick-1")
    assert {"sick-0", "sick-1"} == set(page.evaluate("moved"))


def test_the_same_key_in_another_group_is_another_command(stream: StreamServer, open_page: OpenPage) -> None:
    """As in Prometheus: a service of the gateway is not the command of an application that happens to be called so."""
    removed = {"type": "ResilienceRemoved", "key": "orders", "instance": "app:2"}
    stream.messages = [
        resilience("orders", group="gateway", instance="gateway:1", rate=100.0),
        resilience("orders", group="shop", instance="app:2", rate=5.0, error_rate=1.0, state="open"),
        resilience("orders", group="shop", instance="app:3", rate=5.0, error_rate=1.0, state="open"),
    ]
    page = open_page(stream)
    tiles = page.locator('[data-command="orders"]')
    expect(tiles).to_have_count(2)
    shop, gateway = tiles.nth(0), tiles.nth(1)
    for tile, group, state, rate, instances in ((shop, "shop", "open", "10.0", "2 instances"), (gateway, "gateway", "closed", "100", "")):
        expect(tile).to_have_attribute("data-group", group)
        expect(tile).to_have_attribute("data-state", state)
        expect(tile.locator('[data-field="rate"]')).to_have_text(rate)
        expect(tile.locator('[data-field="instances"]')).to_have_text(instances)
    stream.messages = [*stream.messages[::2], removed]
    expect(shop.locator('[data-field="rate"]')).to_have_text("5.0")
    expect(gateway.locator('[data-field="rate"]')).to_have_text("100")
    stream.messages = [stream.messages[0], {**removed, "instance": "app:3"}]
    expect(tiles).to_have_count(1)


def test_what_a_sum_of_others_counts_is_in_the_summary_once(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("orders", rate=50.0, error_rate=0.4, sum=True, group="gateway"),  # 10/s were rejected by its circuit
        resilience("orders@10.0.0.1:80", rate=30.0, group="orders"),
        resilience("orders@10.0.0.2:80", rate=10.0, error_rate=1.0, group="orders"),
        resilience("stock", rate=10.0, group="gateway"),
    ]
    page = open_page(stream)
    expect(page.locator("#show-commands")).to_have_text("4")
    expect(page.locator("#show-rate")).to_have_text("60.0")
    expect(page.locator("#show-errors")).to_have_text("33.3%")
    expect(page.locator('[data-command="orders"] [data-field="sum"]')).to_have_text("sum of its endpoints")
    expect(page.locator('[data-command="stock"] [data-field="sum"]')).to_have_text("")
    # Reloaded: the service has one command for all endpoints.
    stream.messages = [resilience("orders", rate=40.0, error_rate=0.25, group="gateway")]
    expect(page.locator('[data-command="orders"] [data-field="sum"]')).to_have_text("")


def test_another_address_in_the_same_tab_shows_what_it_says(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [resilience("stock"), resilience("payment")]
    page = open_page(stream)
    expect_keys(page, "payment", "stock")
    page.evaluate("location.hash = 'filter=pay&sort=name&density=compact'")
    expect_keys(page, "payment")
    expect(page.locator("#filter")).to_have_value("pay")
    expect(page.locator("#sort")).to_have_value("name")
    expect(page.locator("body")).to_have_attribute("data-density", "compact")
    page.go_back()
    expect_keys(page, "payment", "stock")
    page.evaluate("location.hash = 'lang=ko'")
    expect(page.locator("html")).to_have_attribute("lang", "ko")
