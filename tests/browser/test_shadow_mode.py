"""Policies in shadow mode: what they would refuse is told, and nothing is red for it, since nobody is refused."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.messages import OpenPage, resilience
from tests.browser.test_tiles import field, tile
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser

ALL = ["breaker", "max_concurrent"]


def test_what_would_have_been_refused_is_told_with_the_policies(stream: StreamServer, open_page: OpenPage) -> None:
    counts = {"success": 60, "shadow_rejected": 40}
    stream.messages = [
        resilience("trial", shadow=[*ALL, "spending_cap"], counts=counts, instance="a"),
        resilience("trial", shadow=ALL, counts=counts, instance="b"),
        resilience("lately", counts=counts),
        resilience("never"),
    ]
    page = open_page(stream)
    expect(field(page, "trial", "shadow")).to_have_text("circuit breaker, bulkhead, spending cap")
    expect(field(page, "trial", "shadow_rejected")).to_have_text("80")
    expect(tile(page, "trial").get_by_text("would have been refused")).to_be_visible()
    expect(field(page, "trial", "refused")).to_have_text("0")
    expect(field(page, "lately", "shadow_rejected")).to_be_visible()
    expect(tile(page, "never").locator(".shadow")).to_be_hidden()


def test_a_circuit_that_is_open_in_name_only_is_not_red_and_counts_as_open_nowhere(
    stream: StreamServer, open_page: OpenPage
) -> None:
    stream.messages = [
        resilience("trial", state="open", retry_after_s=3.0, shadow=ALL),
        resilience("probing", state="half_open", shadow=ALL),
        resilience("ordered", state="forced_open", shadow=ALL),
        resilience("failing", state="open", error_rate=0.9, shadow=ALL),
        resilience("other", state="open", shadow=["max_concurrent"]),
        resilience("one-of-two", state="open", instance="a", shadow=ALL),
        resilience("one-of-two", state="open", instance="b"),
    ]
    page = open_page(stream)
    severities = {"trial": "0", "probing": "0", "ordered": "2", "failing": "2", "other": "2", "one-of-two": "2"}
    for key, severity in severities.items():
        expect(tile(page, key)).to_have_attribute("data-severity", severity)
    expect(tile(page, "trial")).to_have_attribute("data-state", "open")
    expect(page.locator("#show-open")).to_have_text("3")
    expect(page.locator("#show-half-open")).to_have_text("0")
    expect(page.locator("#show-failing")).to_have_text("1")
    colour = "e => getComputedStyle(e).color"
    soft = tile(page, "trial").locator(".group").first.evaluate(colour)
    assert tile(page, "trial").locator(".state").evaluate(colour) == soft


def test_a_bulkhead_that_refuses_nobody_is_never_full(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        resilience("trial", in_flight=25, max_in_flight=30, shadow=ALL),
        resilience("nearly", in_flight=19, shadow=ALL),
        resilience("full", in_flight=20, shadow=["breaker"]),
        resilience("one-of-two", in_flight=20, instance="a", shadow=ALL),
        resilience("one-of-two", in_flight=20, instance="b"),
    ]
    page = open_page(stream)
    for key, load in {"trial": "some", "nearly": "some", "full": "full", "one-of-two": "full"}.items():
        expect(tile(page, key)).to_have_attribute("data-load", load)
        expect(tile(page, key).locator(".full")).to_be_visible(visible=load == "full")


@pytest.mark.parametrize("shadow", [None, "breaker", [1, None, {}], {"breaker": True}])
def test_what_is_no_list_of_names_is_none(stream: StreamServer, open_page: OpenPage, shadow: object) -> None:
    stream.messages = [resilience("odd", state="open", shadow=shadow)]
    expect(tile(open_page(stream), "odd")).to_have_attribute("data-severity", "2")
