"""SIGHUP, and what log rotation sends, ended a gateway or a registry whose library was still being imported."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resilience import cli

#: What the installed command runs: its entry point, which meets the signal at its first import of the library.
START = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "resilience":
            os.kill(os.getpid(), {number})
            sys.exit(7)

sys.meta_path.insert(0, Finder())
runpy.run_path({entry!r})["main"]()
"""
ENTRY = str(Path(cli.__file__).with_name("entry") / "__init__.py")


def status_of(number: int, *arguments: str) -> int:
    code = START.format(number=int(number), entry=ENTRY)
    return subprocess.run([sys.executable, "-c", code, *arguments], timeout=60, check=False).returncode


@pytest.mark.parametrize("command", ["gateway", "registry"])
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_what_serves_goes_on(command: str, number: signal.Signals) -> None:
    assert 7 == status_of(number, command, "some.toml")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_other_commands_end(number: signal.Signals) -> None:
    assert -number == status_of(number, "check", "some.toml")


def test_an_interrupt_is_no_traceback() -> None:
    assert 130 == status_of(signal.SIGINT, "gateway", "some.toml")
