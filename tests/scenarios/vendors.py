"""A primary and a backup on loopback that stream answers, and the faults that such a service can have.

No fault waits for time to pass. Where a real service would be silent for long, it moves the test's clock on, once the
consumer has got what was sent.
"""

import contextlib
import json
import socket
import struct
import threading

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
END = b"0\r\n\r\n"
WORDS = ("one", "two", "three")


def chunk(text):
    """A chunk of a body."""
    return f"{len(text):x}\r\n{text}\r\n".encode()


def event(word):
    """An event of an answer; it has what the client of openai expects, too."""
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": "stop" if word == WORDS[-1] else None}
    return chunk("data: " + json.dumps({
        "text": word, "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice],
    }) + "\n\n")


PING = chunk(": ping\n\n")
ERROR = chunk('event: error\ndata: {"error": {"type": "server_error", "message": "out of memory"}}\n\n')
DONE = chunk("data: [DONE]\n\n")
BEGINNING = HEAD + event(WORDS[0]) + event(WORDS[1])


class Vendor:
    """One of the two: asked by POST, it streams its words, or does what ``fault`` says.

    Attributes:
        fault: Given the vendor and the connection, in a thread of its own; None: it is well.
        asked: How many requests have reached it.
        pass_time: Moves the clock of the test on by so many seconds, at once.
    """

    def __init__(self, pass_time):
        self.pass_time, self.fault, self.asked = pass_time, None, 0
        self._taken = threading.Semaphore(0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads, self._connections, self._filling = [], [], []
        self._accept()

    def go_down(self):
        """Refuse connections from now on. The port stays ours."""
        self._stop()
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.bind(("127.0.0.1", self.port))

    def come_up(self):
        """Accept connections again."""
        self._listening.listen()
        self._accept()

    def be_a_black_hole(self):
        """Let nobody connect, and do not say so: the queue of the socket is full, and nobody accepts from it."""
        self.go_down()
        self._listening.listen(0)
        for _ in range(4):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", self.port))
            self._filling.append(each)

    def was_taken(self):
        """The consumer has got an event."""
        self._taken.release()

    def until_taken(self, events):
        """Wait until the consumer has so many events."""
        for _ in range(events):
            assert self._taken.acquire(timeout=60.0)

    def until_left(self):
        """Wait until nobody is connected any more, of those either whom it has yet to accept."""
        if self._accepting.is_alive():
            self._until_accepted()
        for thread in self._threads:
            thread.join(60.0)
            assert not thread.is_alive(), "the client has not closed its connection"

    def close(self):
        """End all threads and connections."""
        self._stop()
        for each in (*self._connections, *self._filling):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()

    def _until_accepted(self):
        """Wait until it has accepted all who have connected so far: they stand before the one that connects now."""
        with socket.create_connection(("127.0.0.1", self.port)) as last, contextlib.suppress(ConnectionResetError):
            last.shutdown(socket.SHUT_WR)
            last.recv(1)

    def _accept(self):
        self._accepting = threading.Thread(target=self._serve_all, args=(self._listening,))
        self._accepting.start()

    def _stop(self):
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listening.close()
        self._accepting.join()

    def _serve_all(self, listening):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            request = b""
            while not request.endswith(b"}"):  # of its JSON
                got = connection.recv(4096)
                if not got:
                    return
                request += got
            self.asked += 1
            (self.fault or well)(self, connection)


def well(vendor, connection):
    """No fault."""
    connection.sendall(HEAD + b"".join(map(event, WORDS)) + DONE + END)


def status(line, *headers):
    """Another status, and no body."""
    text = "\r\n".join((f"HTTP/1.1 {line}", "Content-Length: 0", "Connection: close", *headers, "", ""))
    return lambda vendor, connection: connection.sendall(text.encode())


def sends(data):
    """Send this, and hang up."""
    return lambda vendor, connection: connection.sendall(data)


def silent(seconds, begin=HEAD, events=0):
    """Begin, and when the consumer has got so many *events*, be silent for *seconds*, and until the client leaves."""
    def fault(vendor, connection):
        connection.sendall(begin)
        vendor.until_taken(events)
        if seconds:
            vendor.pass_time(seconds)
        while connection.recv(4096):
            pass
    return fault


def resets(begin, events=0):
    """Begin, and when the consumer has got so many *events*, end as a process does that dies."""
    def fault(vendor, connection):
        connection.sendall(begin)
        vendor.until_taken(events)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return fault


def keeps_alive(seconds):
    """Send a keep-alive each second, and no event. No more time than *seconds* passes: the client is to leave then."""
    def fault(vendor, connection):
        connection.sendall(HEAD)
        for second in range(1000):
            connection.sendall(PING)
            vendor.pass_time(1.0 if second < seconds else 0.0)
    return fault
