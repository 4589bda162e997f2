"""Kept connections to upstreams: one that the upstream closes under a request is replaced, once, if that can do no harm.

Each test makes sure that the request really met the dying connection: its first bytes were read there, and never answered.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from ..harness import DEADLINE_S, OK, Call, Gateway, Upstream, eventually, parsed, problem, running

pytestmark = pytest.mark.process

CONFIG = """
[services.up]
endpoints = ["{url}"]
command = {{ timeout = 5.0, breaker = false }}
[[routes]]
path = "/*"
service = "up"
"""


@pytest.fixture(scope="module")
def lone() -> Iterator[Upstream]:
    """An upstream of this module's own, so that what is kept is known."""
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, lone: Upstream) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("kept"), CONFIG.format(url=lone.url)) as made:
        yield made


class Dying:
    """A script that answers, keeps the connection, and ends it when the next request begins to arrive on it."""

    def __init__(self, *, reset: bool, says: bytes = b"") -> None:
        self._reset, self._says = reset, says
        self.met = b""
        self.dead = threading.Event()

    def __call__(self, call: Call) -> None:
        call.send(OK)
        with contextlib.suppress(OSError):
            self.met = call.connection.recv(1 if self._reset else 65536)
            if self._says:
                call.send(self._says)
        call.reset() if self._reset else call.connection.close()
        self.dead.set()


def request(method: str, path: str) -> bytes:
    body = b"abc" if method in ("PUT", "POST", "PATCH") else b""
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b %b HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n%b\r\n%b" % (method.encode(), path.encode(), length, body)


def onto_a_dying_connection(proxy: Gateway, lone: Upstream, name: str, data: bytes, dying: Dying) -> bytes:
    """What is answered to *data*, sent while the one connection that is kept is about to die under it."""
    lone.on(f"/warm{name}", dying)
    assert 200 == proxy.get(f"/warm{name}")[0]
    reply = proxy.raw(data)
    assert dying.dead.wait(DEADLINE_S)
    assert dying.met, "the request did not go to the kept connection"
    return reply


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_request_that_may_be_repeated_is_sent_once_more_and_whole(
        proxy: Gateway, lone: Upstream, method: str, reset: bool) -> None:
    path, bodies = f"/stale-{method}-{reset}", []

    def script(call: Call) -> None:
        bodies.append(call.body() if call.header(b"content-length") else b"")
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    lone.on(path, script)
    failures = proxy.metric("failure")
    reply = onto_a_dying_connection(proxy, lone, path, request(method, path), Dying(reset=reset))
    assert 200 == parsed(reply)[0]
    assert [b"abc" if method == "PUT" else b""] == bodies
    assert failures == proxy.metric("failure")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_request_that_may_have_had_its_effect_is_never_repeated(
        proxy: Gateway, lone: Upstream, method: str, reset: bool) -> None:
    path = f"/once-{method}-{reset}"
    reply = onto_a_dying_connection(proxy, lone, path, request(method, path), Dying(reset=reset))
    assert 502 == problem(parsed(reply))["status"]
    assert 200 == proxy.get("/fence")[0]
    assert 0 == lone.count(path)


def test_a_request_whose_body_was_not_kept_is_not_repeated(proxy: Gateway, lone: Upstream) -> None:
    data = b"PUT /streamed HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    reply = onto_a_dying_connection(proxy, lone, "/streamed", data, Dying(reset=False))
    assert 502 == problem(parsed(reply))["status"]
    assert 0 == lone.count("/streamed")


def test_a_request_that_was_answered_in_part_is_not_repeated(proxy: Gateway, lone: Upstream) -> None:
    dying = Dying(reset=False, says=b"HTTP/1.1 200")
    reply = onto_a_dying_connection(proxy, lone, "/partly", request("GET", "/partly"), dying)
    assert 502 == problem(parsed(reply))["status"]
    assert 0 == lone.count("/partly")


def test_a_request_is_repeated_once_only(proxy: Gateway, lone: Upstream) -> None:
    lone.on("/never", b"")
    reply = onto_a_dying_connection(proxy, lone, "/never", request("GET", "/never"), Dying(reset=False))
    assert 502 == problem(parsed(reply))["status"]
    assert 200 == proxy.get("/fence")[0]
    assert 1 == lone.count("/never")


def test_a_connection_that_was_closed_while_nobody_used_it_is_not_used_again(proxy: Gateway, lone: Upstream) -> None:
    closed: list[Call] = []

    def script(call: Call) -> None:
        call.send(OK)
        call.connection.close()
        closed.append(call)

    lone.on("/closing", script)
    for number in range(1, 6):
        assert 200 == proxy.get("/closing")[0]
        eventually(lambda: len(closed) == number, "the connection closed")  # noqa: B023
        reply = proxy.raw(request("POST", f"/after-closing-{number}"))
        # Either the gateway knew, or it had not heard yet: then a POST must not be repeated.
        assert parsed(reply)[0] in (200, 502)
        assert lone.count(f"/after-closing-{number}") == (parsed(reply)[0] == 200)
