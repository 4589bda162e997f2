"""An open-loop HTTP client: requests fall due at random, whatever has become of those before.

A closed loop asks again only when it was answered, so it slows down with the
proxy, and one connection that hangs asks nothing else: its figures mix up what
the proxy does to a route with what the client does to itself. Here each request
falls due at a time of its own, as with many independent users, and takes a
connection that is idle or else a new one. Its latency counts from when it was due.

Each route has connections of its own. Non-blocking sockets on one epoll: about
15 us per request.
"""

from __future__ import annotations

import gc
import random
import select
import socket
from collections.abc import Mapping
from time import perf_counter

import attrs

GRACE_S = 0.1  # for the answers to the last requests of a run


@attrs.define
class Answer:
    """What became of one request.

    Attributes:
        due: When it was due, seconds since the start of the run.
        took: From then to the end of its answer, seconds.
        status: Its status; 0: the connection was lost; None: no answer until the end of the run.
    """

    due: float
    took: float = float("inf")
    status: int | None = None


class _Connection:
    __slots__ = ("answer", "buffer", "due", "path", "socket", "unsent")

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self.path = path
        self.buffer = b""
        self.unsent = b""
        self.answer: Answer | None = None
        self.due = 0.0


class OpenLoop:
    """Asks for each path at its own rate; keeps its connections from run to run.

    Args:
        port: Of the proxy, on loopback.
        rates: Requests per second, by path; arrivals are a Poisson process.
        seed: Of the arrivals.
    """

    def __init__(self, port: int, rates: Mapping[str, float], *, seed: int = 1) -> None:
        self._port = port
        self._rates = dict(rates)
        self._requests = {path: f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() for path in rates}
        self._idle: dict[str, list[_Connection]] = {path: [] for path in rates}
        self._all: dict[int, _Connection] = {}
        self._random = random.Random(seed)
        self._poll = select.epoll()
        self._start = 0.0

    def __enter__(self) -> OpenLoop:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._all.values():
            connection.socket.close()
        self._poll.close()

    def run(self, seconds: float) -> dict[str, list[Answer]]:
        """Ask for *seconds*; what became of the requests to each path, in the order in which they were due."""
        arrivals = self._arrivals(seconds)
        answers: dict[str, list[Answer]] = {path: [] for path in self._rates}
        gc.disable()
        try:
            self._start = perf_counter()
            for due, path in arrivals:
                self._read_until(self._start + due)
                answers[path].append(Answer(due))
                self._send(path, answers[path][-1])
            self._read_until(self._start + seconds + GRACE_S)
        finally:
            gc.enable()
        return answers

    def _arrivals(self, seconds: float) -> list[tuple[float, str]]:
        arrivals = []
        for path, rate in self._rates.items():
            due = self._random.expovariate(rate)
            while due < seconds:
                arrivals.append((due, path))
                due += self._random.expovariate(rate)
        return sorted(arrivals)

    def _read_until(self, then: float) -> None:
        while (left := then - perf_counter()) > 0:
            select.select((self._poll,), (), (), left)  # epoll's own timeout has a resolution of 1 ms
            for number, events in self._poll.poll(0):
                connection = self._all[number]
                if events & select.EPOLLOUT and connection.unsent:
                    self._poll.modify(connection.socket, select.EPOLLIN)
                    self._write(connection, connection.unsent)
                else:
                    self._read(connection)

    def _send(self, path: str, answer: Answer) -> None:
        if self._idle[path]:
            connection = self._idle[path].pop()
            connection.answer, connection.due = answer, self._start + answer.due
            self._write(connection, self._requests[path])
        else:
            connection = _Connection(self._port, path)
            connection.answer, connection.due = answer, self._start + answer.due
            connection.unsent = self._requests[path]
            self._all[connection.socket.fileno()] = connection
            self._poll.register(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def _write(self, connection: _Connection, request: bytes) -> None:
        connection.unsent = b""
        try:
            connection.socket.send(request)
        except OSError:
            self._close(connection, 0)

    def _read(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        connection.buffer += data
        if not data:
            self._close(connection, 0)
        elif complete(connection.buffer):
            status, head = int(connection.buffer[9:12]), connection.buffer[:1024].lower()
            connection.buffer = b""
            if b"\r\nconnection: close" in head:
                self._close(connection, status)
            else:
                self._note(connection, status)
                self._idle[connection.path].append(connection)

    def _note(self, connection: _Connection, status: int) -> None:
        answer, connection.answer = connection.answer, None
        if answer is not None:
            answer.took, answer.status = perf_counter() - connection.due, status

    def _close(self, connection: _Connection, status: int) -> None:
        self._note(connection, status)
        if connection in self._idle[connection.path]:
            self._idle[connection.path].remove(connection)
        del self._all[connection.socket.fileno()]
        connection.socket.close()


def complete(answer: bytes) -> bool:
    """Whether *answer* is a whole HTTP/1.1 response, by its length or its last chunk."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    fields = head.lower()
    at = fields.find(b"\r\ncontent-length:")
    if at >= 0:
        end = fields.find(b"\r\n", at + 2)
        return len(body) >= int(fields[at + 17 : end if end >= 0 else None])
    return body.endswith(b"0\r\n\r\n")
