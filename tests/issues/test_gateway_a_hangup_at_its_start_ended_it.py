"""SIGHUP asks for a reload, and ended a gateway that was still importing, or had not begun to listen for it."""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import threading

import pytest

from resilience import cli
from resilience.gateway.server import signals_heard
from resilience.gateway.supervision.worker_process import _CODE

#: A worker's start, which hangs up at the first import of what is not Python's own.
WORKER = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path, target=None):
        if name == "resilience":
            os.kill(os.getpid(), signal.SIGHUP)
            sys.exit(7)

sys.meta_path.insert(0, Finder())
""" + _CODE.format(path=sys.path, descriptor=0)


def test_a_worker_goes_on() -> None:
    assert 7 == subprocess.run([sys.executable, "-c", WORKER], stdin=subprocess.DEVNULL, timeout=60, check=False).returncode


def test_the_gateway_takes_none_before_it_imports_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resilience_dashboard", None)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ModuleNotFoundError):
        cli._gateway(argparse.Namespace(print_config=False, config="none.toml", workers=None))
    assert signal.SIGHUP in signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


async def test_what_has_come_meanwhile_is_heard_as_soon_as_that_is_possible() -> None:
    heard = asyncio.Event()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # this process has threads that do not block it
    with signals_heard({signal.SIGHUP: heard.set}):
        async with asyncio.timeout(10.0):
            await heard.wait()
