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

    _login = ()

    def __init__(self, directory, *, of=None, arguments=()):
        self.port, self._directory, self._of, self._arguments = free_port(), directory, of, arguments
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self):
        self._process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                if self.say("PING") == b"+PONG":
                    return
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.01)

    def _command(self):
        extra = [] if self._of is None else ["--replicaof", "127.0.0.1", str(self._of.port)]
        return [shutil.which("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly",
                "no", "--dir", str(self._directory), "--repl-diskless-sync-delay", "0", *extra, *self._arguments]

    def say(self, *words):
        """The first line of the answer to a command."""
        return self.lines(*words, most=1)[0]

    def lines(self, *words, most=5):
        """The first lines of the answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as client, client.makefile("rb") as answer:
            for command in filter(None, (self._login, words)):
                client.sendall((" ".join(command) + "\r\n").encode())
                found = [answer.readline().rstrip()]
            return found + [answer.readline().rstrip() for _ in range(most - 1)]

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)


class Sentinel(RedisServer):
    """One Sentinel, which replaces the primary "main" after half a second without an answer."""

    def __init__(self, directory, primary, password=None):
        self.port, self._file = free_port(), directory / "sentinel.conf"
        self._login = () if password is None else ("AUTH", password)
        self._file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {directory}\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
            + ("" if password is None else f"requirepass {password}\n"), encoding="utf-8")
        self.start()

    def _command(self):
        return [shutil.which("redis-server"), str(self._file), "--sentinel"]
