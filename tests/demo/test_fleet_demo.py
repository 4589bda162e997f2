"""The demo of a fleet, as users run it."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.gateway.harness import eventually, free_port

pytestmark = pytest.mark.process


def test_the_demo_of_a_fleet_starts_tells_and_leaves_nothing_behind_when_it_is_interrupted():
    port = free_port(following=7)
    demo = subprocess.Popen(
        [sys.executable, "-m", "resilience", "demo", "--fleet", "--gateway-port", str(port), "--admin-port", str(port + 3),
         "--registry-port", str(port + 6), "--duration", "60"], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    watchdog = threading.Timer(90, demo.kill)
    watchdog.start()
    try:
        told = ""
        while "Ctrl-C ends the demo" not in told:
            line = demo.stdout.readline()
            assert line, demo.stderr.read()
            told += line
        folder = next(line.split()[1] for line in told.splitlines() if line.startswith("files"))
        assert len(processes(folder)) >= 4, "the gateways and the registry"
        demo.send_signal(signal.SIGINT)
        out, err = demo.communicate(timeout=60)
    finally:
        watchdog.cancel()
        demo.kill()
        demo.wait()
    assert (0, "") == (demo.returncode, err)
    assert "clients saw no error" in out
    assert not Path(folder).exists()
    eventually(lambda: not processes(folder), "all processes have ended")


def processes(folder):
    """Those whose command lines name something in *folder*."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() in each.read_bytes():
                found.append(each.parent.name)
        except OSError:  # it has ended meanwhile
            pass
    return found
