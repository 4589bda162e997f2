"""A real redis-server on a loopback port, to be stopped, frozen, wiped and started again."""

import contextlib
import shutil
import signal
import socket
import subprocess
import time

from tests.gateway.harness import free_port


class RedisServer:
    """One server; begins at once."""

    def __init__(self, directory, *, of=None):
        self.port, self._directory, self._of = free_port(), directory, of
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        extra = [] if self._of is None else ["--replicaof", "127.0.0.1", str(self._of.port)]
        self._process = subprocess.Popen(
            [shutil.which("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
             "no", "--dir", str(self._directory), "--repl-diskless-sync-delay", "0", *extra], stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if self.say("PING") == b"+PONG":
                    return
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.01)

    def say(self, *words):
        """The first line of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.sendall((" ".join(words) + "\r\n").encode())
            return client.makefile("rb").readline().rstrip()

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)
