"""Servers for the dashboard's tests: a metrics stream that the test controls, a liar, and a real ASGI server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.process import BaseProcess
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

Message = dict[str, Any]


class StreamServer:
    """An SSE server whose messages the test sets; every connection gets all of them each `interval` seconds.

    `stop` cuts all connections and frees nothing else: `start` comes back on the same port, like a restarted process.
    """

    def __init__(self, *, path: str = "/resilience.stream", interval: float = 0.05, chunked: bool = False) -> None:
        self.path = path
        self.interval = interval
        self.chunked = chunked
        self.messages: list[Message | str] = []
        self.paused = threading.Event()
        self.requests: list[dict[str, str]] = []
        self.open_connections = 0
        self.changed = threading.Condition()
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._sockets: set[socket.socket] = set()
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}{self.path}"

    def start(self) -> None:
        self._stopping = threading.Event()
        self._server = _Http(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is None:
            return
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._server = None
        with self.changed:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def wait_for_connections(self, expected: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.open_connections == expected, 10), self.open_connections

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

            def do_GET(self) -> None:
                stream.requests.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
                if self.path.partition("?")[0] != stream.path:
                    self.send_error(404)
                    return
                stream._serve(self)

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream;charset=UTF-8")
        if self.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        stopping = self._stopping
        self._count(handler.connection, 1)
        try:
            while not stopping.wait(self.interval):
                body = b"ping: \n\n" if self.paused.is_set() else b"".join(map(event, self.messages))
                for piece in self._framed(body):
                    handler.wfile.write(piece)
        except OSError:
            pass
        finally:
            self._count(handler.connection, -1)

    def _framed(self, body: bytes) -> Iterator[bytes]:
        if not self.chunked:
            yield body
        elif body:
            middle = len(body) // 2  # an event never sits neatly in one chunk
            for part in (body[:middle], body[middle:]):
                if part:
                    yield b"%x;note=1\r\n%s\r\n" % (len(part), part)

    def _count(self, connection: socket.socket, step: int) -> None:
        with self.changed:
            self.open_connections += step
            (self._sockets.add if step > 0 else self._sockets.discard)(connection)
            self.changed.notify_all()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that goes away is no news."""


def event(message: Message | str) -> bytes:
    text = message if isinstance(message, str) else json.dumps(message)
    return f"data: {text}\n\n".encode()


@contextlib.contextmanager
def liar(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept connections one by one, read each request's head, and let `answer` do what no server should."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(4096)
                    answer(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/liar.stream"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@contextlib.contextmanager
def served(factory: Callable[..., Any], *args: Any, **settings: Any) -> Iterator[str]:
    """Run the ASGI application that `factory` makes under granian, in a process of its own; yields its base URL.

    Factory and arguments must be picklable. The process comes from a fork server, so it starts in no time.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "resilience_dashboard"])
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = context.Process(target=_serve, args=(port, factory, args, settings), daemon=True)
    process.start()
    try:
        _wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()
        process.close()


def _serve(port: int, factory: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> None:
    application = factory(*args, **settings)
    server = Server(application, port=port, interface=Interfaces.ASGI, log_enabled=False, websockets=False)
    asyncio.run(server.serve())


def _wait_for_port(port: int, process: BaseProcess) -> None:
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            process.join(0.01)  # returns early only if the process ends
            assert process.is_alive(), "the server did not start"
        else:
            return
    raise AssertionError("the server did not start")
