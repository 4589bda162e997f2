"""Content-Length of answers: int() took what is none, and an answer that was too short passed for a complete one.

Over HTTP/2 nobody looked at the length in an answer to HEAD, which reached the client as ``-5``; and one that ended with
its head, or with trailers, was given as a complete answer without a body, whatever it had announced.
"""

from __future__ import annotations

from typing import Any

import pytest

from resilience.gateway.front.answer import AnswerHead, InvalidAnswerError
from resilience.gateway.front.http2_fields import answer_fields
from resilience.gateway.http2.fields import MalformedError
from resilience.gateway.upstream.http2_messages import answer_of
from tests.gateway.http2.peer import Connection, a_client, a_request, asked, begun, peer, whole
from tests.issues.gateway_parts import asked as bytes_of
from tests.issues.gateway_parts import configured, served

NONE = [b"-5", b"+5", b"1_0", b"5 5", b"5, 5", b"0x5", b"", b"five", b"\xd9\xa1", b"\xb2", b"9" * 19, b"9" * 5000]
LENGTH = b"content-length"


@pytest.mark.parametrize("value", NONE)
def test_what_is_no_length_is_taken_from_no_upstream_and_sent_to_no_client(value: bytes) -> None:
    with pytest.raises(MalformedError):
        answer_of([(b":status", b"200"), (LENGTH, value)])
    with pytest.raises(InvalidAnswerError):
        AnswerHead(200, [(LENGTH, value)], b"")
    with pytest.raises(InvalidAnswerError):
        answer_fields(200, [(LENGTH, value)], b"date")


def test_two_lengths_must_be_the_same() -> None:
    assert 200 == answer_of([(b":status", b"200"), (LENGTH, b"5"), (LENGTH, b"5")])[0]
    with pytest.raises(MalformedError):
        answer_of([(b":status", b"200"), (LENGTH, b"5"), (LENGTH, b"6")])


@pytest.mark.parametrize("lengths", [[b"-5"], [b"+5"], [b"1_0"], [b"5", b"6"]])
async def test_an_answer_to_head_with_such_a_length_is_502_and_its_connection_goes_on(lengths: list[bytes]) -> None:
    def answer(connection: Connection, number: int) -> None:
        is_head = connection.headers(number)[b":method"] == b"HEAD"
        connection.head(number, headers=[(LENGTH, each) for each in lengths] if is_head else [], end=True)

    async with peer(answer) as there, served(configured({"endpoints": [there.url], "http2": True})) as (_, front):
        assert (await front.ask(bytes_of(method="HEAD"))).startswith(b"HTTP/1.1 502 ")
        assert (await front.ask(bytes_of())).startswith(b"HTTP/1.1 200 ")
        assert 1 == len(there.connections)


def with_its_head(connection: Connection, number: int) -> None:
    connection.head(number, headers=[(LENGTH, b"5")], end=True)


def with_trailers(connection: Connection, number: int) -> None:
    connection.head(number, headers=[(LENGTH, b"5")])
    connection.data(number, b"abc")
    connection.h2.send_headers(number, [(b"x-sum", b"1")], end_stream=True)
    connection.flush()


@pytest.mark.parametrize("answer", [with_its_head, with_trailers])
async def test_an_answer_that_is_shorter_than_it_said_fails_and_its_connection_goes_on(answer: Any) -> None:
    async with peer(answer) as there, a_client() as client:
        for request in (a_request(), a_request("POST", None)):
            exchange = await begun(client, there, request)
            with pytest.raises(Exception, match="shorter than its content-length"):
                await whole(exchange)
        there.connections[0].on_request = lambda connection, number: connection.answer(number)
        assert (200, b"ok") == await asked(client, there)
        assert 1 == len(there.connections)


async def test_a_client_is_not_given_it_for_a_complete_one() -> None:
    async with peer(with_its_head) as there, served(configured({"endpoints": [there.url], "http2": True})) as (gateway, front):
        assert (await front.ask(bytes_of())).startswith(b"HTTP/1.1 502 ")
        assert (await front.ask(bytes_of(method="HEAD"))).startswith(b"HTTP/1.1 200 ")
        assert 1 == sum(command.snapshot().counts.get("failure", 0) for command in gateway.registry)
