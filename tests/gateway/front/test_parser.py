"""The request parser, byte by byte and all at once: what passes, and what is refused with which status."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from resilience.gateway.front.accepted import Accepted
from resilience.gateway.front.parser import MAX_CHUNK_EXCESS, MAX_PIPELINED, Incoming, RequestParser
from resilience.gateway.messages.framing import LARGE
from tests.seeds import over_seeds

GET = b"GET / HTTP/1.1\r\nHost: gw\r\n"
POST = b"POST / HTTP/1.1\r\nHost: gw\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Requests:
    """What a parser found."""

    def __init__(self, *, max_header_bytes: int = 65_536, headers: int = 256) -> None:
        self.parser = RequestParser(Accepted(), max_head_bytes=max_header_bytes, max_headers=headers)

    def feed(self, pieces: Iterable[bytes]) -> Requests:
        for piece in pieces:
            self.parser.feed(piece)
        return self

    @property
    def found(self) -> list[Incoming]:
        return list(self.parser.waiting)

    @property
    def status(self) -> int:
        return 0 if self.parser.refusal is None else self.parser.refusal.status

    def told(self) -> list[object]:
        return [(each.head.method, each.head.path, each.head.query, each.head.headers, b"".join(each.pieces), each.complete,
                 each.trailers) for each in self.found]


def read(data: bytes, size: int = 4096) -> Requests:
    return Requests().feed(data[start : start + size] for start in range(0, len(data), size))


@pytest.mark.parametrize(("what", "data", "status"), [
    ("bare LF after the request line", b"GET / HTTP/1.1\nHost: gw\r\n\r\n", 400),
    ("bare LF after a header", GET + b"X: a\n\r\n", 400),
    ("bare LF as the empty line", GET + b"\n", 400),
    ("bare LF in a chunked body", CHUNKED + b"3\nabc\n0\n\n", 400),
    ("lone CR in a header", GET + b"X: a\rb\r\n\r\n", 400),
    ("lone CR after a chunk's size", CHUNKED + b"3\rabc\r\n0\r\n\r\n", 400),
    ("obs-fold", GET + b"X: a\r\n b\r\n\r\n", 400),
    ("obs-fold in a trailer", CHUNKED + b"0\r\n X: 1\r\n\r\n", 400),
    ("NUL in a header", GET + b"X: a\0b\r\n\r\n", 400),
    ("control character in a header", GET + b"X: a\x01b\r\n\r\n", 400),
    ("DEL in a header", GET + b"X: a\x7fb\r\n\r\n", 400),
    ("space before the colon", GET + b"X : a\r\n\r\n", 400),
    ("header without a name", GET + b": a\r\n\r\n", 400),
    ("header name that is not ASCII", GET + b"X\x80: a\r\n\r\n", 400),
    ("CL and TE", POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("TE and CL", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    ("CL twice", POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("CL as a list", POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    ("CL with a sign", POST + b"Content-Length: +3\r\n\r\nabc", 400),
    ("CL hexadecimal", POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
    ("CL empty", POST + b"Content-Length: \r\n\r\nabc", 400),
    ("CL negative", POST + b"Content-Length: -1\r\n\r\n", 400),
    ("CL beyond 64 bits", POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    ("TE twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("TE chunked, chunked", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("TE gzip", POST + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n", 400),
    ("TE identity", POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    ("TE xchunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("TE with a parameter", POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400),
    ("TE after a vertical tab", POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("CL in a trailer", CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    ("chunk size with a prefix", CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size with a sign", CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size with an underscore", CHUNKED + b"3_0\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size with a space", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    ("chunk size beyond 64 bits", CHUNKED + b"fffffffffffffffff\r\nabc", 400),
    ("chunk longer than its size", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    ("chunk without its end", CHUNKED + b"3\r\nabc0\r\n\r\n", 400),
    ("chunk extension with a bare LF", CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400),
    ("chunk extension without end", CHUNKED + b"3;" + b"x" * (MAX_CHUNK_EXCESS + 5000), 400),
    ("trailers without end", CHUNKED + b"0\r\n" + b"X: y\r\n" * 150, 431),
    ("large trailer", CHUNKED + b"0\r\nX: " + b"y" * (MAX_CHUNK_EXCESS + 1) + b"\r\n\r\n", 431),
    ("HTTP/2.0 as text", b"GET / HTTP/2.0\r\nHost: gw\r\n\r\n", 505),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("HTTP/0.9", b"GET /\r\n\r\n", 400),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: gw\r\n\r\n", 505),
    ("HTTP/3.0", b"GET / HTTP/3.0\r\nHost: gw\r\n\r\n", 505),
    ("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: gw\r\n\r\n", 400),
    ("space at the end of the request line", b"GET / HTTP/1.1 \r\nHost: gw\r\n\r\n", 400),
    ("tab in the target", b"GET /a\tb HTTP/1.1\r\nHost: gw\r\n\r\n", 400),
    ("target that is not ASCII", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: gw\r\n\r\n", 400),
    ("target without a slash", b"GET a HTTP/1.1\r\nHost: gw\r\n\r\n", 400),
    ("CONNECT", b"CONNECT gw:80 HTTP/1.1\r\nHost: gw:80\r\n\r\n", 501),
    ("method with a bad character", b"G(T / HTTP/1.1\r\nHost: gw\r\n\r\n", 400),
    ("method that is not ASCII", b"G\xc3\x89T / HTTP/1.1\r\nHost: gw\r\n\r\n", 400),
    ("method with a tab behind it", b"FROB\t/ HTTP/1.1\r\nHost: gw\r\n\r\n", 400),
    ("method behind a blank", b" GET / HTTP/1.1\r\nHost: gw\r\n\r\n", 400),
    ("a greeting for a method", b"SSH-2.0-OpenSSH_9.6\r\n", 400),
    ("TLS for a method", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)), 400),
    ("long method", b"F" * 65 + b" / HTTP/1.1\r\nHost: gw\r\n\r\n", 501),
    ("unknown method behind another request", GET + b"\r\nFROB / HTTP/1.1\r\nHost: gw\r\n\r\n", 501),
    ("long target", b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: gw\r\n\r\n", 414),
    ("target without end", b"GET /" + b"x" * 80_000, 414),
    ("many headers", GET + b"X: y\r\n" * 300 + b"\r\n", 431),
    ("headers without end", GET + b"X: y\r\n" * 20_000, 431),
    ("large header", GET + b"X: " + b"y" * 70_000 + b"\r\n\r\n", 431),
    ("header without end", GET + b"X: " + b"y" * 70_000, 431),
    ("bytes behind a request that closes", GET + b"Connection: close\r\n\r\nGET /next HTTP/1.1\r\n", 400),
    ("nonsense behind a request", GET + b"\r\nnonsense\r\n\r\n", 501),
    ("more pipelined requests than one read may bring", (GET + b"\r\n") * (MAX_PIPELINED + 1), 503),
])
def test_a_malformed_request_is_refused_and_nothing_is_read_after_it(what: str, data: bytes, status: int) -> None:
    whole = read(data)
    assert status == whole.status, what
    assert whole.told() == whole.feed([GET + b"\r\n"]).told()
    if len(data) < 3_000 and status != 501 and "method" not in what and "preface" not in what:  # what comes with it counts
        assert read(data).status == read(data, 1).status, "byte by byte"


@pytest.mark.parametrize(("what", "data", "path", "host"), [
    ("an empty line before it", b"\r\n" + GET + b"\r\n", b"/", b"gw"),
    ("marks that browsers leave as they are", b"GET /[x]|{}?[]|^ HTTP/1.1\r\nHost: gw\r\n\r\n", b"/[x]|{}", b"gw"),
    ("HTTP/1.0 without Host", b"GET /x HTTP/1.0\r\n\r\n", b"/x", None),
    ("white space around a value", b"GET / HTTP/1.1\r\nHost: \t gw \t\r\n\r\n", b"/", b"gw"),
    ("a large header", GET + b"X: " + b"y" * 60_000 + b"\r\n\r\n", b"/", b"gw"),
])
def test_what_is_merely_unusual_passes(what: str, data: bytes, path: bytes, host: bytes | None) -> None:
    for found in (read(data), read(data, 1)):
        [request] = found.found
        assert (0, path, host) == (found.status, request.head.path, dict(request.head.headers).get(b"host")), what


@pytest.mark.parametrize("target", ["http://priv/x", "HTTP://priv:80", "ftp://gw/x", "http://me@gw/x", "http:///x", "*"])
def test_a_target_that_is_no_path_is_left_to_admission_with_the_host_as_sent(target: str) -> None:
    [request] = read(f"GET {target}?y HTTP/1.1\r\nHost: gw\r\n\r\n".encode()).found
    assert (target.encode(), b"y", [(b"host", b"gw")]) == (request.head.path, request.head.query, request.head.headers)


def test_empty_lines_may_come_before_any_method() -> None:
    found = read(b"\r\n\r\nFROB /x HTTP/1.1\r\nHost: gw\r\n\r\n")
    assert ([("FROB", b"/x")], 0) == ([(each.head.method, each.head.path) for each in found.found], found.status)


@pytest.mark.parametrize("method", ["PROPFIND", "QUERY", "M-SEARCH", "FROB", "get", "X-1.2", "FLUSH", "PRI"])
def test_any_token_is_a_method(method: str) -> None:
    found = read(b"%b /x HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nokGET /next HTTP/1.1\r\nHost: gw\r\n\r\n" % method.encode())
    assert ([(method, b"ok"), ("GET", b"")], 0) == ([(each.head.method, b"".join(each.pieces)) for each in found.found], found.status)


def test_what_is_pipelined_is_found_in_order_with_bodies_and_trailers() -> None:
    data = (GET + b"\r\n" + POST + b"Content-Length: 3\r\n\r\nabc" + CHUNKED + b"2;x=y\r\nde\r\n1\r\nf\r\n0\r\nX-T: 1\r\n\r\n"
            + b"HEAD /last?q HTTP/1.1\r\nHost: gw\r\n\r\n")
    whole = read(data).told()
    assert [b"", b"abc", b"def", b""] == [each[4] for each in whole]  # type: ignore[index]
    assert [[], [], [(b"x-t", b"1")], []] == [each[6] for each in whole]  # type: ignore[index]


@over_seeds(30)
def test_where_the_bytes_are_cut_changes_nothing(seed: int) -> None:
    random_ = random.Random(seed)
    parts = [GET + b"\r\n", POST + b"Content-Length: 3\r\n\r\nabc", CHUNKED + b"2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
             b"GET http://other/x HTTP/1.1\r\nHost: gw\r\nTE: trailers\r\n\r\n", GET + b"X: " + b"y" * 3_000 + b"\r\n\r\n",
             GET + b"X: a\n\r\n", b"PUT /x HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"]
    data = b"".join(random_.choices(parts, k=random_.randint(1, 12)))
    cuts = sorted(random_.sample(range(len(data)), min(len(data), random_.randint(1, 20))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert (read(data).told(), read(data).status) == ((cut := Requests().feed(pieces)).told(), cut.status)


@over_seeds(30)
def test_a_large_body_ends_where_it_says_wherever_the_bytes_are_cut(seed: int) -> None:
    random_ = random.Random(seed)
    small, sent, wanted = GET + b"\r\n", b"", []
    for _ in range(random_.randint(1, 4)):
        body = random_.randbytes(random_.choice([0, 1, LARGE, LARGE + 1, LARGE + random_.randrange(300_000)]))
        sent += b"POST /x HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n\r\n" % len(body) + body + small * random_.randrange(3)
        wanted.append(body)
    cuts = sorted(random_.sample(range(len(sent)), random_.randint(1, 30)))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    requests = Requests().feed(pieces)
    posts = [each for each in requests.found if each.head.method == "POST"]
    assert (wanted, 0) == ([b"".join(each.pieces) for each in posts], requests.status)
    assert all(each.complete for each in requests.found)
    assert (sent.count(small), False) == (len(requests.found) - len(posts), requests.parser.has_begun)


def test_what_follows_a_large_body_is_looked_at_as_ever() -> None:
    size = LARGE * 2
    head = b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: %d\r\n" % size
    for behind in (b"GET / HTTP/1.1\nHost: gw\r\n\r\n", b"GET / HTTP/1.1\r\nX : y\r\n\r\n", GET + b"X: a\r\n b\r\n\r\n"):
        requests = Requests().feed([head + b"\r\n", b"x" * (size - 1), b"x" + behind])
        assert ([True], 400) == ([each.complete for each in requests.found], requests.status)
    closing = Requests().feed([head + b"Connection: close\r\n\r\n", b"x" * size, GET + b"\r\n"])
    assert (1, 400) == (len(closing.found), closing.status)
    unknown = Requests().feed([head + b"\r\n", b"x" * size, b"BREW / HTTP/1.1\r\nHost: gw\r\n\r\n"])
    assert ["POST", "BREW"] == [each.head.method for each in unknown.found]
    short = Requests().feed([head + b"\r\n", b"x" * (size - 1)])
    assert (False, size - 1, True) == (short.found[0].complete, short.found[0].buffered, short.parser.has_begun)


def test_many_small_chunks_are_no_excess_and_long_extensions_are() -> None:
    requests = read(CHUNKED).feed([b"1\r\nx\r\n" * 20_000] * 5)
    assert (0, 100_000) == (requests.status, requests.found[0].buffered)
    assert 400 == requests.feed([b"1;%b\r\nx\r\n" % (b"e" * 200)] * 200).status


def test_what_a_client_asks_of_its_connection_is_seen_in_http_1_1_only() -> None:
    asks = b"Host: gw\r\nConnection: upgrade, te\r\nUpgrade: WebSocket, foo/2\r\nTE: gzip, Trailers\r\nExpect: 100-continue\r\n\r\n"
    found = read(b"GET / HTTP/1.1\r\n" + asks + b"bytes")
    hop = found.found[0].hop
    assert hop is not None
    assert ([b"websocket", b"foo/2"], True, True, b"bytes") == (
        hop.upgrade, hop.takes_trailers, found.found[0].expects_continue, found.parser.leftover)
    [old] = read(b"GET / HTTP/1.0\r\n" + asks).found
    assert (None, False) == (old.hop, old.expects_continue)


def test_an_upgrade_that_came_to_nothing_is_followed_by_requests() -> None:
    requests = read(GET + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + POST + b"Content-Length: 1\r\n\r\nx")
    assert 1 == len(requests.found)
    requests.parser.resume()
    assert ["GET", "POST"] == [each.head.method for each in requests.found]
