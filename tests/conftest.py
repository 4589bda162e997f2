"""Fixtures for all tests, and what happens where there is no browser."""

import os
import shutil

import pytest

from resilience import Registry
from resilience.testing import ManualClock

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture
def clock():
    """Time that stands still until the test advances it."""
    return ManualClock()


@pytest.fixture
def registry(clock):
    """An isolated registry on that clock."""
    return Registry(clock=clock)


def _has_browser():
    return bool(os.environ.get("RESILIENCE_CHROMIUM")) or any(map(shutil.which, _BROWSERS))


def pytest_collection_modifyitems(config, items):
    """Browser's tests last, and left out where there is none, unless RESILIENCE_REQUIRE_BROWSER says that is an error.

    Last, because Playwright keeps an event loop running in the main thread, where others then cannot start one.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if _has_browser() or os.environ.get("RESILIENCE_REQUIRE_BROWSER"):
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[_LEFT_OUT] = len(left_out)


_LEFT_OUT = pytest.StashKey[int]()


def pytest_terminal_summary(terminalreporter, config):
    """Say so."""
    left_out = config.stash.get(_LEFT_OUT, 0)
    if left_out:
        terminalreporter.write_line(
            f"{left_out} tests of the dashboard need a Chromium, and there is none: install it to run them", yellow=True)
