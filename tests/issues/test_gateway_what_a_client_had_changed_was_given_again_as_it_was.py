"""After a PUT, a failing service was answered for with what the resource had been before it (RFC 9111, 4.4).

So was it after a newer answer that nobody may keep.
"""

from __future__ import annotations

import asyncio
import random

import httpx
import pytest

from resilience.gateway.answers.last_answers import LastAnswers
from resilience.gateway.messages.exchange import Header, Request
from tests.issues.gateway_parts import configured, served, upstream

UP = "HTTP/1.1 {status} X\r\n{line}Content-Length: {size}\r\n\r\n"


class Resource:
    """What one service has, and how it answers."""

    def __init__(self) -> None:
        self.text, self.line, self.is_down, self.refuses = b"first", "", False, False

    async def answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        is_read = head.startswith((b"GET", b"HEAD", b"OPTIONS"))
        body = self.text if head.startswith(b"GET") and not self.is_down else b""
        status = 503 if self.is_down else 409 if self.refuses and not is_read else 200
        writer.write(UP.format(status=status, line=self.line, size=len(body)).encode() + body)


@pytest.mark.parametrize(("method", "refuses", "is_kept"), [
    ("PUT", False, False), ("POST", False, False), ("DELETE", False, False), ("PATCH", False, False), ("ODD", False, False),
    ("PUT", True, True), ("HEAD", False, True), ("OPTIONS", False, True)])
async def test_what_was_changed_is_not_given_again(method: str, refuses: bool, is_kept: bool) -> None:
    resource = Resource()
    async with upstream(resource.answer) as url:
        service = {"endpoints": [url], "fallback": {"stale": 60}, "command": {"breaker": False}}
        async with served(configured(service)) as (_, front), httpx.AsyncClient() as client:
            at = f"http://127.0.0.1:{front.port}/x"
            for language in ("gzip", "br"):
                assert b"first" == (await client.get(at, headers={"accept-encoding": language})).content
            assert b"first" == (await client.get(at + "?other")).content
            resource.refuses = refuses
            await client.request(method, at)
            resource.is_down = True
            for language in ("gzip", "br"):
                answer = await client.get(at, headers={"accept-encoding": language})
                assert (200, b"first") == (answer.status_code, answer.content) if is_kept else 503 == answer.status_code
            assert b"first" == (await client.get(at + "?other")).content


async def test_an_answer_that_must_not_be_kept_takes_the_place_of_one_that_was() -> None:
    resource = Resource()
    async with upstream(resource.answer) as url:
        service = {"endpoints": [url], "fallback": {"stale": 60}, "command": {"breaker": False}}
        async with served(configured(service)) as (_, front), httpx.AsyncClient() as client:
            at = f"http://127.0.0.1:{front.port}/x"
            for line, text in (("", b"first"), ("Cache-Control: no-store\r\n", b"x"), ("", bytes(300_000))):
                resource.line, resource.text, resource.is_down = line, text, False
                assert text == (await client.get(at)).content
                resource.is_down = True
                assert (200 if text == b"first" else 503) == (await client.get(at)).status_code


def test_nothing_is_left_of_what_was_forgotten() -> None:
    kept, rng, model = LastAnswers(10.0), random.Random(7), dict[tuple[bytes, bytes], float]()
    for now in range(2000):
        target, coding = b"/%d" % rng.randrange(4), b"%d" % rng.randrange(3)
        headers: list[Header] = [(b"accept-encoding", coding)]
        if rng.random() < 0.3:
            kept.outdate(Request(method="PUT", target=target, host=None, headers=[]), 204)
            model = {key: at for key, at in model.items() if key[0] != target}
        elif rng.random() < 0.5:
            kept.keep(Request(method="GET", target=target, host=None, headers=headers), 200, [], b"x", now)
            model[target, coding] = now
        else:
            found = kept.find(Request(method="GET", target=target, host=None, headers=headers), now)
            assert (found is not None) is (now - model.get((target, coding), -11.0) <= 10.0)
    for number in range(4):
        kept.outdate(Request(method="PUT", target=b"/%d" % number, host=None, headers=[]), 204)
    assert (0, {}, {}) == (kept._size, kept._answers, kept._of_target)
