"""With the usual limit of 1024 open files, a gateway closed all connections beyond that as soon as they were made.

``max_connections`` said 20,000, and no log said otherwise: the event loop accepts and closes them by itself. The limit
could have been raised by the process, as it is by other servers.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")

#: What a gateway says of its limit, and what that is then, in this process and in one that it starts.
CODE = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from resilience.gateway.config import GatewayConfig
from resilience.gateway.config.file import read
from resilience.gateway.open_files import allow_open_files
from resilience.gateway.server import binds
from resilience.config import Document
config = read(Document.of({{
    "gateway": {{"max_connections": 400}}, {private}
    "services": {{"up": {{"endpoints": ["http://a.test"]}}}}, "routes": [{{"path": "/*", "service": "up"}}]}}, "test"))
allow_open_files(config.most_connections, len(binds(config)))
subprocess.run([sys.executable, "-c", "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"], check=True)
"""
PRIVATE = '"private": {"bind": "127.0.0.1:1", "max_connections": 600, "routes": [{"path": "/*", "service": "up"}]},'


def result(soft: int, hard: int, private: str = "") -> tuple[str, str]:
    done = subprocess.run([sys.executable, "-c", CODE.format(soft=soft, hard=hard, private=private)], cwd=Path(__file__).parents[2],
                          capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def test_the_limit_is_raised_as_far_as_it_may_be_for_the_workers_too_and_nothing_is_said_if_that_is_enough() -> None:
    assert result(128, 512) == ("512 512", "")


def test_a_limit_that_is_too_low_for_the_connections_of_either_side_is_told() -> None:
    limits, said = result(128, 512, PRIVATE)
    assert limits == "512 512"
    assert "512 open files" in said
    assert "clients can have 192 connections at each listener, fewer than max_connections (600)" in said
