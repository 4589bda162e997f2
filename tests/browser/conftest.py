"""Fixtures that drive the real page in a real, headless Chromium against real servers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from resilience_dashboard import app

from tests.browser.messages import OpenPage
from tests.dashboard.servers import StreamServer, served

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser: RESILIENCE_CHROMIUM, or what PATH has."""
    found = os.environ.get("RESILIENCE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    assert found, "the dashboard's tests need Chromium: install it, or name it in RESILIENCE_CHROMIUM"
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield launched
        launched.close()


@pytest.fixture
def stream() -> Iterator[StreamServer]:
    """A running metrics stream without messages."""
    server = StreamServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Open the dashboard of some streams: `open_page(stream, ..., settings={}, viewport=..., color_scheme=...)`.

    Any uncaught error or refused resource on a page fails the test.
    """
    with ExitStack() as stack:
        complaints: list[str] = []

        def open_(*streams: StreamServer, settings: dict[str, Any] | None = None, **context: Any) -> Page:
            times = {"stale_after": 0.6, "sort_every": 0.1, "retry_min": 0.05, "retry_max": 0.2, **(settings or {})}
            base = stack.enter_context(served(app, [stream.url for stream in streams], **times))
            opened = stack.enter_context(browser.new_context(**context))
            opened.set_default_timeout(15_000)
            page = opened.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda m: complaints.append(m.text) if "Content Security" in m.text else None)
            page.goto(base + "/")
            return page

        yield open_
        stack.close()
        assert complaints == []
