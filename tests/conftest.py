"""Fixtures for all tests, and what happens where there is no browser, or no other program that some tests need."""

import collections
import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest

from resilience import Registry
from resilience.engine.compiler import plain_way
from resilience.testing import ManualClock
from tests.drivers.until import until
from tests.fleet.network import is_possible

#: The fixtures that start a program which is not Python's, and the program.
_PROGRAMS = {"curl": "curl", "postgres": "postgres", "prometheus": "prometheus", "promtool": "promtool", "redis": "redis-server", "redis_server": "redis-server",
             "systemd_analyze": "systemd-analyze"}
#: The fixture that makes a network of its own, and what it takes.
_NETWORK = {"network": "redis-server, and the right to make network namespaces with `ip` (Linux, as root)"}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(autouse=True, scope="module")
def heap_of_earlier_tests_frozen():
    """Spare each collection of cycles that a test asks for a look at what earlier modules left: half a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def bytecode_of_processes():
    """Keep the bytecode of the processes that tests start, where none may stand beside the sources.

    There are hundreds, and each would compile the library and all that it imports anew.
    """
    if not sys.dont_write_bytecode:
        yield
        return
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        environment.setenv("PYTHONPYCACHEPREFIX", folder)
        yield


@pytest.fixture
def clock():
    """Time that stands still until the test advances it."""
    return ManualClock()


@pytest.fixture
def registry(clock):
    """An isolated registry on that clock."""
    return Registry(clock=clock)


@pytest.fixture
def promtool():
    """The linter of Prometheus, which comes with it."""
    return shutil.which("promtool")


@pytest.fixture
def redis_server(tmp_path):
    """A real redis-server on a socket of its own: the socket's path, and the process."""
    path = tmp_path / "redis.sock"
    process = subprocess.Popen(
        [shutil.which("redis-server"), "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL)

    def answers():
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0

    try:
        until(answers)
        yield path, process
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def systemd_analyze():
    """The path of systemd's program that checks units."""
    return shutil.which("systemd-analyze")


def _has_browser():
    return bool(os.environ.get("RESILIENCE_CHROMIUM")) or any(map(shutil.which, _BROWSERS))


def pytest_collection_modifyitems(config, items):
    """Run the browser's tests last; what needs a program that is not there is left out, and said to be.

    Unless RESILIENCE_REQUIRE_BROWSER says that this is a machine where everything has to be there: then it fails.
    Last, because Playwright keeps an event loop running in the main thread, where others then cannot start one.
    """
    if config.getoption("--plain"):
        left = [item for item in items if item.get_closest_marker("written_out") or "interrupt" in item.nodeid]
        items[:] = [item for item in items if item not in set(left)]
        config.hook.pytest_deselected(items=left)
    items.sort(key=_in_browser)
    if os.environ.get("RESILIENCE_REQUIRE_BROWSER"):
        return
    missing = {fixture: program for fixture, program in _PROGRAMS.items() if not shutil.which(program)}
    if not any("network" in getattr(item, "fixturenames", ()) for item in items) or not is_possible():
        missing |= _NETWORK
    left_out = {item: what for item in items if (what := _missing(item, missing)) is not None}
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=list(left_out))
        config.stash[_LEFT_OUT] = collections.Counter(left_out.values())


def _in_browser(item):
    """Whether a test runs in a browser; its fixture says so of one whose file has forgotten the marker."""
    return item.get_closest_marker("browser") is not None or "browser" in getattr(item, "fixturenames", ())


def _missing(item, programs):
    if _in_browser(item) and not _has_browser():
        return "Chromium"
    return next((programs[name] for name in getattr(item, "fixturenames", ()) if name in programs), None)


_LEFT_OUT = pytest.StashKey[collections.Counter]()


def pytest_terminal_summary(terminalreporter, config):
    """Say so."""
    for program, tests in config.stash.get(_LEFT_OUT, {}).items():
        terminalreporter.write_line(f"{tests} tests need {program}, which is not there: provide it to run them", yellow=True)


def pytest_addoption(parser):
    parser.addoption("--plain", action="store_true",
                     help="compile every wrapper the plain way, by calling the machines' methods")


@pytest.fixture(autouse=True)
def _way(request):
    """Compile the plain way if the command line says so; see resilience.engine.compiler.plain_way."""
    if request.config.getoption("--plain"):
        with plain_way():
            yield
    else:
        yield
