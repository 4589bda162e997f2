"""A gateway, a registry and a dashboard whose standard streams were closed were aborted, as libuv closes no such descriptor.

Whoever starts services may close them (``>&-``). The first sockets then had the descriptors 0 to 2, and what was printed went to them.
An error that could not be printed was a status of 1, as of a port that is in use.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.test_cli import CONFIG, free_ports, get, until_ready
from tests.gateway.harness import eventually, listens

pytestmark = pytest.mark.process

CLOSING = "import os, sys\nfor each in {}: os.close(each)\nos.execv(sys.executable, [sys.executable, '-m', 'resilience', *{!r}])"


def started(closed: Sequence[int], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CLOSING.format([*closed], arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("command", "closed"), [
    ("gateway", (1,)), ("gateway", (2,)),  # all three: below
    *itertools.product(["registry", "dashboard"], [(1,), (2,), (0, 1, 2)])])
def test_what_serves_does_so_without_them(tmp_path: Path, command: str, closed: tuple[int, ...]) -> None:
    port, admin = free_ports(2)
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG.format(gateway=port, admin=admin))
    arguments = {"gateway": [str(file)], "registry": ["--port", str(port)],
                 "dashboard": ["--port", str(port), "--stream", f"http://127.0.0.1:{admin}/resilience.stream"]}
    process = started(closed, command, *arguments[command])
    if command == "gateway":
        until_ready(admin)
    else:
        eventually(lambda: listens(port))
        get(f"http://127.0.0.1:{port}/")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert 0 == process.returncode


def test_a_gateway_does_so_without_any_and_its_workers_have_them_too(tmp_path: Path) -> None:
    port, admin = free_ports(2)
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIG.format(gateway=port, admin=admin))
    process = started((0, 1, 2), "gateway", str(file))
    until_ready(admin)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = {os.readlink(f"/proc/{child}/fd/{descriptor}") for child, descriptor in itertools.product(children, (1, 2))}
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (0, {os.devnull}) == (process.returncode, found)


@pytest.mark.parametrize("stderr", ["full", "closed"])
def test_the_status_is_that_of_the_mistake_also_where_it_cannot_be_told(tmp_path: Path, stderr: str) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[gateway")
    if stderr == "closed":
        process = started((2,), "check", str(file))
        process.communicate(timeout=60)
    else:
        with open("/dev/full", "w") as full:
            process = subprocess.Popen([sys.executable, "-m", "resilience", "check", str(file)], stderr=full, text=True)
        process.wait(60)
    assert 2 == process.returncode
