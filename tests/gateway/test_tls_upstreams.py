"""https upstreams, over a real TLS on loopback: verified, name and chain, or not spoken to.

localhost.pem and elsewhere.pem are throw-away self-signed certificates with their keys, and so their own authorities:
for localhost and 127.0.0.1, and for elsewhere.example.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resilience import Registry
from resilience.gateway import Gateway as App
from resilience.gateway.config import EndpointConfig, GatewayConfig, RouteConfig, ServiceConfig

from .harness import DEADLINE_S, Call, Gateway, Upstream, eventually, everything, problem, running, stop_listening
from .test_reload import status

pytestmark = pytest.mark.process

LOCALHOST = Path(__file__).parents[1] / "dashboard" / "localhost.pem"
ELSEWHERE = Path(__file__).with_name("elsewhere.pem")

CONFIG = """
[services.{name}]
endpoints = ["{url}"]
connect_timeout = {connect}
command = {{ timeout = {timeout}, max_concurrent = 4, breaker = false }}
{ca}
[[routes]]
path = "/{name}/*"
service = "{name}"
"""


def service(name: str, url: str, *, ca: Path | None = None, timeout: float = 5.0, connect: float = 5.0) -> str:
    return CONFIG.format(name=name, url=url, timeout=timeout, connect=connect, ca=f'ca_file = "{ca}"' if ca else "")


def serving(pem: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class Deaf:
    """Accepts connections and says nothing, or always the same, whatever it hears; knows how many were ended."""

    def __init__(self, says: bytes = b"") -> None:
        self._says = says
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard, self.ended = 0, 0
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._listen, args=(self._listener.accept()[0],), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        connection.settimeout(DEADLINE_S)
        with connection, contextlib.suppress(ConnectionError):
            while connection.recv(65536):
                self.heard += 1
                connection.sendall(self._says)
        self.ended += 1

    def close(self) -> None:
        stop_listening(self._listener, self._accepting)


@pytest.fixture(scope="module")
def tls() -> Iterator[Upstream]:
    made = Upstream(serving(LOCALHOST))
    yield made
    made.close()


@pytest.fixture(scope="module")
def impostor() -> Iterator[Upstream]:
    """Has a good certificate, of somebody else."""
    made = Upstream(serving(ELSEWHERE))
    yield made
    made.close()


@pytest.fixture(scope="module")
def deaf() -> Iterator[Deaf]:
    made = Deaf()
    yield made
    made.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Deaf]:
    """Speaks HTTP only, and says so to a handshake."""
    made = Deaf(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, tls: Upstream, impostor: Upstream, deaf: Deaf,
          plain: Deaf) -> Iterator[Gateway]:
    deaf_url = f"https://127.0.0.1:{deaf.port}"
    config = "".join((
        service("known", tls.url, ca=LOCALHOST),
        service("named", tls.url.replace("127.0.0.1", "localhost"), ca=LOCALHOST),
        service("untrusted", tls.url),
        service("impostor", impostor.url, ca=ELSEWHERE),
        service("plain", f"https://127.0.0.1:{plain.port}", ca=LOCALHOST),
        service("unaware", tls.url.replace("https:", "http:")),
        service("deaf", deaf_url, ca=LOCALHOST, timeout=0.3),
        service("unconnected", deaf_url, ca=LOCALHOST, connect=0.3),
    ))
    with running(tmp_path_factory.mktemp("tls"), config) as made:
        yield made


@pytest.mark.parametrize("name", ["known", "named"])
def test_an_upstream_whose_authority_is_in_the_ca_file_is_spoken_to(proxy: Gateway, tls: Upstream, name: str) -> None:
    assert (200, b"ok") == proxy.get(f"/{name}/x")[::2]
    host = "localhost" if name == "named" else "127.0.0.1"
    call = tls.called(f"/{name}/x")
    assert [f"{host}:{tls.port}".encode()] == call.header(b"host")
    assert "http/1.1" == call.connection.selected_alpn_protocol(), "the server was left to choose HTTP/2"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["untrusted", "impostor", "plain"])
def test_an_upstream_that_cannot_be_verified_is_502_and_hears_nothing_of_the_request(
        proxy: Gateway, tls: Upstream, impostor: Upstream, name: str) -> None:
    before = proxy.metric("failure", name)
    for _ in range(5):  # more than the bulkhead takes at once
        assert f"{name} cannot be reached" == problem(proxy.get(f"/{name}/secret"))["detail"]
    assert (before + 5, 0) == (proxy.metric("failure", name), proxy.in_flight(name))
    assert [] == [call.target for each in (tls, impostor) for call in each.calls if "secret" in call.target]


def test_plain_http_to_an_upstream_that_wants_tls_is_502(proxy: Gateway) -> None:
    assert 502 == problem(proxy.get("/unaware/x"))["status"]


def test_a_handshake_that_hangs_is_504_within_the_timeout_and_gives_the_permit_back(proxy: Gateway, deaf: Deaf) -> None:
    ended = deaf.ended
    for _ in range(5):
        assert "deaf did not answer in time" == problem(proxy.get("/deaf/x"))["detail"]
    assert (5, 0) == (proxy.metric("timeout", "deaf"), proxy.in_flight("deaf"))
    assert deaf.heard, "no handshake was begun"
    eventually(lambda: deaf.ended == ended + 5, "the connections ended")


def test_a_handshake_that_hangs_longer_than_connect_timeout_is_502(proxy: Gateway, deaf: Deaf) -> None:
    ended = deaf.ended
    assert "unconnected cannot be reached" == problem(proxy.get("/unconnected/x"))["detail"]
    assert (1, 0) == (proxy.metric("failure", "unconnected"), proxy.in_flight("unconnected"))
    eventually(lambda: deaf.ended == ended + 1, "the connection ended")


def test_a_client_that_leaves_during_the_handshake_ends_it(proxy: Gateway, deaf: Deaf) -> None:
    before, ended = proxy.metric("cancelled", "unconnected"), deaf.ended
    heard = deaf.heard
    with proxy.connect() as client:
        client.sendall(b"GET /unconnected/left HTTP/1.1\r\nHost: gw\r\n\r\n")
        eventually(lambda: deaf.heard > heard, "the handshake begun")
    eventually(lambda: deaf.ended == ended + 1, "the connection ended")
    eventually(lambda: proxy.in_flight("unconnected") == 0, "the permit back")
    assert before <= proxy.metric("cancelled", "unconnected")


def test_large_bodies_pass_both_ways_over_one_kept_connection(proxy: Gateway, tls: Upstream) -> None:
    body = bytes(range(256)) * 40_000

    def echo(call: Call) -> None:
        data = call.body()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data))
        call.send(data)

    tls.on("/known/echo", echo)
    proxy.get("/known/warm")
    before = tls.connections
    for _ in range(3):
        with proxy.connect() as client:
            sender = threading.Thread(target=client.sendall, args=(
                b"POST /known/echo HTTP/1.1\r\nHost: gw\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
                + body,))
            sender.start()
            reply = everything(client)
            sender.join(DEADLINE_S)
        assert body == reply.partition(b"\r\n\r\n")[2]
    assert tls.connections - before <= 1  # the first may have been too old to be used again


def test_an_answer_over_tls_that_breaks_off_is_not_ended_cleanly(proxy: Gateway, tls: Upstream) -> None:
    def cut(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        call.send(b"abc")
        call.reset()

    tls.on("/known/cut", cut)
    status, _, body = proxy.get("/known/cut")
    assert status == 502 or (status, len(body) < 100) == (200, True)
    eventually(lambda: proxy.in_flight("known") == 0, "the permit back")


def until_close(polite: bool) -> Callable[[Call], None]:
    """A script whose answer ends with the connection, with a close_notify or without."""

    def script(call: Call) -> None:
        call.send(b"HTTP/1.1 200 OK\r\n\r\nuntil close")
        if polite:
            with contextlib.suppress(OSError):
                call.connection.unwrap()  # type: ignore[attr-defined]
        call.connection.close()

    return script


@pytest.mark.parametrize("polite", [True, False])
def test_an_answer_that_ends_with_its_connection_is_complete_only_if_tls_says_so(
        proxy: Gateway, tls: Upstream, polite: bool) -> None:
    """RFC 9112, 9.8: without a close_notify it may have been cut by anybody on the way."""
    path = f"/known/until-close-{polite}"
    tls.on(path, until_close(polite))
    reply = proxy.raw(f"GET {path} HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n".encode())
    if polite:
        assert reply.endswith(b"until close\r\n0\r\n\r\n")
    else:
        assert not reply.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("polite", [True, False])
async def test_asyncios_own_loop_keeps_to_that_too(tls: Upstream, polite: bool) -> None:
    """It tells of the end of a connection in other ways than uvloop, which the gateway's own server runs on."""
    path = f"/asyncio-until-close-{polite}"
    tls.on(path, until_close(polite))
    app = App(GatewayConfig(services={"up": ServiceConfig(endpoints=(tls.url,), ca_file=str(LOCALHOST))},
                            routes=(RouteConfig(path="/*", service="up"),)), registry=Registry())
    sent: list[dict[str, object]] = []
    never = asyncio.Event()

    async def receive() -> dict[str, object]:
        await never.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await app({"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
               "query_string": b"", "headers": [(b"host", b"gw")], "client": None, "server": None}, receive, send)
    app.close()
    await asyncio.sleep(0)  # for the transports to close
    complete = not sent[-1].get("more_body", True)
    assert (polite, b"until close") == (complete, b"".join(each.get("body", b"") for each in sent))  # type: ignore[misc]


async def test_an_endpoint_at_an_address_is_verified_for_its_server_name_and_asked_by_it(impostor: Upstream) -> None:
    answers = []
    for server_name in ("elsewhere.example:8443", "other.example"):
        there = EndpointConfig(url=impostor.url, server_name=server_name)
        app = App(GatewayConfig(services={"up": ServiceConfig(endpoints=(there,), ca_file=str(ELSEWHERE))},
                                routes=(RouteConfig(path="/*", service="up"),)), registry=Registry())
        answers.append(await status(app, "/by-server-name"))
        app.close()
        await asyncio.sleep(0)
    assert [200, 502] == answers
    assert [[b"elsewhere.example:8443"]] == [each.header(b"host") for each in impostor.calls if each.target == "/by-server-name"]
