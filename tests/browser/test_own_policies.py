"""What policies of the users' own have refused, and what they show of themselves, on a command's tile."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.messages import OpenPage, resilience
from tests.browser.test_tiles import field, tile
from tests.dashboard.servers import StreamServer

pytestmark = pytest.mark.browser


def own(key: str, *, refused: int, counts: dict[str, int], **changes: object) -> dict[str, object]:
    message = resilience(key, counts={"success": 90}, refused=refused, **changes)
    return {**message, "counts": {**message["counts"], **counts}}


def value(page: Page, kind: str, name: str) -> object:
    return tile(page, "k").locator(f'[data-field="{kind}:{name}"]')


def test_each_policy_of_ones_own_has_its_refusals_under_its_own_name(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        own("k", refused=10, counts={"spending_cap_rejected": 6, "quota_rejected": 3, "shadow_rejected": 5}),
        resilience("without"),
    ]
    page = open_page(stream)
    expect(value(page, "own", "spending_cap")).to_have_text("6")
    expect(value(page, "own", "quota")).to_have_text("3")
    expect(value(page, "own", "shadow")).to_have_count(0)
    expect(tile(page, "k").get_by_text("spending cap", exact=True)).to_be_visible()
    expect(field(page, "k", "other_refusals")).to_have_text("1")
    expect(field(page, "k", "rejected")).to_have_text("10")
    expect(tile(page, "without").locator('[data-slot="own-refusals"]')).to_be_hidden()
    expect(tile(page, "without").locator('[data-slot="gauges"]')).to_be_hidden()


def test_why_says_which_policy_of_ones_own_refuses_most(stream: StreamServer, open_page: OpenPage) -> None:
    message = own("k", requests=100, errors=60, refused=60, counts={"token_cap_rejected": 60})
    stream.messages = [{**message, "error_rate": 0.6}]
    expect(field(open_page(stream), "k", "reason")).to_contain_text("token cap")


def test_gauges_are_numbers_with_their_names_and_a_range_where_instances_differ(
    stream: StreamServer, open_page: OpenPage
) -> None:
    gauges = {"cap.left": 40, "cap.debt": -2.5, "cap.share": 0.25, "cap.odd": "many"}
    stream.messages = [
        resilience("k", instance="a", gauges=gauges),
        resilience("k", instance="b", gauges={**gauges, "cap.left": 70}),
    ]
    page = open_page(stream)
    expect(value(page, "gauge", "cap.left")).to_have_text("40 \u2013 70")
    expect(value(page, "gauge", "cap.debt")).to_have_text("\u22122.5")
    expect(value(page, "gauge", "cap.share")).to_have_text("0.25")
    expect(value(page, "gauge", "cap.odd")).to_have_count(0)
    expect(tile(page, "k").get_by_text("cap left", exact=True)).to_be_visible()


def test_names_of_policies_are_text_and_what_is_no_number_is_none(stream: StreamServer, open_page: OpenPage) -> None:
    stream.messages = [
        own("k", refused=2, counts={"<b>x</b>_rejected": 2, "cap_rejected": "many"}, gauges=["no", "object"])
    ]
    page = open_page(stream)
    expect(tile(page, "k").get_by_text("<b>x</b>", exact=True)).to_be_visible()
    expect(value(page, "own", "cap")).to_have_text("0")
    stream.messages = [own("k", refused=3, counts={"<b>x</b>_rejected": 3}, gauges={"x.y": 1})]
    expect(value(page, "own", "cap")).to_have_count(0)
    expect(value(page, "gauge", "x.y")).to_have_text("1")
