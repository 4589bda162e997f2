"""With ``max_requests_per_connection``, HTTP/2 clients that send several requests at once were refused those behind the last one.

GOAWAY was sent with the last request's number, and whatever had been sent before it arrived was reset (REFUSED_STREAM).
grpcio sends such a call again only once, so one in ten failed.
"""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.gateway.front.serving import serving
from tests.gateway.front.test_http2 import heads, raw

ANY = 2**31 - 1


def frames(data: bytes) -> list[Frame]:
    """The frames of which *data* consists."""
    found: list[Frame] = []
    while data:
        frame, size = Frame.parse_frame_header(memoryview(data)[:9])
        frame.parse_body(memoryview(data)[9:9 + size])
        found.append(frame)
        data = data[9 + size:]
    return found


@pytest.mark.parametrize(("asked", "served"), [(3, 3), (5, 5), (6, 6), (9, 6)])
async def test_what_comes_behind_the_last_request_is_served_if_it_is_not_as_many_again(asked: int, served: int) -> None:
    async with serving(heads, max_requests_per_connection=3) as front:
        client = await raw(front)
        numbers = [client.ask() for _ in range(asked)]
        came = frames(await client.client.all())  # until the front ends the connection
    assert numbers[:served] == sorted(each.stream_id for each in came if isinstance(each, HeadersFrame))
    assert [(number, ErrorCodes.REFUSED_STREAM) for number in numbers[served:]] == [
        (each.stream_id, each.error_code) for each in came if isinstance(each, RstStreamFrame)]
    first, last = (each for each in came if isinstance(each, GoAwayFrame))
    assert (ANY, ErrorCodes.NO_ERROR, ErrorCodes.NO_ERROR) == (first.last_stream_id, first.error_code, last.error_code)
    assert numbers[served - 1] <= last.last_stream_id <= numbers[-1]
