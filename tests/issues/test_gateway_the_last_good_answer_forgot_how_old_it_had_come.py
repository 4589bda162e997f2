"""A kept answer that came with ``Age: 500`` was given two seconds later with ``Age: 2`` (RFC 9111, 4.2.3).

And with ``stale = 60``, which is how old it may be, it was given for a minute longer, since that counted from when it came.
"""

from __future__ import annotations

import asyncio

import pytest

from resilience.gateway.answers.fallbacks import Fallbacks
from resilience.gateway.answers.last_answers import LastAnswers
from resilience.gateway.config.fallbacks import FallbackConfig
from resilience.gateway.messages.exchange import Header, Request
from tests.issues.gateway_parts import asked, configured, served, upstream

REQUEST = Request(method="GET", target=b"/x", host=None, headers=[])


def kept(*headers: Header, stale: float = 1e6) -> Fallbacks:
    """Fallbacks that have kept an answer with these *headers*, which came at 100.0 s."""
    found = Fallbacks(FallbackConfig(stale=stale))
    assert found.answers is not None
    found.answers.keep(REQUEST, 200, list(headers), b"ok", 100.0)
    return found


def ages(fallbacks: Fallbacks, now: float) -> list[bytes]:
    found = fallbacks.kept(REQUEST, now)
    return [] if found is None else [value for name, value in found[1] if name == b"age"]


DATE = 1_700_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(("headers", "age"), [
    ([(b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")], 302), ([(b"date", b"Tuesday, 14-Nov-23 22:13:20 GMT")], 302),
    ([(b"date", b"Tue Nov 14 22:13:20 2023")], 302), ([(b"date", b"Tue, 14 Nov 2023 22:13:20 GMT"), (b"age", b"500")], 502),
    ([(b"date", b"Tue, 14 Nov 2023 22:18:25 GMT")], 2), ([(b"date", b"soon")], 2), ([(b"date", b"\xff")], 2), ([], 2)])
def test_without_an_age_it_is_as_old_as_its_date(headers: list[Header], age: int) -> None:
    answers = LastAnswers(3600.0, lambda: DATE + 300.0)
    answers.keep(REQUEST, 200, headers, b"ok", 100.0)
    found = Fallbacks(FallbackConfig(stale=3600.0))
    found.answers = answers
    assert [b"%d" % age] == ages(found, 102.0)
    kept = found.kept(REQUEST, 102.0)
    assert kept is not None
    dates = [value for name, value in kept[1] if name == b"date"]
    assert dates == ([value for name, value in headers if name == b"date"] or [b"Tue, 14 Nov 2023 22:18:20 GMT"])


def test_a_bound_of_its_own_counts_from_its_date() -> None:
    for lasts, is_kept in ((b"310", True), (b"300", False)):
        answers = LastAnswers(3600.0, lambda: DATE + 300.0)
        answers.keep(REQUEST, 200, [(b"date", b"Tue, 14 Nov 2023 22:13:20 GMT"), control(b"s-maxage=" + lasts)], b"ok", 0.0)
        assert is_kept is (answers.find(REQUEST, 5.0) is not None)


def control(value: bytes) -> Header:
    return b"cache-control", value


@pytest.mark.parametrize(("said", "age"), [
    ([], b"2"), ([b"500"], b"502"), ([b"500", b"20"], b"502"), ([b"x"], b"2"), ([b"-5"], b"2"), ([b"\xd9\xa1"], b"2"),
    ([b"9" * 5000], b"")])
def test_what_it_came_with_counts(said: list[bytes], age: bytes) -> None:
    assert ([age] if age else []) == ages(kept(*((b"age", each) for each in said)), 102.9)


def test_one_that_is_older_than_it_may_be_is_not_given_whatever_it_goes_by() -> None:
    for headers in ([(b"age", b"61")], [(b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")]):
        assert [] == ages(kept(*headers, stale=60.0), 100.0)


@pytest.mark.parametrize(("headers", "allowed_s"), [
    ([control(b"max-age=600, stale-if-error=10"), (b"age", b"500")], 10),
    ([control(b"max-age=600, stale-if-error=10"), (b"age", b"604")], 6),
    ([control(b"stale-if-error=10"), control(b"max-age=600"), (b"age", b"604")], 6),
    ([control(b"stale-if-error=10"), (b"age", b"4")], 6),
    ([control(b"max-age=600, s-maxage=20")], 20),
    ([control(b"max-age=600, S-MaxAge=\"20\""), (b"age", b"15")], 5),
    ([control(b"s-maxage=20, stale-if-error=50")], 20),
    ([control(b"max-age=600"), (b"age", b"500")], 500), ([], 1000), ([(b"age", b"999")], 1), ([(b"age", b"1000")], 0),
    ([(b"age", b"990"), control(b"stale-if-error=995")], 5)])
def test_its_own_bounds_begin_when_it_left_its_origin(headers: list[Header], allowed_s: int) -> None:
    found = kept(*headers, stale=1000.0)
    assert ages(found, 100.0 + allowed_s)
    assert [] == ages(found, 100.1 + allowed_s)


@pytest.mark.parametrize("headers", [
    [control(b"max-age=600, stale-if-error=10"), (b"age", b"610")], [control(b"s-maxage=0")], [control(b"s-maxage")],
    [control(b"s-maxage=20"), (b"age", b"20")], [control(b"stale-if-error=0")]])
def test_one_whose_time_was_over_when_it_came_is_not_kept(headers: list[Header]) -> None:
    assert [] == ages(kept(*headers), 100.0)


async def test_the_age_of_the_upstream_reaches_the_client() -> None:
    count = 0

    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.write(b"HTTP/1.1 200 OK\r\nAge: 500\r\nContent-Length: 2\r\n\r\nok" if count == 1 else
                     b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")

    async with upstream(script) as url:
        async with served(configured({"endpoints": [url], "fallback": {"stale": 1000.0}})) as (_, front):
            first, second = await front.ask(asked()), await front.ask(asked())
    assert b"\r\nage: 500\r\n" in first
    assert b"\r\nage: 50" in second
    assert b"\r\n\r\nok" in second
