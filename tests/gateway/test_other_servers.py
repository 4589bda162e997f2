"""The gateway under ASGI servers that others wrote: what an upstream may answer, they must be able to send."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import DEADLINE_S, Upstream, eventually, everything, free_port, parsed

pytestmark = pytest.mark.process

NUMBERS = itertools.count()
SERVERS = {
    "uvicorn": ["uvicorn", "--http", "httptools", "--log-level", "warning", "--port", "{port}"],
    "uvicorn-h11": ["uvicorn", "--http", "h11", "--log-level", "warning", "--port", "{port}"],
    "hypercorn": ["hypercorn", "-b", "127.0.0.1:{port}"],
}
CONFIG = """
[services.up]
endpoints = ["{url}"]
command.breaker = false
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/*"
host = "private.example"
service = "up"
rewrite = "/private/*"
"""
OK = b"Content-Length: 2\r\n\r\nok"
ANSWERS = {
    "not-modified": (b"304 Not Modified\r\nContent-Length: 300\r\nETag: x\r\n\r\n", 304),
    "no-content": (b"204 No Content\r\nContent-Length: 0\r\n\r\n", 204),
    "no-content-that-has-some": (b"204 No Content\r\nContent-Length: 5\r\n\r\nhello", 204),
    "reset-content": (b"205 Reset Content\r\nContent-Length: 0\r\n\r\n", 205),
    "interim": (b"103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n" + OK, 200),
    "999": (b"999 Denied\r\n" + OK, 502), "600": (b"600 No\r\n" + OK, 502), "599": (b"599 Odd\r\n" + OK, 599), "299": (b"299 Odd\r\n" + OK, 299),
    "no-reason": (b"200\r\n" + OK, 200), "bell": (b"200 OK\r\nX: a\x07b\r\n" + OK, 502), "blanks": (b"200 OK\r\nX: \t a \t\r\n" + OK, 200),
    "empty": (b"200 OK\r\nX:\r\n" + OK, 200), "latin": (b"200 OK\r\nX: caf\xe9\r\n" + OK, 200), "length-blanks": (b"200 OK\r\nContent-Length:  2 \r\n\r\nok", 200),
    "upgrade": (b"426 Upgrade Required\r\nUpgrade: h2c\r\nConnection: upgrade\r\n" + OK, 426),
    "gzip": (b"200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502),
    "until-closed": (b"200 OK\r\n\r\nok", 200),
    "dated": (b"200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nServer: up\r\n" + OK, 200),
}


class Served:
    """The gateway under one server."""

    def __init__(self, directory: Path, name: str, upstream: Upstream) -> None:
        self.port, self.log = free_port(), directory / f"{name}.log"
        (directory / f"{name}.toml").write_text(CONFIG.format(url=upstream.url))
        app = f"app_{name.replace('-', '_')}"
        (directory / f"{app}.py").write_text(
            f"from resilience.gateway import Gateway\napp = Gateway.from_file({str(directory / f'{name}.toml')!r})\n")
        command = [word.format(port=self.port) for word in SERVERS[name]]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([sys.executable, "-m", *command, f"{app}:app"], cwd=directory, stdout=log, stderr=log,
                                            env={"PYTHONPATH": str(Path(__file__).parents[2])})
        eventually(self._listens, f"{name} listening")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE_S) as client:
            client.sendall(data)
            return everything(client)


@pytest.fixture(scope="module", params=sorted(SERVERS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("server"), request.param, upstream)
    yield made
    made.process.terminate()
    made.process.wait(60)


def get(path: str, *, method: str = "GET", headers: str = "", version: str = " HTTP/1.1", host: str = "gw") -> bytes:
    return f"{method} {path}{version}\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whatever_an_upstream_answers_the_server_can_send_what_the_gateway_makes_of_it(
        served: Served, upstream: Upstream, method: str) -> None:
    found = {}
    for name, (answer, _) in ANSWERS.items():
        upstream.on(f"/other/{name}", b"HTTP/1.1 " + answer)
        reply = served.raw(get(f"/other/{name}", method=method))
        found[name] = parsed(reply)[0] if reply else "nothing"
        assert 1 == reply.lower().count(b"\r\ndate: "), reply
        assert 1 >= reply.lower().count(b"\r\nserver: "), reply
    assert {name: status for name, (_, status) in ANSWERS.items()} == found
    assert "Traceback" not in served.log.read_text()


def test_an_answer_without_a_body_leaves_the_connection_open(served: Served, upstream: Upstream) -> None:
    upstream.on("/other/again", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n")
    again = get("/other/again").replace(b"Connection: close\r\n", b"")
    assert 2 == served.raw(again + get("/other/again")).count(b" 304 ")


@pytest.mark.parametrize(("what", "request_bytes"), [
    ("a control character", get("/bad", headers="X: a\x07b\r\n")), ("DEL", get("/bad", headers="X: a\x7fb\r\n")),
    ("a separator that is meant to be taken for a line break", get("/bad", headers="X: X\x1fTransfer-Encoding: chunked\r\n")),
    ("HTTP/2.0 in text", get("/bad", version=" HTTP/2.0")), ("HTTP/3.0 in text", get("/bad", version=" HTTP/3.0")),
    ("HTTP/0.9 with headers", get("/bad", version=" HTTP/0.9")), ("no version", get("/bad", version="")), ("HTTP/1.2", get("/bad", version=" HTTP/1.2")),
    *((f"a transfer coding that would be dropped: {coding}", get("/bad", method="POST", headers=f"Transfer-Encoding: {coding}\r\n")
       + b"2\r\nok\r\n0\r\n\r\n") for coding in ("gzip, chunked", "gzip", "deflate,chunked", "chunked, gzip", "identity, chunked")),
])
def test_what_other_servers_let_pass_is_refused(served: Served, upstream: Upstream, what: str, request_bytes: bytes) -> None:
    mark = f"/refused-{next(NUMBERS)}"
    reply = served.raw(request_bytes.replace(b"/bad", mark.encode()))
    assert reply == b"" or parsed(reply)[0] in (400, 501, 505), what
    assert 0 == upstream.count(mark)


@pytest.mark.parametrize("target", ["ftp://gw/bad", "http://user@private.example/bad"])
def test_targets_of_other_schemes_or_with_a_user_are_refused_where_the_server_shows_them(served: Served, target: str) -> None:
    assert "httptools" in served.process.args or 400 == parsed(served.raw(get(target)))[0]


def test_the_authority_of_the_target_decides_where_the_server_shows_it(served: Served, upstream: Upstream) -> None:
    assert 200 == parsed(served.raw(get("http://private.example/absolute")))[0]
    hidden = "httptools" in served.process.args  # it leaves the application the path alone
    assert upstream.called("/absolute" if hidden else "/private/absolute")


def test_http_1_0_without_a_host_and_any_method_and_brackets_are_served(served: Served, upstream: Upstream) -> None:
    assert 200 == parsed(served.raw(b"OPTIONS /old HTTP/1.0\r\n\r\n"))[0]
    assert [200, 200] == [parsed(served.raw(get(path, method=method)))[0] for path, method in (("/e[1]|^", "GET"), ("/x", "PROPFIND"))]
