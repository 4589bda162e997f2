"""The dashboard inside another application: below a path, reading a stream of the same origin by itself."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.hosts import mounted
from tests.dashboard.servers import served

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("entry", ["/admin/", "/admin"])
def test_it_works_below_a_path(browser: Browser, entry: str) -> None:
    with served(mounted, "/admin") as base, browser.new_context() as context:
        page = context.new_page()
        page.goto(base + entry)
        expect(page.locator('[data-command="stock"]')).to_be_visible()
        expect(page).to_have_title("mounted")
        context.close()
