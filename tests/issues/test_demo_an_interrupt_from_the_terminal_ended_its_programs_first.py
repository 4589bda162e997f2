"""Ctrl-C while the demo starts printed the tracebacks of its programs, and that one of them "did not start".

A terminal sends SIGINT to all processes of its foreground group. The demo takes it, and ends what it has started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.cli.test_cli import free_ports
from tests.drivers.until import until

pytestmark = pytest.mark.process


def children(pid: int) -> list[str]:
    return subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()


@pytest.mark.parametrize("has_begun", [False, True])
def test_an_interrupt_from_the_terminal_ends_the_demo(has_begun: bool) -> None:
    ports = zip(("--gateway-port", "--private-port", "--admin-port", "--registry-port"), map(str, free_ports(4)), strict=True)
    demo = subprocess.Popen([sys.executable, "-m", "resilience", "demo", *(each for pair in ports for each in pair)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert demo.stdout is not None
        if has_begun:
            assert "Dashboard" in demo.stdout.readline()
        else:
            until(lambda: len(children(demo.pid)) > 3, 60)
        os.killpg(demo.pid, signal.SIGINT)
        out, err = demo.communicate(timeout=100)
    finally:
        demo.kill()
        demo.communicate()

    assert (0, "") == (demo.returncode, err)
    assert has_begun == ("answers" in out)
