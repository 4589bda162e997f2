"""A real server on loopback that is told when to answer, and each HTTP client behind one interface."""

import asyncio
import contextlib
import contextvars
import gc
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import httpx
import httpx2
import requests
import urllib3

from resilience.integrations import aiohttp as our_aiohttp
from resilience.integrations import httpx as our_httpx
from resilience.integrations import httpx2 as our_httpx2
from resilience.integrations import requests as our_requests
from resilience.integrations import urllib3 as our_urllib3


class Server(ThreadingHTTPServer):
    """Answers ``/STATUS`` and ``/STATUS/HOW``.

    How is "chunked", "cut" (the body ends early), "chunked-cut", "chunked-bad" (a size is no number), "wait" (for ``go``)
    or "gzip" (which the body is not).
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen, self.go = [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that has left is none of the server's errors."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        if length := int(self.headers.get("Content-Length", 0)):
            self.rfile.read(length)
        elif "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        status, _, how = self.path[1:].partition("/")
        self.send_response(int(status))
        if status == "302":
            self.send_header("Location", "/200")
        if how == "gzip":
            self.send_header("Content-Encoding", "gzip")
        chunked = how.startswith("chunked")
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "10")))
        self.end_headers()
        if self.command == "HEAD":
            return
        halves = (b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n") if chunked else (b"hello", b"world")
        self.wfile.write(halves[0])
        if how != "chunked-bad":  # which aiohttp notices only in the piece that has the head
            self.wfile.flush()
        if how == "wait":
            self.server.go.wait(60)
        if how.endswith("cut"):
            self.close_connection = True
        else:
            self.wfile.write(halves[1] if how != "chunked-bad" else b"five" + halves[1])

    do_POST = do_HEAD = do_PUT = do_GET

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving():
    """A server in a thread of its own."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Httpx:
    """httpx; a subclass says the asynchronous one."""

    is_async = False
    theirs, ours = httpx, our_httpx

    def __init__(self, **settings):
        self.handle = self.guard = self.ours.ResilienceTransport(settings.pop("inner", None), **settings)
        self.family = self.theirs.HTTPError
        self.client = self.theirs.Client(transport=self.guard, trust_env=False, follow_redirects=True)

    def request(self, method, url, **options):
        response = self.client.request(method, url, **options)
        return response.status_code, response.content

    def open(self, url):
        return self.client.send(self.client.build_request("GET", url), stream=True)

    def read(self, response):
        return response.read()

    def close(self, response):
        response.close()

    def turn(self):
        """Let everything happen that was put off."""

    def finish(self):
        self.client.close()


class Httpx2(Httpx):
    theirs, ours = httpx2, our_httpx2


class _Async:
    is_async = True

    def start(self):
        self.runner = asyncio.Runner()
        self.runner.get_loop()

    def run(self, coroutine):
        return self.runner.run(coroutine, context=contextvars.copy_context())

    def turn(self):
        async def turn():
            for _ in range(10):
                await asyncio.sleep(0)

        self.run(turn())


class AsyncHttpx(_Async):
    theirs, ours = httpx, our_httpx

    def __init__(self, **settings):
        self.guard = self.ours.AsyncResilienceTransport(settings.pop("inner", None), **settings)
        self.start()
        self.family = self.theirs.HTTPError
        self.client = self.theirs.AsyncClient(transport=self.guard, trust_env=False, follow_redirects=True)

    def request(self, method, url, **options):
        response = self.run(self.client.request(method, url, **options))
        return response.status_code, response.content

    def open(self, url):
        return self.run(self.client.send(self.client.build_request("GET", url), stream=True))

    def read(self, response):
        return self.run(response.aread())

    def close(self, response):
        self.run(response.aclose())

    def finish(self):
        self.run(self.client.aclose())
        self.runner.close()


class AsyncHttpx2(AsyncHttpx):
    theirs, ours = httpx2, our_httpx2


class Requests:
    is_async = False

    def __init__(self, **settings):
        self.guard = our_requests.ResilienceAdapter(settings.pop("inner", None), **settings)
        self.family = requests.RequestException
        self.client = requests.Session()
        self.client.trust_env = False
        self.client.mount("http://", self.guard)

    def request(self, method, url, **options):
        if "content" in options:
            options["data"] = options.pop("content")
        response = self.client.request(method, url, **options)
        return response.status_code, response.content

    def open(self, url):
        return self.client.get(url, stream=True)

    def read(self, response):
        return response.content

    def close(self, response):
        response.close()

    def turn(self):
        """Let everything happen that was put off."""

    def finish(self):
        self.client.close()


class Urllib3:
    is_async = False

    def __init__(self, **settings):
        self.client = self.guard = our_urllib3.ResiliencePoolManager(guard=settings)
        self.family = urllib3.exceptions.HTTPError

    def request(self, method, url, **options):
        if "content" in options:
            options["body"] = options.pop("content")
        response = self.client.request(method, url, **options)
        return response.status, response.data

    def open(self, url):
        return self.client.request("GET", url, preload_content=False)

    def read(self, response):
        return b"".join(response.stream(4))

    def close(self, response):
        response.close()

    def turn(self):
        """Let everything happen that was put off."""

    def finish(self):
        self.client.clear()


class Aiohttp(_Async):
    def __init__(self, **settings):
        self.guard = our_aiohttp.ResilienceMiddleware(**settings)
        self.start()
        self.family = aiohttp.ClientError

        async def session():
            return aiohttp.ClientSession(middlewares=(self.guard,))

        self.client = self.run(session())

    def request(self, method, url, **options):
        if "content" in options:
            options["data"] = options.pop("content")

        async def request():
            async with self.client.request(method, url, **options) as response:
                return response.status, await response.read()

        return self.run(request())

    def open(self, url, **options):
        async def request():
            return await self.client.get(url, **options)

        return self.run(request())

    def read(self, response):
        return self.run(response.read())

    def close(self, response):
        response.close()

    def finish(self):
        self.run(self.client.close())
        self.runner.close()


CLIENTS = (Httpx, Httpx2, AsyncHttpx, AsyncHttpx2, Requests, Urllib3, Aiohttp)


def command_of(client):
    """The handle of the only command that there is so far."""
    (found,) = client.guard.resilience
    return found


def counts_of(client):
    """What is counted, the items of streams left out."""
    client.turn()
    counts = command_of(client).snapshot().counts
    return {name: number for name, number in counts.items()
            if number and name not in ("emit", "exceptions_thrown", "fallback_missing")}


def in_flight(client):
    """How many calls run, once nobody has anything left to do."""
    gc.collect()
    client.turn()
    return command_of(client).snapshot().in_flight
