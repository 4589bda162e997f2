"""The last good answer to one consumer, whose key a filter had taken off the request, was given to another one."""

from __future__ import annotations

import asyncio
import hashlib

from resilience.gateway.answers.last_answers import MOST_BYTES, LastAnswers
from resilience.gateway.messages.exchange import Request

from .gateway_parts import asked, configured, served, upstream

_KEYS = [{"id": each, "sha256": hashlib.sha256(f"{each}.secret".encode()).hexdigest(), "consumer": each}
         for each in ("alice", "bob")]


def test_a_kept_answer_is_given_again_to_the_same_consumer_and_the_same_cookies_alone() -> None:
    async def main() -> None:
        heads = list[bytes]()

        async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
            heads.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nalice" if len(heads) == 1 else
                         b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")

        async with upstream(script) as url:
            config = configured({"endpoints": [url], "fallback": {"stale": 100.0}},
                                gateway={"filters": ["keys"]}, filters={"keys": {"use": "api_keys", "keys": _KEYS}})
            async with served(config) as (_, front):
                async def status(who: str, cookie: str) -> bytes:
                    return (await front.ask(asked("/x", f"X-API-Key: {who}.secret", f"Cookie: {cookie}")))[9:12]

                assert [b"200", b"503", b"503", b"200"] == [
                    await status(*each) for each in (("alice", "a=1"), ("bob", "a=1"), ("alice", "a=2"), ("alice", "a=1"))]
        assert b"secret" not in b"".join(heads)

    asyncio.run(main())


def test_what_answers_are_found_by_counts_for_their_bound() -> None:
    answers = LastAnswers(100.0)
    requests = [Request(method="GET", target=b"/%d?" % number + b"q" * 60_000, host=None, headers=[(b"cookie", b"c" * 60_000)])
                for number in range(300)]
    for request in requests:
        answers.keep(request, 200, [], b"", 0.0)
    kept = sum(answers.find(request, 0.0) is not None for request in requests)
    assert 0 < kept * 120_000 <= MOST_BYTES
