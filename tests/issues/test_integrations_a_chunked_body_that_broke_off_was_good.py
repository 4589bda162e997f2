"""A chunked body that broke off in the middle was a good call, if requests or the stream() of urllib3 read it.

At a chunk that is malformed or missing urllib3 closes the response while it reads it, which was taken for somebody who
wants no more of the body.
"""

import pytest

from tests.integrations.http_clients import Requests, Urllib3, counts_of, in_flight, serving


@pytest.fixture
def server():
    with serving() as server:
        yield server


def by_read(response):
    while response.read(1):
        pass


def by_read1(response):
    while response.read1():
        pass


READERS = {"content": (Requests, lambda response: response.content), "lines": (Requests, lambda response: list(response.iter_lines())),
           "data": (Urllib3, lambda response: response.data), "stream": (Urllib3, lambda response: list(response.stream(2))),
           "chunks": (Urllib3, lambda response: list(response.read_chunked(2))), "read": (Urllib3, by_read), "read1": (Urllib3, by_read1)}


@pytest.mark.parametrize("how", ["chunked-cut", "chunked-bad"])
@pytest.mark.parametrize("reader", READERS)
def test_it_is_a_failure_however_it_is_read(reader, how, server, registry):
    kind, read = READERS[reader]
    client = kind(registry=registry)
    response = client.open(f"{server.url}/200/{how}")

    with pytest.raises(client.family):
        read(response)
    client.close(response)

    assert counts_of(client) == {"failure": 1}
    assert in_flight(client) == 0
    client.finish()
