"""Gateways that begin with everything imported, as the imports are most of the time that a start takes.

A process that has imported everything forks at each message on a socket. What it forks waits for the gateway, which it
forks in turn, and tells how that ended.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

_FORKS: Final = """
import json, os, socket, sys
from resilience.asgi import telemetry
from resilience.gateway import server
from resilience.gateway.config import load

asked = socket.socket(fileno=int(sys.argv[1]))
while (received := socket.recv_fds(asked, 1_000_000, 3))[0]:
    message, (out, err, told), _, _ = received
    if os.fork():
        for each in (out, err, told):
            os.close(each)
        os.waitpid(-1, os.WNOHANG)
        continue
    asked.close()
    if child := os.fork():
        for each in (0, 1, 2, out, err):
            os.close(each)
        os.write(told, str(child).encode())
        os.write(told, str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
        os._exit(0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for each in (out, err, told):
        os.close(each)
    file, environment = json.loads(message)
    os.environ.clear()
    os.environ.update(environment)
    server.run(load(file), make_admin=telemetry, ready=lambda: print("ready", flush=True))
    sys.exit()
"""


@functools.cache
def _forks() -> socket.socket:
    """Start the process that forks; it ends with this one."""
    asked, asks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen([sys.executable, "-X", "dev", "-W", "default", "-c", _FORKS, str(asked.fileno())],
                               pass_fds=[asked.fileno()], cwd=Path(__file__).parents[2])
    asked.close()
    atexit.register(process.wait, 10)
    atexit.register(asks.close)
    return asks


class ForkedProcess:
    """A gateway that serves what a file says, without workers: with what the tests use of subprocess.Popen."""

    def __init__(self, file: Path) -> None:
        output, errors = os.pipe(), os.pipe()
        self._told, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with told:
            ends = [output[1], errors[1], told.fileno()]
            socket.send_fds(_forks(), [json.dumps([str(file), dict(os.environ)]).encode()], ends)
        for end in ends[:2]:
            os.close(end)
        self.stdout: IO[str] = open(output[0])
        self.stderr: IO[str] = open(errors[0])
        self.pid = int(self._told.recv(100))
        self.returncode: int | None = None
        self._outputs: list[Future[str]] = []

    def poll(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it, if it has ended."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; raise TimeoutExpired if that does not come."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("the gateway", timeout or 0.0)
            self.returncode = int(self._told.recv(100))
            self._told.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it writes until its end, which is waited for."""
        if not self._outputs:
            pool = ThreadPoolExecutor()
            self._outputs = [pool.submit(each.read) for each in (self.stdout, self.stderr)]
            pool.shutdown(wait=False)
        self.wait(timeout)
        output, errors = (each.result() for each in self._outputs)
        self.stdout.close()
        self.stderr.close()
        return output, errors

    def send_signal(self, sign: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sign)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
