"""512 streams of server-sent events, each with 20 events a second: how late an event comes.

An upstream sends every event at a time of its own, evenly spread, and says in the event when that was to be. A client
compares this with the time at which it has the event: once straight from the upstream, once through the gateway, and
once through nginx. Client and upstream have one core, each in a process of its own; the proxy has the other. What is
late on the direct way is late for want of the machine's, so the bound is for what the gateway adds: the
worst of its best round beside the worst of the best direct one.
``python -m tests.benchmarks.event_streams PORT`` is the upstream.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import select
import socket
import statistics
import sys
import time
from contextlib import ExitStack

import attrs

from .processes import NotAvailable, free_ports, here_on, running, two_cores
from .proxies import NGINX_HEAD, NGINX_TEMPORARY, nginx_command, workplace
from .report import Gate, Section, Table
from .serving import serving, upstream
from .usage import Usage

STREAMS = 512
EVERY_S = 0.05
ROUND_S = 3.0
ROUNDS = 4
BEGIN_S = 10.0
LATE_MS = 50.0
DIRECT, OURS, NGINX = "direct", "ours", "nginx"

_EVENT = "data: %018d\n\n"
_TIMES = re.compile(rb"data: (\d{18})\n\n")
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_OURS = """
[services.events]
endpoints = ["http://127.0.0.1:%d"]
command = { max_concurrent = false, timeout = 10.0 }

[[routes]]
path = "/*"
service = "events"
"""
_NGINX = """
http {
%(temporary)s
    access_log off;
    server {
        listen 127.0.0.1:%(port)d;
        location / {
            proxy_pass http://127.0.0.1:%(upstream)d; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
"""


@attrs.frozen(kw_only=True)
class Way:
    """Where the client connects; the processes between it and the upstream, if there are any."""

    name: str
    port: int
    usage: Usage | None = None


@attrs.frozen(kw_only=True)
class Round:
    """How late the events of one round came, milliseconds, and the share of a core that the proxy took."""

    median: float
    p999: float
    worst: float
    late: int
    events: int
    core: float


def run(*, seconds: int, repeat: int) -> Section:
    """Compare the ways in a few rounds of a length of their own: what matters is the worst of many events."""
    client_core, proxy_core = two_cores()
    with ExitStack() as stack:
        return _compare(stack, client_core, proxy_core)


def _compare(stack: ExitStack, client_core: int, proxy_core: int) -> Section:
    port = stack.enter_context(upstream("event_streams", client_core))
    gateway = stack.enter_context(serving(_OURS % port, proxy_core))
    ways = [Way(name=DIRECT, port=port), Way(name=OURS, port=gateway.port, usage=gateway.usage)]
    notes = []
    try:
        ways.append(_nginx(stack, port, proxy_core))
    except NotAvailable as error:
        notes.append(f"nginx: {error}")
    rounds: dict[str, list[Round]] = {way.name: [] for way in ways}
    with here_on(client_core):
        for _ in range(ROUNDS):
            for way in ways:
                rounds[way.name].append(_round(way))
    best = {name: min(found, key=lambda each: each.worst) for name, found in rounds.items()}
    rows = [
        (name, one.events, one.median, one.p999, one.worst, max(each.worst for each in rounds[name]),
         sum(each.late for each in rounds[name]), None if name == DIRECT else min(each.core for each in rounds[name]))
        for name, one in best.items()
    ]
    title = f"{STREAMS} streams, an event every {EVERY_S * 1e3:g} ms on each: lateness in ms, round with the least worst of {ROUNDS}"
    columns = ("", "events", "median", "p99.9", "worst", "worst of all", f"later than {LATE_MS:g}", "of a core")
    gate = Gate(what="latest event, beyond the direct connection's", measured=best[OURS].worst - best[DIRECT].worst,
                bound=LATE_MS, unit="ms")
    return Section(name="event_streams", tables=[Table(title=title, columns=columns, rows=rows)], gates=[gate], notes=notes)


def _nginx(stack: ExitStack, upstream_port: int, core: int) -> Way:
    directory, (port,) = stack.enter_context(workplace()), free_ports(1)
    filled = {"temporary": NGINX_TEMPORARY, "port": port, "upstream": upstream_port}
    command = nginx_command(NGINX_HEAD + _NGINX % filled, directory)
    pid = stack.enter_context(running(command, port=port, path="/", directory=directory, core=core))
    return Way(name=NGINX, port=port, usage=Usage(pid))


def _round(way: Way) -> Round:
    request = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{way.port}\r\n\r\n".encode()
    streams = {}
    poll = select.epoll()
    try:
        for _ in range(STREAMS):
            each = socket.create_connection(("127.0.0.1", way.port))
            each.sendall(request)
            poll.register(each, select.EPOLLIN)
            streams[each.fileno()] = each
        begun: set[int] = set()
        end = time.monotonic() + BEGIN_S
        while len(begun) < STREAMS:
            _listen(poll, streams, 0.1, begun)
            if time.monotonic() > end:
                raise NotAvailable(f"{way.name}: only {len(begun)} streams have begun within {BEGIN_S:g} s")
        before, began = way.usage and way.usage.busy_s(), time.monotonic()
        late = _listen(poll, streams, ROUND_S, begun)
        took = time.monotonic() - began
        core = 0.0 if way.usage is None or before is None else (way.usage.busy_s() - before) / took
    finally:
        for each in streams.values():
            each.close()
        poll.close()
    late.sort()
    return Round(median=statistics.median(late), p999=late[int(len(late) * 0.999)], worst=late[-1],
                 late=sum(each > LATE_MS for each in late) + _missing(late, took), events=len(late), core=core)


def _missing(late: list[float], took: float) -> int:
    """How many events have not come at all, beyond a few at either end."""
    return max(0, int(0.98 * STREAMS * took / EVERY_S) - len(late))


def _listen(poll: select.epoll, streams: dict[int, socket.socket], seconds: float, heard: set[int]) -> list[float]:
    """How late each event is that comes within some *seconds*, in milliseconds; those of *streams* that were heard."""
    late: list[float] = []
    parts: dict[int, bytes] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for number, _ in poll.poll(0.05):
            data = parts.pop(number, b"") + streams[number].recv(65536)
            now = time.monotonic_ns()
            at = 0
            for found in _TIMES.finditer(data):
                late.append((now - int(found[1])) / 1e6)
                at = found.end()
                heard.add(number)
            if at < len(data):
                parts[number] = data[max(at, len(data) - 64):]
    return late


class _Pacer:
    """The upstream: one loop that takes streams in, and sends what is due."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._listener.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._new: dict[int, socket.socket] = {}
        self._slots: list[list[socket.socket]] = [[] for _ in range(STREAMS)]
        order = list(range(STREAMS))
        random.Random(1).shuffle(order)
        self._next = itertools.cycle(order)

    def run(self) -> None:
        """Serve until the process is ended."""
        gap = int(EVERY_S * 1e9 / STREAMS)
        slot, due = 0, time.monotonic_ns()
        while True:
            for number, _ in self._poll.poll(max(0.0, (due - time.monotonic_ns()) / 1e9)):
                self._heard(number)
            for _ in range(STREAMS):  # then look for new ones, however late it is
                if time.monotonic_ns() < due:
                    break
                self._send(slot, due)
                slot, due = (slot + 1) % STREAMS, due + gap

    def _heard(self, number: int) -> None:
        if number == self._listener.fileno():
            with contextlib.suppress(BlockingIOError):
                while True:
                    connection = self._listener.accept()[0]
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._poll.register(connection, select.EPOLLIN)
                    self._new[connection.fileno()] = connection
            return
        connection = self._new.pop(number)
        self._poll.unregister(connection)
        if b"/events" in connection.recv(65536):
            connection.setblocking(False)
            connection.send(_HEAD)
            self._slots[next(self._next)].append(connection)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.close()

    def _send(self, slot: int, due: int) -> None:
        event = (_EVENT % due).encode()
        chunk = b"%x\r\n%b\r\n" % (len(event), event)
        for connection in self._slots[slot]:
            try:
                connection.send(chunk)
            except OSError:
                self._slots[slot] = [each for each in self._slots[slot] if each is not connection]
                connection.close()


if __name__ == "__main__":
    _Pacer(int(sys.argv[1])).run()
