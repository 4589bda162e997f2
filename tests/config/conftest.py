"""Leaves the tests with a real redis-server out where there is none, and says so."""

import shutil

import pytest

_LEFT_OUT = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if shutil.which("redis-server"):
        return
    left_out = [item for item in items if "redis_server" in getattr(item, "fixturenames", ())]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
        config.stash[_LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter, config):
    left_out = config.stash.get(_LEFT_OUT, 0)
    if left_out:
        terminalreporter.write_line(
            f"{left_out} tests of guarded clients need redis-server, and there is none: install it to run them", yellow=True)
