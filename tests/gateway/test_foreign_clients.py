"""Clients that others wrote, through the gateway: curl and requests. Byte for byte, both ways."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from .harness import DEADLINE_S, Call, Gateway, Upstream, eventually, running

pytestmark = pytest.mark.process

LARGE = bytes(range(256)) * 65_536  # 16 MiB


CONFIG = """
client_timeout = 20.0
[services.up]
endpoints = ["{url}"]
idle_timeout = 20.0
command = {{ timeout = 20.0, breaker = false }}
[[routes]]
path = "/*"
service = "up"
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("foreign"), CONFIG.format(url=upstream.url)) as made:
        yield made


class Curl:
    """curl, with what it says of a transfer."""

    def __init__(self, gateway: Gateway, directory: Path, program: str) -> None:
        self.base, self.directory, self.program = f"http://127.0.0.1:{gateway.port}", directory, program

    def __call__(self, path: str, *options: str, stdin: bytes = b"") -> tuple[str, bytes, bytes]:
        """What --write-out tells (status, version, connections made, bytes sent), the head, and the body."""
        body, head = self.directory / "body", self.directory / "head"
        body.write_bytes(b"")
        done = subprocess.run(
            [self.program, "--silent", "--show-error", "--max-time", "20", "--output", str(body), "--dump-header", str(head),
             "--write-out", "%{http_code} %{http_version} %{num_connects} %{size_upload}", *options, self.base + path],
            input=stdin, capture_output=True, check=False, timeout=30)
        assert (0, b"") == (done.returncode, done.stderr)
        return done.stdout.decode(), head.read_bytes(), body.read_bytes()


@pytest.fixture
def curl(gateway: Gateway, tmp_path: Path) -> Curl:
    program = shutil.which("curl")
    assert program is not None, "there is no curl"
    return Curl(gateway, tmp_path, program)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False
        yield made


def answering(data: bytes, *, chunked: bool = False, status: bytes = b"200 OK", trailers: bytes = b""):  # type: ignore[no-untyped-def]
    """A script that takes the request's body, whatever it is, and answers with *data*."""

    def script(call: Call) -> None:
        if call.header(b"content-length") or call.header(b"transfer-encoding"):
            call.body()
        if not chunked:
            call.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n" % (status, len(data)) + data)
            return
        call.send(b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" % status)
        for start in range(0, len(data), 100_003):
            piece = data[start : start + 100_003]
            call.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        call.send(b"0\r\n" + trailers + b"\r\n")

    return script


class Digest:
    """A script that answers with the digest of the body it was sent, chunked or not."""

    def __call__(self, call: Call) -> None:
        data = call.body()
        if call.header(b"transfer-encoding"):
            data = unchunked(data)
        found = hashlib.sha256(data).hexdigest().encode()
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(found), found))


def unchunked(data: bytes) -> bytes:
    found, at = [], 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        if not size:
            return b"".join(found)
        found.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size


SUM = hashlib.sha256(LARGE).hexdigest().encode()


# -- curl


@pytest.mark.parametrize("chunked", [False, True])
def test_curl_downloads_what_the_upstream_sent(curl: Curl, upstream: Upstream, chunked: bool) -> None:
    upstream.on(f"/curl-down-{chunked}", answering(LARGE, chunked=chunked, trailers=b"X-Sum: 1\r\n"))
    told, head, body = curl(f"/curl-down-{chunked}")
    assert ("200 1.1 1 0", SUM) == (told, hashlib.sha256(body).hexdigest().encode())
    assert b"\r\nx-sum:" not in head.lower(), "a trailer is not merged into the head"


@pytest.mark.parametrize(("what", "options"), [
    ("sized, after 100 Continue", ("--data-binary", "@-", "--header", "Expect: 100-continue")),
    ("sized, at once", ("--data-binary", "@-", "--header", "Expect:")),
    ("chunked", ("--data-binary", "@-", "--header", "Transfer-Encoding: chunked")),
    ("from a pipe", ("--upload-file", "-")),
    ("HTTP/1.0", ("--http1.0", "--data-binary", "@-")),
])
def test_curl_uploads_what_it_was_given(curl: Curl, upstream: Upstream, what: str, options: tuple[str, ...]) -> None:
    path = f"/curl-up-{what.replace(' ', '-').replace('/', '').replace(',', '')}"
    upstream.on(path, Digest())
    told, head, body = curl(path, *options, stdin=LARGE)
    assert ("200", SUM) == (told.split()[0], body)
    assert (b"100 Continue" in head) == ("Continue" in what or "pipe" in what or what == "chunked")
    assert [] == upstream.called(path).header(b"expect")


def test_curl_keeps_its_connection(curl: Curl, upstream: Upstream) -> None:
    told, _, body = curl("/curl-kept-1", curl.base + "/curl-kept-2", "--output", str(curl.directory / "second"))
    assert ("200 1.1 1 0" "200 1.1 0 0", b"ok") == (told, body)


@pytest.mark.parametrize(("answer", "options", "expected"), [
    (b"HTTP/1.1 204 No Content\r\n\r\n", (), "204"),
    (b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n', ("--header", 'If-None-Match: "x"'), "304"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1234567\r\n\r\n", ("--head",), "200"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ("--head",), "200"),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (), "200"),
])
def test_curl_takes_an_answer_without_a_body_and_goes_on_with_the_connection(
        curl: Curl, upstream: Upstream, answer: bytes, options: tuple[str, ...], expected: str) -> None:
    path = f"/curl-empty-{hashlib.sha256(answer).hexdigest()[:8]}"
    upstream.on(path, lambda call: call.send(answer))
    told, _, _ = curl(path, *options, curl.base + path, "--output", str(curl.directory / "second"))
    assert f"{expected} 1.1 1 0" f"{expected} 1.1 0 0" == told
    assert 2 == upstream.count(path)


def test_curl_that_would_like_http_2_gets_http_1(curl: Curl, upstream: Upstream) -> None:
    """An upgrade to h2c is not passed on (RFC 9110, 7.8): an upstream that took it would be out of our sight."""
    told, _, body = curl("/curl-h2c", "--http2")
    assert ("200 1.1 1 0", b"ok") == (told, body)
    call = upstream.called("/curl-h2c")
    assert ([], [], []) == (call.header(b"upgrade"), call.header(b"http2-settings"), call.header(b"connection"))


def test_curl_is_given_half_of_an_answer_as_an_error(curl: Curl, upstream: Upstream) -> None:
    upstream.on("/curl-half", lambda call: (
        call.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), call.connection.close()))
    done = subprocess.run([curl.program, "-sf", "--max-time", "20", curl.base + "/curl-half"], capture_output=True, check=False)
    assert done.returncode in (18, 22, 56), "partial file, 502, or reset"


# -- requests


def test_requests_moves_large_bodies_both_ways(session: requests.Session, gateway: Gateway, upstream: Upstream) -> None:
    url = f"http://127.0.0.1:{gateway.port}"
    upstream.on("/requests-up", Digest())
    upstream.on("/requests-down", answering(LARGE, chunked=True, trailers=b"X-Sum: 1\r\n"))
    pieces = (LARGE[start : start + 70_001] for start in range(0, len(LARGE), 70_001))
    assert SUM == session.post(f"{url}/requests-up", data=LARGE, timeout=DEADLINE_S).content
    assert SUM == session.post(f"{url}/requests-up", data=pieces, timeout=DEADLINE_S).content
    digest = hashlib.sha256()
    with session.get(f"{url}/requests-down", stream=True, timeout=DEADLINE_S) as reply:
        for piece in reply.iter_content(10_007):
            digest.update(piece)
    assert SUM == digest.hexdigest().encode()


def test_requests_goes_on_with_one_connection_after_each_kind_of_answer(
        session: requests.Session, gateway: Gateway, upstream: Upstream) -> None:
    url = f"http://127.0.0.1:{gateway.port}"
    upstream.on("/requests-204", lambda call: call.send(b"HTTP/1.1 204 No Content\r\n\r\n"))
    upstream.on("/requests-304", lambda call: call.send(b"HTTP/1.1 304 Not Modified\r\n\r\n"))
    upstream.on("/requests-head", lambda call: call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
    upstream.on("/requests-chunked", answering(b"abc" * 100_000, chunked=True))
    found = []
    for _ in range(3):
        for method, path in (("GET", "204"), ("GET", "304"), ("HEAD", "head"), ("GET", "chunked"), ("DELETE", "plain")):
            reply = session.request(method, f"{url}/requests-{path}", timeout=DEADLINE_S)
            found.append((reply.status_code, len(reply.content)))
    assert [(204, 0), (304, 0), (200, 0), (200, 300_000), (200, 2)] * 3 == found
    pools = session.get_adapter(url).poolmanager.pools  # type: ignore[attr-defined]
    [pool] = [pools[key] for key in pools.keys()]
    assert (1, 15) == (pool.num_connections, pool.num_requests)


def test_many_sessions_get_their_own_bytes(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("/requests-own", Digest())
    wrong: list[object] = []

    def client(number: int) -> None:
        with requests.Session() as own:
            own.trust_env = False
            for i in range(10):
                body = f"{number}-{i} ".encode() * (1 + 20_000 * (i % 2))
                reply = own.post(f"http://127.0.0.1:{gateway.port}/requests-own", data=iter([body[:9], body[9:]]), timeout=20)
                if reply.content != hashlib.sha256(body).hexdigest().encode():
                    wrong.append((number, i, reply.status_code))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [] == wrong
    eventually(lambda: gateway.in_flight() == 0, "every permit back")
