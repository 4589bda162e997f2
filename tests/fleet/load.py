"""Clients on one host, as a load balancer would be in front of several gateways, and what became of each request.

A request is *accepted* by a gateway once a connection to it is established and all bytes of the request are handed to
the kernel. What happens to one then has one of these names:

    answered       a complete answer came, whatever its status
    broken         the connection ended (FIN or RST) before the answer was complete
    silent         nothing came for as long as the client is patient
    not connected  it was not accepted: no connection came about; nothing is lost, and the next gateway is asked

A client keeps its connection for its next PER_CONNECTION requests, unless the gateway has closed it meanwhile. A
request whose method is idempotent, and that broke, is sent to the next gateway, as proxies do (RFC 9110, 9.2.2); the
client sees an error only if none answers it. How often that was necessary is counted, too: a test says what it allows.
"""

from __future__ import annotations

import http.client
import itertools
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

import attrs

from .network import Host

PATIENCE_S = 10.0
CONNECT_S = 1.0
PORT = 8080
#: After so many requests a client goes on to the next gateway, so that one that is new gets some.
PER_CONNECTION = 20
_TRIES = 6
_MOST = 50_000  # requests of one client
_names = itertools.count(1)


@attrs.define
class Attempt:
    """A request sent to one gateway.

    Attributes:
        gateway: Its host's address.
        fate: See the module.
        reused: Whether the connection had had an answer before.
        status: Of the answer; 0: none.
        body: Of the answer.
    """

    gateway: str
    fate: str
    reused: bool = False
    status: int = 0
    body: str = ""


@attrs.define
class Record:
    """One request of a client, and all attempts at it; the last one is what the client was told.

    Attributes:
        began_at: Monotonic seconds.
        took_s: Until the client was told.
    """

    method: str
    path: str
    began_at: float = attrs.field(factory=time.monotonic)
    took_s: float = 0.0
    attempts: list[Attempt] = attrs.field(factory=list)

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]

    @property
    def is_answered(self) -> bool:
        return self.last.fate == "answered" and self.last.status == 200


class Client:
    """Sends one request after the other; for one thread, on whose host it is."""

    def __init__(self, gateways: Sequence[str], is_wanted: Callable[[str], bool], patience_s: float = PATIENCE_S) -> None:
        self._gateways, self._is_wanted, self._patience_s = gateways, is_wanted, patience_s
        self._at = 0
        self._connection: http.client.HTTPConnection | None = None
        self._served = 0

    def send(self, method: str, path: str, *, repeat: bool) -> Record:
        """Send a request until it is answered; if *repeat* is False only once, and elsewhere if it was never accepted."""
        record = Record(method, path)
        for _ in range(_TRIES):
            attempt = self._attempt(method, path)
            record.attempts.append(attempt)
            if attempt.fate == "answered" or (attempt.fate != "not connected" and not repeat):
                break
        record.took_s = time.monotonic() - record.began_at
        return record

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, method: str, path: str) -> Attempt:
        if self._connection is not None and _has_ended(self._connection):
            self.close()
        if self._connection is None:
            self._choose()
        attempt = Attempt(self._gateways[self._at], "not connected", reused=self._connection is not None and self._served > 0)
        try:
            connection = self._connection or self._connect()
            attempt.fate = "broken"
            connection.request(method, path)
            answer = connection.getresponse()
            attempt.body, attempt.status, attempt.fate = answer.read().decode(), answer.status, "answered"
            self._served += 1
            if answer.will_close or self._served == PER_CONNECTION:
                self.close()
                self._at += 1
        except (OSError, http.client.HTTPException) as error:
            if attempt.fate == "broken" and isinstance(error, TimeoutError):
                attempt.fate = "silent"
            self.close()
            self._at += 1
        self._at %= len(self._gateways)
        return attempt

    def _choose(self) -> None:
        """Go on to the next gateway that is ready, if there is one."""
        for ahead in range(len(self._gateways)):
            at = (self._at + ahead) % len(self._gateways)
            if self._is_wanted(self._gateways[at]):
                self._at = at
                return

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._gateways[self._at], PORT, timeout=CONNECT_S)
        connection.connect()
        connection.sock.settimeout(self._patience_s)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self._served = connection, 0
        return connection


class Load:
    """Clients that send requests from *host* to *gateways* while it is entered.

    Each sends a request, waits for what becomes of it, and then for *pause_s*. NUMBER in the path is another one each time.

    Attributes:
        records: Of all requests that are over.
        is_wanted: Says whether a gateway, by its address, should get new connections.
    """

    def __init__(self, host: Host, gateways: Sequence[str], *, clients: int = 6, path: str = "/?ms=5", method: str = "GET",
                 repeat: bool = True, is_wanted: Callable[[str], bool] = lambda gateway: True, pause_s: float = 0.02,
                 patience_s: float = PATIENCE_S) -> None:
        self._host, self._gateways, self._path, self._method, self._repeat = host, gateways, path, method, repeat
        self.records: list[Record] = []
        self.is_wanted, self._pause_s, self._patience_s = is_wanted, pause_s, patience_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]
        self._more = threading.Condition()
        self._name = next(_names)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_TRIES * (PATIENCE_S + CONNECT_S))
        assert not any(thread.is_alive() for thread in self._threads), "a client hangs"

    def go_on(self, count: int, *, until: Callable[[Record], bool] = lambda record: True, within_s: float = 30.0) -> None:
        """Wait for so many more requests that are over, and that *until* is true of."""
        begin = len(self.records)
        with self._more:
            done = self._more.wait_for(lambda: sum(map(until, self.records[begin:])) >= count, within_s)
        assert done, f"in {within_s:g} s {count} such requests did not come: {self.fates()}"

    def fates(self) -> dict[str, int]:
        """How often each thing happened to what was sent: an attempt that was answered by its status."""
        return dict(Counter(f"{each.status}" if each.fate == "answered" else f"{each.fate}{' when idle' if each.reused else ''}"
                            for record in self.records for each in record.attempts))

    def lost(self) -> list[Record]:
        """Those that were answered by nobody, or not with 200."""
        return [record for record in self.records if not record.is_answered]

    def _run(self, number: int) -> None:
        with self._host.inside():
            gateways = [*self._gateways[number % len(self._gateways):], *self._gateways[:number % len(self._gateways)]]
            client = Client(gateways, lambda gateway: self.is_wanted(gateway), self._patience_s)
            sent = 0
            while not self._stop.wait(self._pause_s) and sent < _MOST:
                record = client.send(self._method, self._path.replace("NUMBER", f"{self._name}-{number}-{sent}"), repeat=self._repeat)
                sent += 1
                with self._more:
                    self.records.append(record)
                    self._more.notify_all()
            client.close()


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the other side has closed an idle connection, as pools find out before they use one again."""
    return bool(select.select([connection.sock], [], [], 0)[0])
