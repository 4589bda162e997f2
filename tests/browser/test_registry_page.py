"""The page of the service registry, in a narrow window, and its links."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from resilience.discovery.registry.application import _INSTANCE
from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.page import page as page_of
from resilience.discovery.registry.settings import RegistrySettings
from tests.discovery.registry.plain_registry import instance, moment

pytestmark = pytest.mark.browser
PLACE = "http://registry.example:8761/"
NAMES = [("SHOP", "shop-1.internal:8080"), ("..", "."), ("A", ".."), ("..", "a"), ("...", ".a"), ("X" * 255, "y" * 255),
         ("<B>", '"><i>'), ("Q%2F?#", "é/ü")]
PEER = {"url": f"http://{'p' * 100}.example:8761/eureka", "registry": "f" * 16, "kind": "own", "state": "in step", "circuit": "closed",
        "queue": 0, "lag_s": 0.0, "last_success_ago_s": 1.0, "last_error": "e" * 300, "last_error_ago_s": 1.0}
STORE = {"place": f"redis://{'r' * 100}:6379", "last_error": "WRONGTYPE " * 30, "trouble": None, "last_error_ago_s": 1.0, "is_connected": True,
         "in_sync": False, "queue": 1, "lag_s": 3.0, "last_success_ago_s": None}


def shown(browser: Any, width: int) -> Any:
    registry = InstanceRegistry(RegistrySettings(), moment(0.0), "f" * 16)
    for app, identity in NAMES:
        registry.register(instance(app, identity), "10.0.0.1", moment(0.0))
    body = page_of(registry, [PEER], STORE, moment(1.0))
    page = browser.new_page(viewport={"width": width, "height": 700})
    page.route(f"{PLACE}**", lambda route: route.fulfill(status=200, content_type="text/html", body=body))
    page.goto(PLACE)
    return page


def test_what_is_wider_than_the_window_scrolls_by_itself_and_not_the_page(browser: Any) -> None:
    for width in (320, 360, 800, 1200):
        page = shown(browser, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for box in page.locator(".wide").all():
            assert box.get_attribute("aria-label"), "it can be reached and scrolled by keys, and has a name then"
            assert box.get_attribute("tabindex") == "0"
        page.close()


def test_a_number_stands_below_the_head_of_its_column(browser: Any) -> None:
    page = shown(browser, 1200)
    columns = """() => [...document.querySelectorAll('td')].map(td => [td, td.closest('table').rows[0].cells[td.cellIndex]]
        .map(cell => { const range = document.createRange(); range.selectNodeContents(cell); return [range.getBoundingClientRect(), cell.textContent]; }))
        .filter(([[td, text], [head]]) => text !== '' && Math.abs(td.left - head.left) > 1).map(([[, text]]) => text)"""
    assert [] == page.evaluate(columns)
    page.close()


def test_each_link_leads_to_its_instance_whatever_its_name_and_there_is_none_where_no_link_could(browser: Any) -> None:
    page = shown(browser, 1200)
    found = []
    for link in page.locator("a").all():
        matched = _INSTANCE(urlsplit(link.evaluate("each => each.href")).path)
        assert matched is not None
        found.append((unquote(matched[1]), unquote(matched[2])))
    assert found == [each for each in NAMES if not {".", ".."} & {*each}]
    cells = page.locator("[data-instance] td:nth-child(2)").all()
    assert sorted(each.inner_text() for each in cells) == sorted(identity for _, identity in NAMES)
    page.close()


def test_a_screen_reader_finds_the_page_and_what_each_number_is_of(browser: Any) -> None:
    page = shown(browser, 1200)
    assert page.evaluate("[...document.body.children].map(each => each.localName)") == ["main"]
    assert page.evaluate("[...document.querySelectorAll('th')].every(each => each.scope === 'col')")
    page.close()
