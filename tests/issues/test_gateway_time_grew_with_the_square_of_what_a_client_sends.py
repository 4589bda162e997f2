"""What a client sends took time that grew with the square of its length, in which no other request was served.

A query of two kilobytes of percent signs cost the access log 18 ms, and one that has a key's parameter thousands of times
cost ``api_keys`` a second. Each size here is eight times the other, so that the square is 64 times the time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import pytest

from resilience.gateway.filters.api_keys import ApiKey, ApiKeys, _Checking
from resilience.gateway.filters.context import FilterContext, FilterRequest
from resilience.gateway.logs.redaction import SECRET_PARAMETERS, QueryRedactor, redacted_urls
from resilience.gateway.messages.exchange import Request
from resilience.gateway.messages.inbound import RequestHead
from resilience.gateway.messages.request_body import Intake
from resilience.gateway.routing.paths import PathError, canonical

_MOST = 24  # times the time for eight times the size


def seconds(call: Callable[[], object]) -> float:
    """Of the thread's own time; the least of several."""
    found = []
    for _ in range(5):
        began = time.thread_time()
        call()
        found.append(time.thread_time() - began)
    return min(found)


def grows_linearly(work: Callable[[int], Callable[[], object]], size: int) -> bool:
    """Whether eight times as much takes about eight times as long; what takes no time at all does not count."""
    return seconds(work(8 * size)) < _MOST * max(seconds(work(size)), 2e-5)


@pytest.mark.parametrize("unit", [b"%", b"a%", b"%61", b"+", b" ", b"token", b"token+", b"+token", b"[", b"%[", b"&%", b";", b"#", b"?", b"://", b"://a", b"://@"])
def test_the_access_log_takes_time_in_proportion_to_a_query(unit: bytes) -> None:
    redacted = QueryRedactor((*SECRET_PARAMETERS, "two words"))
    for end in (b"", b"=", b"&"):
        assert grows_linearly(lambda size: lambda: redacted(unit * size + end), 1000)  # noqa: B023
        assert grows_linearly(lambda size: lambda: redacted_urls(b"/?" + unit * size + end, redacted), 1000)  # noqa: B023


@pytest.mark.parametrize("unit", ["key=x{}&", "k%65y={}&", "a={}&", "key&"])
@pytest.mark.parametrize("forwards", [True, False])
def test_a_key_in_a_query_takes_time_in_proportion_to_it(unit: str, forwards: bool) -> None:
    keys = ApiKey(id="k", sha256=hashlib.sha256(b"k.x").hexdigest(), consumer="c")
    check = _Checking(ApiKeys(keys=(keys,), query="key", forward_key=forwards))

    def work(size: int) -> Callable[[], object]:
        query = "".join(unit.format(number) for number in range(size)).encode()
        head = RequestHead("GET", b"/", query, "1.1", "http", [], None, None)

        def call() -> None:
            request = Request(method="GET", target=b"/", host=None, headers=[])
            context = FilterContext(FilterRequest(head, request, b"/", b"gw", {}), "r", "s", None, None)
            check(context)
            assert context.refusal is not None

        return call

    assert grows_linearly(work, 500)


@pytest.mark.parametrize("unit", [b"/a", b"/;", b";", b"%3B", b"/.a", b"//", b"/a.", b"%2E."])
def test_a_path_takes_time_in_proportion_to_its_length(unit: bytes) -> None:
    def work(size: int) -> Callable[[], object]:
        def call() -> None:
            try:
                canonical(b"/x" + unit * size + b"\\" * (size % 2)).readings()
            except PathError:
                pass

        return call

    assert grows_linearly(work, 1000)


async def test_a_body_in_small_pieces_is_put_together_once() -> None:
    """Pieces were added to the body one by one, and each time what had come was copied; a piece here cannot be added."""

    class Piece(bytes):
        def __radd__(self, other: bytes) -> bytes:
            raise AssertionError("what has come is copied for each piece")

    async def receive() -> tuple[bytes, bool]:
        left.pop()
        return Piece(b"x"), bool(left)

    left = [0] * 100
    assert b"x" * 100 == await Intake(receive, None, None, None, None).whole(100)
