"""A closed-loop HTTP client that knows which route each answer belongs to.

wrk keeps one histogram for everything, so it cannot tell a healthy route's p99
from a sick one's. This client keeps one request in flight on each of its
connections and notes for every answer when it came, how long it took, which
route it was and its status. Non-blocking sockets on one epoll: about 10 us per
request, so it saturates nginx's 45,000 a second not quite, and any Python proxy
easily.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from time import perf_counter

import attrs


@attrs.define
class Answer:
    """One answer: seconds since the start, seconds it took, status (0: connection lost)."""

    at: float
    took: float
    status: int


class _Connection:
    __slots__ = ("buffer", "route", "sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.buffer = b""
        self.route = 0
        self.sent_at = 0.0


class ClosedLoop:
    """Keeps *connections* busy with *routes* in turn.

    Args:
        port: Of the proxy, on loopback.
        connections: Requests in flight at any time.
        routes: Paths; each connection takes the next one of this common cycle.
    """

    def __init__(self, port: int, *, connections: int, routes: Sequence[str]) -> None:
        self._port = port
        self._paths = sorted(set(routes))
        head = f"Host: 127.0.0.1:{port}\r\n\r\n"
        self._requests = [f"GET {path} HTTP/1.1\r\n{head}".encode() for path in self._paths]
        self._cycle = [self._paths.index(path) for path in routes]
        self._turn = 0
        self._size = connections

    def run(self, seconds: float) -> dict[str, list[Answer]]:
        """Load for *seconds*; returns the answers of each path, in order of arrival."""
        answers: list[list[Answer]] = [[] for _ in self._paths]
        poll = select.epoll()
        held: dict[int, _Connection] = {}
        start = perf_counter()
        try:
            for _ in range(self._size):
                self._open(poll, held)
            while perf_counter() - start < seconds:
                for number, _ in poll.poll(0.05):
                    self._read(held[number], poll, held, answers, start)
        finally:
            for connection in held.values():
                connection.socket.close()
            poll.close()
        return dict(zip(self._paths, answers, strict=True))

    def _open(self, poll: select.epoll, held: dict[int, _Connection]) -> None:
        connection = _Connection(self._port)
        held[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
        self._send(connection)

    def _send(self, connection: _Connection) -> None:
        connection.route = self._cycle[self._turn]
        self._turn = (self._turn + 1) % len(self._cycle)
        connection.sent_at = perf_counter()
        connection.socket.send(self._requests[connection.route])

    def _read(
        self,
        connection: _Connection,
        poll: select.epoll,
        held: dict[int, _Connection],
        answers: list[list[Answer]],
        start: float,
    ) -> None:
        try:
            data = connection.socket.recv(65536)
        except OSError:
            data = b""
        now = perf_counter()
        connection.buffer += data
        if data and not complete(connection.buffer):
            return
        status = int(connection.buffer[9:12]) if data else 0
        answers[connection.route].append(Answer(now - start, now - connection.sent_at, status))
        if not data or b"\r\nconnection: close" in connection.buffer[:1024].lower():
            del held[connection.socket.fileno()]
            connection.socket.close()
            self._open(poll, held)
            return
        connection.buffer = b""
        self._send(connection)


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
