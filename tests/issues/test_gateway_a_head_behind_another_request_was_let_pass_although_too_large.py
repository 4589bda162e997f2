"""Of a head that began in one read with the end of another request, only what came later was counted.

So one that was larger than ``max_header_bytes`` was served, if it came in two reads: by as much as the first brought.
And if the first brought the end of a body, that counted for the head behind it, which was refused.
"""

from __future__ import annotations

import pytest

from tests.gateway.front.test_parser import GET, POST, Requests

BEFORE = GET + b"\r\n"
LARGE = GET + b"X: " + b"a" * 600 + b"\r\nY: " + b"b" * 600 + b"\r\n\r\n"


@pytest.mark.parametrize("cut", range(1, len(LARGE), 50))
def test_a_head_that_is_too_large_is_refused_wherever_it_is_cut(cut: int) -> None:
    requests = Requests(max_header_bytes=1_000).feed([BEFORE + LARGE[:cut], LARGE[cut:]])
    assert (1, 431) == (len(requests.found), requests.status)


@pytest.mark.parametrize("cut", range(1, len(LARGE), 50))
def test_one_that_is_as_large_as_it_may_be_passes(cut: int) -> None:
    requests = Requests(max_header_bytes=len(LARGE)).feed([BEFORE * 20 + LARGE[:cut], LARGE[cut:] + BEFORE * 20])
    assert (41, 0) == (len(requests.found), requests.status)


def test_the_end_of_a_body_does_not_count_for_the_head_behind_it() -> None:
    post = POST + b"Content-Length: 5000\r\n\r\n"
    requests = Requests(max_header_bytes=1_000).feed([post, b"x" * 5_000 + GET[:10], GET[10:] + b"\r\n"])
    assert (2, 0) == (len(requests.found), requests.status)
