"""Commands around upstream calls: open circuits, full bulkheads, sick neighbours, balancing, the statistics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import OK, Call, Gateway, Upstream, eventually, everything, parsed, problem, running

pytestmark = pytest.mark.process

CONFIG = """
[services.sick]
endpoints = ["{url}"]
command = {{ timeout = 0.1, max_concurrent = 3, breaker = {{ min_calls = 4, open_for = 60.0 }} }}
[services.well]
endpoints = ["{url}", "{other}"]
[[routes]]
path = "/sick/*"
service = "sick"
[[routes]]
path = "/well/*"
methods = ["GET", "POST"]
service = "well"
"""


@pytest.fixture
def other() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.close()


@pytest.fixture
def guarded(tmp_path: Path, upstream: Upstream, other: Upstream) -> Iterator[Gateway]:
    with running(tmp_path, CONFIG.format(url=upstream.url, other=other.url)) as made:
        yield made


def test_a_failing_service_opens_its_circuit_and_leaves_the_others_alone(guarded: Gateway, upstream: Upstream) -> None:
    upstream.on("/sick/x", lambda call: call.until_closed())
    assert [504] * 4 == [guarded.get("/sick/x")[0] for _ in range(4)]
    before = upstream.count("/sick/x")
    status, headers, body = guarded.get("/sick/x")
    assert "sick is failing and is given time to recover" == problem((status, headers, body))["detail"]
    assert (503, True) == (status, 1 <= int(headers["retry-after"]) <= 60)
    assert before == upstream.count("/sick/x")
    assert 200 == guarded.get("/well/x")[0]
    assert (4, 1) == (guarded.metric("timeout", "sick"), guarded.metric("short_circuited", "sick"))


def test_upstream_errors_open_the_circuit_too(guarded: Gateway, upstream: Upstream) -> None:
    upstream.on("/sick/500", lambda call: call.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"))
    assert [500] * 4 == [guarded.get("/sick/500")[0] for _ in range(4)]
    assert 503 == guarded.get("/sick/500")[0]


def test_a_full_bulkhead_refuses_until_a_body_has_ended(guarded: Gateway, upstream: Upstream) -> None:
    """The permit is held until the answer's body is through, not just its head."""
    finish = threading.Event()

    def long(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        finish.wait(60)
        call.send(b"b")

    upstream.on("/sick/long", long)
    clients = [guarded.connect() for _ in range(3)]
    for client in clients:
        client.sendall(b"GET /sick/long HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        everything(client, b"\r\n\r\n")
    status, headers, body = guarded.get("/sick/quick")
    assert (503, "1") == (status, headers["retry-after"])
    assert "sick has too many requests under way" == problem((status, headers, body))["detail"]
    finish.set()
    for client in clients:
        everything(client)
        client.close()
    assert eventually(lambda: guarded.in_flight("sick") == 0)
    assert 200 == guarded.get("/sick/quick")[0]


def test_endpoints_take_turns(guarded: Gateway, upstream: Upstream, other: Upstream) -> None:
    before = upstream.count("/well/turn")
    for _ in range(10):
        assert 200 == guarded.get("/well/turn")[0]
    assert (5, 5) == (upstream.count("/well/turn") - before, other.count("/well/turn"))


def test_paths_and_methods_without_a_route_are_404_and_405(guarded: Gateway) -> None:
    assert 404 == problem(guarded.get("/nowhere"))["status"]
    reply = guarded.get("/well/x", method="DELETE")
    assert (405, "GET, HEAD, POST") == (problem(reply)["status"], reply[1]["allow"])
    assert 200 == guarded.get("/well/x", method="HEAD")[0]


def test_a_refusal_keeps_the_connection_and_what_follows_is_answered(guarded: Gateway) -> None:
    reply = guarded.raw(b"GET /nowhere HTTP/1.1\r\nHost: gw\r\n\r\nGET /well/x HTTP/1.1\r\nHost: gw\r\n"
                        b"Connection: close\r\n\r\n")
    assert (1, 1) == (reply.count(b" 404 Not Found"), reply.count(b" 200 OK"))


def test_every_request_is_in_the_statistics(guarded: Gateway) -> None:
    for _ in range(7):
        guarded.get("/well/x")
    assert 7 == guarded.metric("success", "well")
    assert '"name":"well"' in guarded.admin_get("/health") or "well" in guarded.admin_get("/metrics")


def test_concurrent_clients_get_their_own_answers(guarded: Gateway, upstream: Upstream, other: Upstream) -> None:
    def echo(call: Call) -> None:
        query = call.target.partition("?")[2].encode()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(query), query))

    for each in (upstream, other):
        each.on("/well/echo", echo)
    wrong: list[object] = []

    def client(number: int) -> None:
        with guarded.connect() as connection:
            for i in range(25):
                query = f"{number}-{i}".encode()
                connection.sendall(b"GET /well/echo?%b HTTP/1.1\r\nHost: gw\r\n\r\n" % query)
                body = parsed(everything(connection, query))[2]
                if body != query:
                    wrong.append((query, body))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [] == wrong
    assert OK
