"""OPTIONS and TRACE with ``Max-Forwards: 0`` went on to the service, and the others were not counted down (RFC 9110)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.gateway.messages.max_forwards import counted_down
from resilience.gateway.messages.problem import Problem
from tests.gateway.front.test_http2 import HEAD, raw
from tests.gateway.route_oracle import request
from tests.gateway.test_admission import INTERNAL, admission, admitted, outcome, route
from tests.issues.gateway_parts import OK, asked, configured, served, upstream

BOUNDED = ("OPTIONS", "TRACE")


def sent_on(method: str, *values: bytes) -> list[bytes]:
    """What Max-Forwards is sent on with."""
    headers = [("max-forwards", value.decode("latin-1")) for value in values]
    found = admitted(INTERNAL, "/x", method=method, headers=headers)
    return [value for name, value in found.request.headers if name == b"max-forwards"]


@pytest.mark.parametrize("method", BOUNDED)
def test_it_is_counted_down(method: str) -> None:
    assert [sent_on(method, value) for value in (b"1", b"5", b"007", b"1000000")] == [[b"0"], [b"4"], [b"6"], [b"999999"]]
    assert [] == sent_on(method)
    for huge in (b"1000002", b"9" * 18, b"9" * 10_000):
        assert [b"1000000"] == sent_on(method, huge)


@pytest.mark.parametrize("method", BOUNDED)
@pytest.mark.parametrize("value", [b"-1", b"+1", b"1_0", b"1 ", b"0x1", b"\xd9\xa1", b"", b"1, 2"])
def test_one_that_is_no_number_or_two_are_rejected(method: str, value: bytes) -> None:
    for values in ([value], [b"1", b"1"]):
        with pytest.raises(Problem) as refused:
            sent_on(method, *values)
        assert 400 == refused.value.status


def test_other_methods_pass_it_on_as_it_is() -> None:
    assert [sent_on(method, b"0") for method in ("GET", "POST", "PURGE")] == [[b"0"]] * 3


def test_at_0_only_what_has_a_route_is_answered() -> None:
    made, headers = admission(route("/a", "a", methods=("GET", "OPTIONS"))), [("max-forwards", "00")]
    assert [200, 405, 404] == [outcome(made, request(method, "gw", path, headers=headers))
                               for method, path in (("OPTIONS", "/a"), ("TRACE", "/a"), ("OPTIONS", "/b"))]


def test_the_headers_that_were_given_are_left_alone() -> None:
    headers = [(b"a", b"b"), (b"max-forwards", b"2")]
    assert [(b"a", b"b"), (b"max-forwards", b"1")] == counted_down("TRACE", headers)
    assert [(b"a", b"b"), (b"max-forwards", b"2")] == headers


async def test_at_0_the_gateway_answers_and_the_service_hears_nothing() -> None:
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(OK)

    async with upstream(answer) as url, served(configured({"endpoints": [url]})) as (_, front):
        ask: Any = lambda method, value: front.ask(asked("/x", f"Max-Forwards: {value}", method=method))  # noqa: E731
        options, trace = await ask("OPTIONS", 0), await ask("TRACE", 0)
        assert options.startswith(b"HTTP/1.1 200 OK\r\n")
        assert options.endswith(b"\r\n\r\n")
        assert b"content-length: 0\r\n" in options
        assert trace.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
        assert b"allow: OPTIONS\r\n" in trace
        client = await raw(front)
        head = [(b":method", b"OPTIONS"), *HEAD[1:], (b"max-forwards", b"0")]
        assert (200, b"") == await client.answer(client.ask(head))
        assert [] == heads
        for method in BOUNDED:
            assert (await ask(method, 3)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert [True, True] == [b"\r\nmax-forwards: 2\r\n" in head for head in heads]
