"""A request whose body is an iterator or a file of its caller's fails by what that raises: a client that leaves in the
middle of what is passed on, a closed file, a database. All of this was a failure of the server, and opened its circuit.
So did a header that could not be written, for those clients that have no class of their own for that.
"""

import contextlib
import io
import socket
import struct
import threading

import aiohttp
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError
from botocore.handlers import add_expect_header

from resilience import Ending, Registry, Verdict
from resilience.integrations.botocore import guard_client, judge
from tests.integrations.http_clients import (
    CLIENTS,
    Aiohttp,
    Httpx,
    Requests,
    Urllib3,
    _Async,
    counts_of,
    in_flight,
    serving,
)

RAISED = {"own": LookupError, "disk": OSError, "database": TimeoutError, "the other one": ConnectionResetError}


@pytest.fixture
def server():
    with serving() as server:
        yield server


def body_of(kind, error, first=b"some"):
    def parts():
        yield first
        raise error

    async def parts_later():
        for part in parts():
            yield part

    return parts_later() if issubclass(kind, _Async) else parts()


@pytest.mark.parametrize("said", RAISED)
@pytest.mark.parametrize("kind", CLIENTS)
def test_what_an_iterator_of_the_caller_raises_is_not_the_servers(kind, said, server, registry):
    client = kind(registry=registry)
    with pytest.raises(Exception) as caught:  # as it is, or in one of the client's own, which has it for its cause
        client.request("POST", f"{server.url}/200", content=body_of(kind, RAISED[said](said)))
    assert said in f"{caught.value!r} {caught.value.__cause__!r}"
    assert counts_of(client) == {"bad_request": 1}
    assert in_flight(client) == 0
    client.finish()


@pytest.mark.parametrize("kind", [Requests, Urllib3])
def test_a_file_that_is_closed_or_raises_is_not_the_servers(kind, server, registry):
    class Broken(io.BytesIO):
        def read(self, *_):
            raise OSError(5, "disk")

    client = kind(registry=registry)
    with pytest.raises(Exception, match="disk"):
        client.request("PUT", f"{server.url}/200", content=Broken(b"some"))
    assert counts_of(client) == {"bad_request": 1}
    client.finish()


@pytest.mark.parametrize("kind", [Urllib3, Requests, Aiohttp])
def test_a_header_that_cannot_be_written_is_not_the_servers(kind, server, registry):
    client = kind(registry=registry)
    value = "\u20ac" if kind is Requests else "a\nb"
    with pytest.raises(ValueError):
        client.request("GET", f"{server.url}/200", headers={"X-Own": value})
    assert counts_of(client) == {"bad_request": 1}
    client.finish()


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_server_that_leaves_while_it_is_sent_something_has_failed(kind, registry):
    listener = socket.create_server(("127.0.0.1", 0))

    def leave():
        for _ in range(2):  # urllib3 and requests read what may have been answered, aiohttp may come again
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    thread = threading.Thread(target=leave)
    thread.start()
    client = kind(registry=registry)
    parts = (b"x" * 65536 for _ in range(10_000))

    async def later():
        for part in parts:
            yield part

    with pytest.raises(client.family):
        client.request("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/",
                       content=later() if issubclass(kind, _Async) else parts)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(30)
    assert counts_of(client) == {"failure": 1}
    client.finish()


def test_what_a_request_within_the_body_of_another_one_meets_counts_for_that_one(server, registry):
    client = Httpx(registry=registry, key=lambda request: request.method)

    def passed_on():
        with client.client.stream("GET", f"{server.url}/200/cut") as response:
            yield from response.iter_bytes()

    with pytest.raises(client.family):
        client.request("POST", f"{server.url}/200", content=passed_on())
    assert registry["GET"].snapshot().counts["failure"] == 1
    assert registry["POST"].snapshot().counts["bad_request"] == 1
    client.finish()


class Unreadable(io.BytesIO):
    """A file that can be read so many times, and is then gone."""

    def __init__(self, reads):
        super().__init__(b"some")
        self.reads = reads

    def read(self, *args):
        self.reads -= 1
        if self.reads < 0:
            raise OSError(5, "disk")
        return super().read(*args)


def test_a_body_that_botocore_cannot_read_is_not_the_services(server):
    config = Config(retries={"total_max_attempts": 1}, proxies={}, s3={"addressing_style": "path"})
    session = botocore.session.get_session()  # which keeps what it has read of the service
    for reads in range(20):  # for a checksum, for the signature, to be sent
        registry = Registry()
        client = guard_client(session.create_client(
            "s3", region_name="eu-west-1", endpoint_url=server.url, config=config, aws_access_key_id="key",
            aws_secret_access_key="secret"), registry=registry)
        client.meta.events.unregister("before-call.s3", add_expect_header)  # the server does not know it, and botocore waits a second
        body = Unreadable(reads)
        with contextlib.suppress(OSError, BotoCoreError, ClientError):
            client.put_object(Bucket="200", Key="a", Body=body)
        counts = next(iter(registry)).snapshot().counts
        assert counts["bad_request"] == (body.reads < 0)
        client.close()
        registry.close()
    assert body.reads > 0


async def test_so_it_is_with_aiobotocore_which_sends_by_aiohttp(server):
    async def body():
        yield b"half"
        raise LookupError("the rest")

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError) as caught:
            await session.post(f"{server.url}/200", data=body())
    error = EndpointConnectionError(endpoint_url=server.url, error=caught.value)  # as aiobotocore raises it
    assert judge(Ending(error=error)) is Verdict.CALLER_FAULT
    lost = EndpointConnectionError(endpoint_url=server.url, error=aiohttp.ServerDisconnectedError())
    assert judge(Ending(error=lost)) is None
