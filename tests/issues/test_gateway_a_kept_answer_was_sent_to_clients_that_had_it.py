"""The last good answer, given for a service that fails, was sent whole to clients that asked only for another one.

A shared cache answers If-None-Match and If-Modified-Since by what it keeps (RFC 9111, 4.3.2).
"""

from __future__ import annotations

import asyncio

import pytest

from resilience.gateway.messages.validators import has_it_already

from .gateway_parts import asked, configured, served, upstream

_DATE, _EARLIER, _LATER = (b"Sun, 06 Nov 1994 08:49:%02d GMT" % second for second in (37, 36, 38))


@pytest.mark.parametrize(("line", "status"), [
    ('If-None-Match: "7"', 304), ('If-None-Match: W/"6", W/"7"', 304), ("If-None-Match: *", 304), ('If-None-Match: "8"', 200),
    ("X-A: 1", 200), ('If-Match: "8"', 200), (f"If-Modified-Since: {_DATE.decode()}", 304),
    (f'If-None-Match: "8"\r\nIf-Modified-Since: {_DATE.decode()}', 200)])
def test_a_client_that_has_the_kept_answer_is_told_so(line: str, status: int) -> None:
    is_down = False

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        assert is_down or b"if-none-match" not in head.lower()
        writer.write(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n" if is_down else
                     b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\nCache-Control: max-age=9\r\n'
                     b'ETag: W/"7"\r\nLast-Modified: ' + _DATE + b"\r\n\r\nok")

    async def main() -> None:
        nonlocal is_down
        async with upstream(answer) as url, served(configured({
                "endpoints": [url], "command": {"breaker": False}, "fallback": {"stale": 60.0}})) as (_, front):
            assert (await front.ask(asked())).startswith(b"HTTP/1.1 200")
            is_down = True
            head, _, body = (await front.ask(asked("/x", line))).partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            assert (status, b"ok" if status == 200 else b"") == (int(head.split()[1]), body)
            assert (status == 200) is (b"content-type: text/plain" in lines)
            assert {b'etag: w/"7"', b"cache-control: max-age=9"} <= set(lines)
            assert b"\r\nage: " in head.lower()

    asyncio.run(main())


@pytest.mark.parametrize(("since", "kept", "has_it"), [
    (_EARLIER, [(b"last-modified", _DATE)], False), (_DATE, [(b"last-modified", _DATE)], True),
    (_LATER, [(b"last-modified", _DATE)], True), (_DATE, [(b"date", _DATE)], True), (_EARLIER, [(b"date", _DATE)], False),
    (_DATE, [(b"last-modified", _LATER), (b"date", _DATE)], False), (b"yesterday", [(b"date", _DATE)], False), (_DATE, [], False),
    (_DATE, [(b"last-modified", b"yesterday")], False)])
def test_a_date_is_compared_with_that_of_the_last_change_or_of_the_answer(since: bytes, kept: list[tuple[bytes, bytes]], has_it: bool) -> None:
    assert has_it is has_it_already([(b"if-modified-since", since)], kept)


@pytest.mark.parametrize(("asked_for", "tag", "has_it"), [
    ([b'"a"'], b'"a"', True), ([b'"b"', b'W/"a"'], b'"a"', True), ([b'"a,b"'], b'"a,b"', True), ([b'"a,b"'], b'"a"', False),
    ([b"a"], b"a", False), ([b""], b'"a"', False), ([b'"A"'], b'"a"', False), ([b"*"], b"odd", True)])
def test_tags_are_compared_weakly(asked_for: list[bytes], tag: bytes, has_it: bool) -> None:
    assert has_it is has_it_already([(b"if-none-match", each) for each in asked_for], [(b"etag", tag)])
