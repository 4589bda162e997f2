"""Small HTTP requests: what they send, what servers do to them, and that each ends in time."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from resilience import ConfigError
from resilience.discovery import EurekaServers
from resilience.discovery.http_client import HttpClientError, HttpServer

LOCALHOST = Path(__file__).parents[1] / "dashboard" / "localhost.pem"


@contextmanager
def answering(answer: Callable[[socket.socket], Any], tls: Path | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A server that reads a request's head, and then does what it is told. Its port, and what it has read."""
    heads: list[bytes] = []
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            try:
                if context is not None:
                    client = context.wrap_socket(client, server_side=True)
                head = b""
                while b"\r\n\r\n" not in head:
                    head += client.recv(65536)
                heads.append(head)
                answer(client)
            except OSError:
                pass
            finally:
                client.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], heads
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(60)


def sending(*pieces: bytes) -> Callable[[socket.socket], None]:
    return lambda client: [client.sendall(piece) for piece in pieces] and None


def test_a_request_has_the_base_path_the_headers_and_the_body_and_asks_to_close() -> None:
    with answering(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) as (port, heads):
        server = HttpServer(f"http://127.0.0.1:{port}/eureka/", headers={"X-Token": "t"})
        answer = server.ask("POST", "/apps/A?b=1", body=b"{}", headers={"Content-Type": "application/json"}, timeout_s=60)
        assert (200, b"ok") == (answer.status, answer.body)
    (head,) = heads
    assert head.startswith(b"POST /eureka/apps/A?b=1 HTTP/1.1\r\n")
    for line in (b"Connection: close", b"X-Token: t", b"Accept: application/json", b"Content-Length: 2", b"Content-Type: application/json"):
        assert line in head


@pytest.mark.parametrize(("pieces", "status", "body"), [
    ([b"HTTP/1.1 204 No Content\r\n\r\n"], 204, b""),
    ([b"HTTP/1.0 404 x\r\n\r\nuntil", b" the end"], 404, b"until the end"),
    ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", b"1\r\nc\r\n0\r\n\r\n"], 200, b"abc"),
    ([b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"], 302, b"")])
def test_answers_are_read_as_http_has_them_and_redirects_are_not_followed(pieces: list[bytes], status: int, body: bytes) -> None:
    with answering(sending(*pieces)) as (port, _):
        answer = HttpServer(f"http://127.0.0.1:{port}").ask("GET", "/", timeout_s=60)
        assert (status, body) == (answer.status, answer.body)


@pytest.mark.parametrize(("pieces", "why"), [
    ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"], "ends too soon"),
    ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], "IncompleteRead"), ([b"nonsense\r\n\r\n"], "nonsense"), ([], "closed"),
    ([b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 2000], "larger than 1000 bytes"),
    ([b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", b"x" * 2000], "larger than 1000 bytes"),
    ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], "IncompleteRead"), ([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n"], "headers")])
def test_what_is_no_whole_answer_is_a_failure(pieces: list[bytes], why: str) -> None:
    with answering(sending(*pieces)) as (port, _), pytest.raises(HttpClientError, match=why):
        HttpServer(f"http://127.0.0.1:{port}").ask("GET", "/", timeout_s=60, most_bytes=1000)


@pytest.mark.parametrize("first", [b"H", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_sends_a_byte_now_and_then_is_late_all_the_same(first: bytes) -> None:
    now, has_given_up = [0.0], threading.Event()

    def drip(client: socket.socket) -> None:
        client.sendall(first)
        while not has_given_up.is_set():
            client.sendall(b"x")
            has_given_up.wait(0.001)

    def clock() -> float:
        now[0] += 0.25  # at each look
        return now[0]

    with answering(drip) as (port, _):
        with pytest.raises(HttpClientError, match=f"127.0.0.1:{port} gives no answer in time"):
            HttpServer(f"http://127.0.0.1:{port}").ask("GET", "/", timeout_s=5.0, clock=clock)
        has_given_up.set()


def test_a_server_is_verified_by_the_authorities_that_are_said_and_by_no_others(tmp_path: Path) -> None:
    with answering(sending(b"HTTP/1.1 204 x\r\n\r\n"), LOCALHOST) as (port, _):
        assert 204 == HttpServer(f"https://localhost:{port}", ca_file=f"{LOCALHOST}").ask("GET", "/", timeout_s=60).status
        for ca_file, why in ((None, "CERTIFICATE_VERIFY_FAILED"), (f"{tmp_path / 'none'}", "cannot be read")):
            with pytest.raises(HttpClientError, match=why):
                HttpServer(f"https://localhost:{port}", ca_file=ca_file).ask("GET", "/", timeout_s=60)


def test_nobody_who_listens_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HttpClientError, match=f"127.0.0.1:{port}"):
        HttpServer(f"http://127.0.0.1:{port}").ask("GET", "/", timeout_s=60)


@pytest.mark.parametrize("url", ["", "http://", "localhost:8761", "ftp://x", "http://x:0", "http://x:x", "http://x?a", "http://x#a", "http://x y", 7])
def test_what_is_no_address_of_a_registry_is_a_mistake_that_is_not_repeated(url: Any) -> None:
    with pytest.raises(ConfigError, match="must be an http:// or https:// URL"):
        HttpServer(url)


@pytest.mark.parametrize(("name", "value"), [
    ("X-Token", "s3cret\n"), ("X-Token", "s3cret\r\nX: y"), ("X-Token", "s3cret\u20ac"), ("X-Token", b"s3cret"), ("X-Token", None),
    ("X-Token:", "s3cret"), ("X Token", "s3cret"), ("", "s3cret"), ("X\n", "s3cret"), (7, "s3cret")])
def test_a_header_that_cannot_be_sent_is_a_mistake_whose_value_is_not_repeated(name: Any, value: Any) -> None:
    with pytest.raises(ConfigError, match="headers: ") as caught:
        HttpServer("http://127.0.0.1:1", headers={name: value})
    assert "s3cret" not in f"{caught.value}"


def test_the_next_address_of_a_host_is_tried_in_time_when_the_first_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    connect, shares = socket.create_connection, list[float]()

    def connected(place: tuple[str, int], timeout: float) -> socket.socket:
        shares.append(timeout)
        if place[0] == "192.0.2.1":
            now[0] += timeout
            raise TimeoutError
        return connect(place, 60)

    now = [0.0]
    with answering(sending(b"HTTP/1.1 204 x\r\n\r\n")) as (port, _):
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("192.0.2.1", "192.0.2.1", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        monkeypatch.setattr(socket, "create_connection", connected)
        assert 204 == HttpServer(f"http://registry.example:{port}").ask("GET", "/", timeout_s=60.0, clock=lambda: now[0]).status
        assert [20.0, 20.0, 20.0] == shares
        del addresses[2]
        with pytest.raises(HttpClientError, match="no answer in time"):
            HttpServer(f"http://registry.example:{port}").ask("GET", "/", timeout_s=60.0, clock=lambda: now[0])


@pytest.mark.parametrize(("body", "shown"), [
    (b"ipAddr must be an address\n", "400 (Bad Request): ipAddr must be an address"), (b"", "400 (Bad Request)"),
    (b"<html>Bad</html>", "400 (Bad Request)"), (b'{"a": 1}', "400 (Bad Request)"), (b"x" * 500, "400 (Bad Request)"), (b"a\nERROR b", "400 (Bad Request)")])
def test_why_a_registry_refuses_is_in_the_message(body: bytes, shown: str) -> None:
    answer = b"HTTP/1.1 400 x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with answering(sending(answer)) as (port, _), pytest.raises(HttpClientError) as caught:
        EurekaServers(f"http://127.0.0.1:{port}").ask("POST", "/apps/A", (204,), timeout_s=60)
    assert f"127.0.0.1:{port}: HTTP status {shown}" == f"{caught.value}"
