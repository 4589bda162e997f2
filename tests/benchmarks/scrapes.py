"""Reading the statistics of 2,000 services while requests are served: what a request waits for that.

A client sends requests at a steady pace and notes what each takes: alone, while the admin port's page of metrics is
read again and again, and while its stream is watched. Rounds go in turn. A machine that others use delays
requests, too, so the least of the worst is what tells of the code.
``python -m tests.benchmarks.scrapes PORT PATH`` is the reader.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from .processes import NotAvailable, here_on, pinned, two_cores
from .proxies import upstreams
from .report import Gate, Section, Table
from .serving import Serving, serving

SERVICES = 2_000
ADDED_MS = 5.0
EVERY_S = 0.002
ROUND_S = 2.0
ROUNDS = 5
BEGIN_S = 0.5  # until a reader is under way
START_S = 90.0
ALONE = "alone"
READ = {"/metrics, again and again": "/metrics", "/resilience.stream": "/resilience.stream",
        "/hystrix.stream": "/hystrix.stream"}

_SERVICE = """
[services.s%(number)d]
endpoints = ["http://127.0.0.1:%(upstream)d"]

[[routes]]
path = "/s%(number)d/*"
service = "s%(number)d"
"""


@attrs.frozen(kw_only=True)
class Round:
    """What the requests of one round took, milliseconds."""

    median: float
    p99: float
    worst: float

    @classmethod
    def of(cls, took: list[float]) -> Round:
        """From seconds."""
        took.sort()
        return cls(median=statistics.median(took) * 1e3, p99=took[int(len(took) * 0.99)] * 1e3, worst=took[-1] * 1e3)


def run(*, seconds: int, repeat: int) -> Section:
    """Compare the ways of reading in a few rounds."""
    client_core, proxy_core = two_cores()
    with upstreams(client_core) as up:
        file = "".join(_SERVICE % {"number": number, "upstream": up.healthy[0]} for number in range(SERVICES))
        with serving(file, proxy_core, path="/s0/x", start_s=START_S) as gateway, here_on(client_core):
            return _compare(gateway, client_core)


def _compare(gateway: Serving, core: int) -> Section:
    client = _Paced(gateway.port)
    for number in range(SERVICES):
        client.ask(number)
    rounds: dict[str, list[Round]] = {name: [] for name in (ALONE, *READ)}
    for _ in range(ROUNDS):
        rounds[ALONE].append(Round.of(client.run(ROUND_S)))
        for name, path in READ.items():
            with _reading(gateway.admin, path, core):
                rounds[name].append(Round.of(client.run(ROUND_S)))
    least = {name: min(each.worst for each in found) for name, found in rounds.items()}
    rows = [
        (name, min(each.median for each in found), min(each.p99 for each in found), least[name],
         max(each.worst for each in found))
        for name, found in rounds.items()
    ]
    title = f"{SERVICES:,} services, a request every {EVERY_S * 1e3:g} ms: ms, least of {ROUNDS} rounds, and the worst of all"
    columns = ("while is read", "median", "p99", "worst", "worst of all")
    gates = [Gate(what=f"worst request, added by {name}", measured=least[name] - least[ALONE], bound=ADDED_MS, unit="ms")
             for name in READ]
    return Section(name="scrapes", tables=[Table(title=title, columns=columns, rows=rows)], gates=gates)


class _Paced:
    """A client with one connection, that sends a request when it is time to."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, number: int) -> None:
        """One request, for a service by its *number*.

        Raises:
            NotAvailable: It is not answered with 200.
        """
        self._socket.sendall(b"GET /s%d/x HTTP/1.1\r\nHost: gateway\r\n\r\n" % number)
        answer = self._socket.recv(65536)
        if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"}"):
            raise NotAvailable(f"the gateway answers {answer[:80]!r}")

    def run(self, seconds: float) -> list[float]:
        """Seconds that each request of some *seconds* took, from the moment at which it was due."""
        took = []
        due = time.perf_counter() + EVERY_S
        end = due + seconds
        number = 0
        while due < end:
            time.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            self.ask(number)
            took.append(time.perf_counter() - sent)
            number, due = (number + 1) % SERVICES, max(due + EVERY_S, sent)
        return took


@contextmanager
def _reading(port: int, path: str, core: int) -> Iterator[None]:
    """A reader of *path*, until the end of the block."""
    command = [sys.executable, "-m", __spec__.name, str(port), path]
    reader = subprocess.Popen(pinned(core, command), stdout=subprocess.PIPE)
    try:
        assert reader.stdout is not None
        if not reader.stdout.readline():
            raise NotAvailable(f"{path} cannot be read")
        time.sleep(BEGIN_S)
        yield
        if reader.poll() is not None:
            raise NotAvailable(f"{path} broke off")
    finally:
        reader.kill()
        reader.wait()


def _read(port: int, path: str) -> None:
    """Read *path* again and again, without end."""
    os.setpriority(os.PRIO_PROCESS, 0, 10)  # the client comes first
    piece = bytearray(1 << 20)
    while True:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
            got = connection.recv_into(piece)
            if not piece.startswith(b"HTTP/1.1 200"):
                sys.exit(f"{bytes(piece[:80])!r}")
            print(path, flush=True)
            while got:
                got = connection.recv_into(piece)


if __name__ == "__main__":
    _read(int(sys.argv[1]), sys.argv[2])
