"""Runs pytest within pyodide; what needs a thread, a process or an event loop is left out when it asks for one."""

import os
import sys

sys.path[:0] = ["/site", "/tree"]
os.chdir("/tree")

import pytest  # noqa: E402

_SAYS = ("can't start new thread", "does not support processes", "stack switching not supported")
#: An endless recursion ends the interpreter there, and a thread is asked for where nobody hears that there is none.
_CANNOT = ("Endless", "test_what_is_thrown_out_dies_when_others_may_use_the_store")


class LeaveOut:
    """Turns the failure of a test that asked for what is not there into a skip."""

    def pytest_collection_modifyitems(self, items):
        for item in items:
            if any(name in item.nodeid for name in _CANNOT):
                item.add_marker(pytest.mark.skip("cannot be run here"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item, call):
        report = yield
        error = call.excinfo and call.excinfo.value
        while error is not None:
            if isinstance(error, (RuntimeError, OSError)) and any(each in str(error) for each in _SAYS):
                report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: {error}")
                break
            error = error.__cause__ or error.__context__
        return report


def run(args):
    """Python's version, then pytest; returns its exit code."""
    print(sys.version, flush=True)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # an editable install leaves our own entry point in the tree
    options = ["-q", "-p", "pytest_asyncio.plugin", "-p", "no:unraisableexception"]
    return int(pytest.main([*options, *args], plugins=[LeaveOut()]))
