"""A request that goes past its transport to the pool is the same request, and has the same response or error."""

import asyncio
import contextlib
import socket
import ssl
import threading
import types

import httpcore
import httpcore2
import httpx
import httpx2
import pytest

from resilience import Registry
from resilience.integrations import httpx as our_httpx
from resilience.integrations import httpx2 as our_httpx2
from resilience.integrations import httpx_sending
from resilience.integrations.httpx_sending import Sending

LIBRARIES = {"httpx": (httpx, our_httpx), "httpx2": (httpx2, our_httpx2)}
CORES = {"httpx": httpcore, "httpx2": httpcore2}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = {
    "plain": OK,
    "odd": b"HTTP/1.1 299 Fine by Me\r\nX-One: 1\r\nx-one: 2\r\nX-Bytes: \xe4\xf6\r\nContent-Length: 3\r\n\r\nodd",
    "no-reason": b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
    "old": b"HTTP/1.0 200 Old\r\n\r\nuntil the end",
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"5\r\nhello\r\n5\r\nworld\r\n0\r\nX-Sum: 7\r\n\r\n",
    "hint": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    "empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "same": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    "switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nleading",
    "sick": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsick",
    "gone": b"",
    "half-a-head": b"HTTP/1.1 200 OK\r\nContent-",
    "no-http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
    "cut-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    "bad-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n",
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    "silent": None,
}
KEPT_ALIVE = ("plain", "odd", "trailers", "hint", "empty", "same", "sick", "no-reason")


class Server:
    """Answers ``/NAME`` with the bytes of that name; None: it says nothing until the client leaves."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.heads, self._connections = [], []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            if connection.recv(1, socket.MSG_PEEK) == b"\x16":  # TLS
                connection.recv(65536)
                connection.sendall(b"no TLS here")
                return
            while True:
                head = self._until(b"\r\n", lines)
                if b"Content-Length: " in head:
                    head += lines.read(int(head.partition(b"Content-Length: ")[2].split()[0]))
                elif b"ransfer-Encoding: chunked" in head:
                    head += self._until(b"0\r\n", lines) + self._until(b"\r\n", lines)
                self.heads.append(head)
                name = head.split()[1].rpartition(b"/")[2].decode()
                answer = ANSWERS.get(name, OK)
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)
                if name not in KEPT_ALIVE:
                    return

    def _until(self, last, lines):
        """Lines up to the *last*."""
        found = []
        while (line := lines.readline()) != last:
            if not line:
                raise ConnectionResetError("the client has left")
            found.append(line)
        return b"".join(found)

    def all_heads(self):
        """What has been asked, in some order, once all connections have ended that have been made so far."""
        with socket.create_connection(self._socket.getsockname()) as last, contextlib.suppress(ConnectionResetError):
            last.shutdown(socket.SHUT_WR)
            last.recv(1)
        for thread in self._threads[1:]:
            thread.join()
        return sorted(self.heads)

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(params=[(name, is_async) for name in LIBRARIES for is_async in (False, True)],
                ids=lambda param: f"{param[0]}-{'async' if param[1] else 'sync'}")
def kind(request):
    """One of the four transports."""
    name, is_async = request.param
    library, ours = LIBRARIES[name]
    prefix = "Async" * is_async
    return types.SimpleNamespace(
        name=name, is_async=is_async, library=library, core=CORES[name], prefix=prefix,
        method="handle_async_request" if is_async else "handle_request",
        client=getattr(library, f"{prefix}Client"), inner=getattr(library, f"{prefix}HTTPTransport"),
        guard=getattr(ours, f"{prefix}ResilienceTransport"))


def guarded(kind, inner=None):
    return kind.guard(inner, key="all", registry=Registry(), breaker=None, max_concurrent=None,
                      **({"timeout": None} if kind.is_async else {}))


class Body:
    """The body of a request that is made as it is sent."""

    def __init__(self, error=None):
        self._error = error

    def __iter__(self):
        yield b"one"
        if self._error is not None:
            raise self._error
        yield b"two"

    async def __aiter__(self):
        for part in self:
            yield part


def requests_of(kind, url):
    """What is asked: by name, how to make the request."""
    def get(path, **options):
        return lambda client: client.build_request("GET", url + path, **options)

    found = {name: get(f"/{name}") for name in ANSWERS}
    found["silent"] = get("/silent", timeout=kind.library.Timeout(None, read=0.02))
    own_error, their_error = ValueError("of the body"), kind.core.ReadError("of the body")
    for name, error in (("streamed", None), ("fails", own_error), ("fails as httpcore would", their_error)):
        found[name] = lambda client, error=error: client.build_request("POST", f"{url}/plain", content=Body(error))
    found |= {
        "posted": lambda client: client.build_request("POST", f"{url}/odd", json={"a": 1}),
        "head": lambda client: client.build_request("HEAD", f"{url}/plain"),
        "connect": lambda client: client.build_request("CONNECT", f"{url}/old"),
        "method": lambda client: client.build_request("M\xf6VE", f"{url}/plain"),
        "query": get("/plain?a=%C3%A4&b"),
        "unicode": get("/\xe4/plain"),
        "target": get("/plain", extensions={"target": b"/odd"}),
        "refused": lambda client: client.build_request("GET", "http://127.0.0.1:1/"),
        "protocol": lambda client: client.build_request("GET", "ftp://127.0.0.1/"),
        "no host": lambda client: client.build_request("GET", "http:///"),
        "bad header": get("/plain", headers={"X-Bad": "a\nb"}),
        "bad tls": lambda client: client.build_request("GET", url.replace("http:", "https:") + "/plain"),
    }
    return found


def told(error):
    """What there is to an error, its causes included."""
    return None if error is None else (
        type(error), str(error), getattr(error, "_request", None) is not None, told(error.__cause__))


async def seen_of(kind, client, make):
    """What the user of the client sees of one request: the response, and what it traced; or the error."""
    traced = []
    if kind.is_async:
        async def trace(name, info):
            traced.append((name, sorted(info)))
    else:
        def trace(name, info):
            traced.append((name, sorted(info)))
    request = make(client)
    request.extensions["trace"] = trace
    try:
        if kind.is_async:
            response = await client.send(request, stream=True)
            raw = [part async for part in response.aiter_raw()] if response.status_code != 101 else []
            await response.aclose()
        else:
            response = client.send(request, stream=True)
            raw = list(response.iter_raw()) if response.status_code != 101 else []
            response.close()
    except Exception as error:
        assert getattr(error, "_request", request) is request
        return told(error), traced
    return (response.status_code, response.http_version, response.reason_phrase, response.headers.raw,
            sorted(response.extensions), type(response.extensions["network_stream"]), b"".join(raw), type(response),
            response.is_closed, response.num_bytes_downloaded), traced


async def all_seen(kind, transport, url):
    """What is seen of each request, which has a client and a connection of its own, but for one more on that."""
    seen = {}
    for name, make in requests_of(kind, url).items():
        client = kind.client(transport=transport(), trust_env=False)
        seen[name] = await seen_of(kind, client, make)
        if name in KEPT_ALIVE:
            seen[f"{name}, again"] = await seen_of(kind, client, make)
        if kind.is_async:
            await client.aclose()
        else:
            client.close()
    return seen


def test_every_request_is_sent_and_answered_as_by_the_transport_of_the_library(kind, server):
    def run(transport):
        server.heads.clear()
        return asyncio.run(all_seen(kind, transport, server.url)), server.all_heads()

    tls = ssl.create_default_context()

    plain = run(lambda: kind.inner(verify=tls))
    assert run(lambda: guarded(kind, kind.inner(verify=tls))) == plain
    assert run(lambda: guarded(kind, subclass_of(kind)(verify=tls))) == plain
    errors = [seen[0] for seen in plain[0].values() if isinstance(seen[0][0], type)]
    assert len({error[0] for error in errors}) >= 7


def subclass_of(kind):
    return type("Sub", (kind.inner,), {})


def send(kind, transport, request):
    """Send it through a transport alone, and close that; returns its response, which has been read."""
    async def go():
        try:
            response = await transport.handle_async_request(request)
            await response.aread()
            return response
        finally:
            await transport.aclose()

    if kind.is_async:
        return asyncio.run(go())
    try:
        response = transport.handle_request(request)
        response.read()
        return response
    finally:
        transport.close()


def goes_past(kind, transport, server, monkeypatch):
    """Whether a request gets to the pool without a call of the transport's own method."""
    callers = []
    pool = type(transport._inner._pool)
    before = getattr(pool, kind.method)

    def spy(self, request):
        callers.append(type(request))
        return before(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(pool, kind.method, spy)
        assert send(kind, transport, kind.library.Request("GET", f"{server.url}/plain")).content == b"ok"
    (caller,) = callers
    return caller is not kind.core.Request


def test_a_request_goes_past_the_librarys_own_transport_whoever_made_it(kind, server, monkeypatch):
    assert goes_past(kind, guarded(kind), server, monkeypatch)
    assert goes_past(kind, guarded(kind, kind.inner(trust_env=False)), server, monkeypatch)


def test_a_request_goes_through_a_transport_of_a_subclass(kind, server, monkeypatch):
    assert not goes_past(kind, guarded(kind, subclass_of(kind)()), server, monkeypatch)


def mocked(kind):
    """What a tool would put in the place of the transport's method."""
    if kind.is_async:
        async def handle(*_):
            return kind.library.Response(299, content=b"mocked")
    else:
        def handle(*_):
            return kind.library.Response(299, content=b"mocked")
    return handle


def test_a_request_goes_through_a_method_that_was_replaced_before_or_after_and_past_it_again(kind, server, monkeypatch):
    for is_replaced_first in (False, True):
        for place in ("class", "instance"):
            inner = kind.inner()
            transport = None if is_replaced_first else guarded(kind, inner)
            with monkeypatch.context() as patch:
                patch.setattr(kind.inner if place == "class" else inner, kind.method, mocked(kind))
                transport = transport or guarded(kind, inner)
                request = kind.library.Request("GET", f"{server.url}/plain")
                assert send(kind, transport, request).status_code == 299
            if not is_replaced_first or place == "instance":
                assert goes_past(kind, transport, server, monkeypatch)
            else:
                assert send(kind, transport, kind.library.Request("GET", f"{server.url}/plain")).content == b"ok"


def test_a_request_whose_body_is_of_the_other_kind_is_refused_as_by_the_transport(kind, server):
    other = kind.library.SyncByteStream if kind.is_async else kind.library.AsyncByteStream
    for transport in (kind.inner(), guarded(kind)):
        with pytest.raises(AssertionError):
            send(kind, transport, kind.library.Request("POST", f"{server.url}/plain", stream=other()))


def test_requests_go_through_a_transport_of_a_library_that_is_not_as_known(kind, server, monkeypatch):
    def knows(**replaced):
        with monkeypatch.context() as patch:
            for name, value in replaced.items():
                patch.setattr(httpx_sending, name, value)
            return bool(Sending(kind.inner(), kind.library, kind.method).errors)

    assert knows()
    assert not knows(_HANDLES=httpx_sending._HANDLES | {"retry_policy"})
    assert not knows(_HANDLES=httpx_sending._HANDLES - {"extensions"})
    assert not knows(_INITIALIZES={**httpx_sending._INITIALIZES, "URL": frozenset(("raw",))})
    assert not knows(ERRORS=(*httpx_sending.ERRORS, "TeapotError"))
    inner = kind.inner()
    del inner._pool
    assert not Sending(inner, kind.library, kind.method).errors


def test_each_error_of_httpcore_becomes_the_one_that_the_library_makes_of_it(kind):
    default = pytest.importorskip(f"{kind.library.__name__}._transports.default")
    sending = Sending(kind.inner(), kind.library, kind.method)

    class Further(kind.core.ReadTimeout):
        pass

    seen = 0
    for error in (*(vars(kind.core).values()), Further):
        if isinstance(error, type) and issubclass(error, Exception):
            with pytest.raises(Exception) as theirs, default.map_httpcore_exceptions():
                raise error("why")
            seen += 1
            if isinstance(theirs.value, error):
                assert not issubclass(error, sending.errors)
            else:
                assert told(sending.translated(error("why")))[:2] == told(theirs.value)[:2]
    assert seen >= len(httpx_sending.ERRORS)
