"""A client could state its own identity in the trailers of a request, which the gateway strips from its headers.

Services that merge trailers into the headers, as some servers do, took ``X-Consumer`` for the gateway's word.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.harness import Gateway, Upstream, everything, running, shared_upstream

CONFIG = """
trusted_proxies = ["192.0.2.1"]
[identity]
consumer = "X-Who"
[services.up]
endpoints = ["{url}"]
[filters.certificate]
use = "client_certificate"
optional = true
header = "X-Client-Cert"
[[routes]]
path = "/*"
service = "up"
"""


upstream = shared_upstream()


@pytest.fixture(name="gateway", scope="module")
def _gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("trailers"), CONFIG.format(url=upstream.url)) as made:
        yield made


@pytest.mark.parametrize("name", [b"X-Who", b"x-who", b"X_Who", b"X-Scopes", b"X-Roles", b"X-Tenant", b"X-Client-Cert"])
def test_no_trailer_of_a_client_has_a_name_that_the_gateway_speaks_by(gateway, upstream, name):
    def script(call):
        call.got = call.rest
        while not call.got.endswith(b"\r\n\r\n"):
            call.got += call.connection.recv(65536)
        call.rest = b""
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    path = f"/trailers-{name.decode()}"
    upstream.on(path, script)
    with gateway.connect() as client:
        client.sendall(b"POST %b HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
                       b"%b: admin\r\nX-Checksum: 7\r\n\r\n" % (path.encode(), name))
        assert everything(client).startswith(b"HTTP/1.1 200 ")

    body = upstream.called(path).got.lower()
    assert b"x-checksum: 7\r\n" in body
    assert b"admin" not in body
