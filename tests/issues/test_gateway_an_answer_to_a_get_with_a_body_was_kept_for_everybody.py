"""The answer to a GET request with a body was kept by ``fallback.stale`` for all GET requests of that target.

HTTP gives such a body no meaning, and many frameworks read parameters from it all the same. So a client could choose what
others get once the service fails.
"""

from __future__ import annotations

import asyncio

from resilience.gateway.answers.last_answers import LastAnswers
from resilience.gateway.messages.exchange import Request
from tests.issues.gateway_parts import asked, configured, served, upstream


async def test_it_is_given_to_nobody_and_nobody_with_a_body_gets_another_one() -> None:
    answers = [b"200 OK\r\nContent-Length: 3\r\n\r\nbad", b"503 Down\r\nContent-Length: 4\r\n\r\ndown",
               b"200 OK\r\nContent-Length: 4\r\n\r\ngood", *2 * [b"503 Down\r\nContent-Length: 4\r\n\r\ndown"]]

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %b" % answers.pop(0))

    head = asked("/x", "Accept: */*")
    fat = head.removesuffix(b"\r\n") + b"Content-Length: 3\r\n\r\nx=1"
    async with upstream(answer) as url:
        async with served(configured({"endpoints": [url], "fallback": {"stale": 60.0}, "retry": False})) as (_, front):
            said = [(await front.ask(each)).rpartition(b"\r\n\r\n")[2] for each in (fat, head, head, fat, head)]
    assert [b"bad", b"down", b"good", b"down", b"good"] == said


def test_a_body_of_unknown_length_is_one() -> None:
    assert [False, False, True] == [LastAnswers.could_keep(Request(
        method="GET", target=b"/x", host=None, headers=[], length=length)) for length in (None, 3, 0)]
