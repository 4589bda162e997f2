"""A signal that came when a gateway, a registry or a dashboard had ended, and Python had not, ended it by that signal: the
status was not 0, though it was stopped as it should be. SIGHUP and SIGUSR1 did so, too.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.harness import free_port

#: What serves, which is told to end once it is ready; then the signal, when all is over.
SERVES = {
    "dashboard": "from resilience.gateway.server import run_app\n"
                 "async def app(scope, receive, send): ...\n"
                 "run_app(app, {bind!r}, ready=stop)",
    "registry": "from resilience.discovery.registry import server\n"
                "server.run(server.load({file!r}), None, ready=stop)",
    "gateway": "from resilience.gateway.supervision import supervisor\n"
               "supervisor.run({file!r}, ready=lambda _: stop())",
}
CODE = """
import os, signal
def stop():
    os.kill(os.getpid(), signal.SIGTERM)
{serves}
for number in {numbers}:
    os.kill(os.getpid(), number)
"""
FILES = {
    "dashboard": "",
    "registry": '[listener]\nbind = "{bind}"\n',
    "gateway": '[gateway]\nbind = "{bind}"\n[services.up]\nendpoints = ["http://127.0.0.1:9"]\n'
               '[[routes]]\npath = "/*"\nservice = "up"\n',
}
MORE = {"dashboard": (), "registry": (signal.SIGHUP,), "gateway": (signal.SIGHUP, signal.SIGUSR1)}


@pytest.mark.process
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("what", [*SERVES])
def test_what_has_ended_is_ended_by_no_further_signal(tmp_path: Path, what: str, which: signal.Signals) -> None:
    bind, file = f"127.0.0.1:{free_port()}", tmp_path / "file.toml"
    file.write_text(FILES[what].format(bind=bind))
    numbers = [int(each) for each in (*MORE[what], which)]
    code = CODE.format(serves=SERVES[what].format(bind=bind, file=f"{file}"), numbers=numbers)
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True, text=True)
    assert 0 == done.returncode, done.stderr
