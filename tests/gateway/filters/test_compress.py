"""Answers that are compressed on their way: in pieces, and byte for byte on the wire."""

import asyncio
import gzip
import json
import random
import zlib

import httpx
import pytest

from resilience import Registry
from resilience.gateway import Gateway
from resilience.gateway.config import load
from resilience.gateway.filters.compress import INLINE_BYTES, CompressedInbound, CompressFilter
from resilience.gateway.filters.context import FilterContext, FilterRequest, FilterResponse
from resilience.gateway.messages.exchange import Request
from resilience.gateway.messages.inbound import RequestHead
from tests.gateway.harness import Upstream, everything, parsed, running
from tests.seeds import over_seeds

TEXT = b"the quick brown fox jumps over the lazy dog. " * 100
GZIP = "Accept-Encoding: gzip\r\n"


class Taking:
    """An Inbound that keeps what it is sent."""

    hop = None
    trailers = ()

    def __init__(self, method="GET", accepts=b"gzip"):
        self.head = RequestHead(method, b"/", b"", "1.1", "http", [(b"accept-encoding", accepts)], None, None)
        self.headers, self.body, self.sent_trailers = None, b"", None

    async def respond(self, status, headers, body):
        self.headers, self.body = dict(headers), body

    async def start(self, status, headers):
        self.headers = dict(headers)

    async def write(self, piece):
        self.body += piece

    async def end(self, piece, trailers=()):
        self.body += piece
        self.sent_trailers = trailers


def compressed(inner, *, headers=((b"content-type", b"text/plain"),), **settings):
    """The way back to *inner*, as a filter with these settings has it."""
    request = FilterRequest(inner.head, Request(method="GET", target=b"/", host=None, headers=[]), b"/", b"", {})
    context = FilterContext(request, "route", "up", None, None)
    context.response = FilterResponse(200, list(headers), None, is_ours=False)
    CompressFilter(**settings).bind(None)(context)
    return CompressedInbound(inner, context), list(headers)


@over_seeds(40)
async def test_however_a_body_is_cut_all_that_has_come_can_be_read_at_once(seed):
    rng = random.Random(seed)
    inner = Taking()
    way, headers = compressed(inner, level=rng.randint(1, 9))
    await way.start(200, headers)
    reader, body, read = zlib.decompressobj(31), b"", b""
    for _ in range(rng.randint(0, 6)):
        piece = rng.choice([b"", b"x", rng.randbytes(50), TEXT, rng.randbytes(INLINE_BYTES * 2), TEXT * 10])
        body += piece
        seen = len(inner.body)
        await way.write(piece)
        read += reader.decompress(inner.body[seen:])
        assert read == body
    seen = len(inner.body)
    await way.end(b"end", [(b"repr-digest", b"x"), (b"x-sum", b"1")])
    assert read + reader.decompress(inner.body[seen:]) == body + b"end"
    assert (reader.eof, reader.unused_data, inner.sent_trailers) == (True, b"", [(b"x-sum", b"1")])


async def test_an_empty_body_of_unknown_length_is_an_empty_file_of_gzip():
    inner = Taking()
    way, headers = compressed(inner)
    await way.start(200, headers)
    await way.write(b"")
    assert inner.body == b""
    await way.end(b"")
    assert (gzip.decompress(inner.body), inner.headers[b"content-encoding"]) == (b"", b"gzip")


async def test_a_body_that_is_there_is_sent_with_its_length_and_a_small_one_as_it_is():
    inner = Taking()
    way, headers = compressed(inner, min_size=len(TEXT))
    await way.respond(200, headers, TEXT)
    assert (gzip.decompress(inner.body), int(inner.headers[b"content-length"])) == (TEXT, len(inner.body))
    small = Taking()
    way, headers = compressed(small, min_size=len(TEXT) + 1)
    await way.respond(200, headers, TEXT)
    assert (small.body, b"content-encoding" in small.headers, small.headers[b"vary"]) == (TEXT, False, b"Accept-Encoding")


async def test_while_a_large_piece_is_compressed_the_event_loop_goes_on():
    inner, turns = Taking(), 0
    way, headers = compressed(inner, level=9)
    await way.start(200, headers)
    body = b"".join(b"%d" % number for number in range(100_000))
    under_way = asyncio.ensure_future(way.write(body))
    while not under_way.done():
        await asyncio.sleep(0)
        turns += 1

    assert turns > 10
    await way.end(b"")
    assert gzip.decompress(inner.body) == body


async def test_an_answer_that_is_cut_while_a_thread_compresses_gives_the_thread_back():
    settings = CompressFilter()
    compressor = settings.bind(None)
    for _ in range(10):
        cut = asyncio.ensure_future(compressor.begin().add(TEXT * 1000))
        await asyncio.sleep(0)
        cut.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cut
    whole = await compressor.begin().add(TEXT * 10, is_last=True)
    assert gzip.decompress(whole) == TEXT * 10
    compressor.close()
    assert gzip.decompress(await compressor.begin().add(TEXT * 10, is_last=True)) == TEXT * 10
    compressor.close()


# -- on the wire

CONFIG = """
filters = ["small"]
[services.up]
endpoints = ["{url}"]
command.breaker = false
[filters.small]
use = "compress"
[filters.events]
use = "compress"
types = ["text/event-stream"]
[filters.tokens]
use = "rate_limit"
rate = 1000000
per = 86400
by = ["route"]
answer_pointer = ["/cost"]
[compositions.page]
parts = {{ a = {{ service = "up", path = "/part" }}, b = {{ service = "up", path = "/part" }} }}
[filters.checked]
use = "json_body"
response = {{ set = {{ "/added" = 1 }} }}
[[routes]]
path = "/*"
service = "up"
[[routes]]
path = "/events"
service = "up"
filters = ["events"]
skip_filters = ["small"]
[[routes]]
path = "/page"
compose = "page"
[[routes]]
path = "/costs"
service = "up"
filters = ["tokens"]
[[routes]]
path = "/changed"
service = "up"
filters = ["checked"]
[[routes]]
path = "/plain"
service = "up"
skip_filters = ["small"]
"""


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    with running(tmp_path_factory.mktemp("compress"), CONFIG.format(url=upstream.url)) as made:
        yield made


def answer(body, headers=b"", status=b"200 OK", kind=b"text/plain"):
    return b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, kind, len(body), headers, body)


def chunked(body):
    return b"%x\r\n%b\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def unchunked(body):
    plain = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        plain, body = plain + body[:int(size, 16)], body[int(size, 16) + 2:]
    return plain


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n"


def test_an_answer_is_compressed_for_those_who_take_it_and_varies_for_all(gateway, upstream):
    sent = answer(TEXT, b'ETag: "1"\r\nVary: Origin\r\nAccept-Ranges: bytes\r\nContent-MD5: x\r\n')
    upstream.on("/text", lambda call: call.send(sent))

    status, headers, body = gateway.get("/text", headers=GZIP)
    assert (status, gzip.decompress(body), headers["etag"]) == (200, TEXT, 'W/"1"')
    assert headers["content-encoding"] == "gzip"
    assert headers["vary"] == "Origin, Accept-Encoding"
    assert (int(headers["content-length"]), "accept-ranges" in headers, "content-md5" in headers) == (len(body), False, False)
    for refused in ("", "Accept-Encoding: identity\r\n", "Accept-Encoding: gzip;q=0\r\n", GZIP + "Cache-Control: no-transform\r\n"):
        status, headers, body = gateway.get("/text", headers=refused)
        assert (status, body, headers["etag"], headers["accept-ranges"]) == (200, TEXT, '"1"', "bytes")
        assert headers["vary"] == ("Origin" if "no-transform" in refused else "Origin, Accept-Encoding")


@pytest.mark.parametrize("sent", [
    answer(TEXT, kind=b"image/png"), answer(TEXT[:1023]), answer(TEXT, b"Content-Encoding: br\r\n"),
    answer(TEXT, b"Cache-Control: no-transform\r\n"), answer(TEXT, b"Content-Range: bytes 0-4499/9999\r\n", b"206 Partial Content"),
    answer(TEXT, kind=b"application/grpc"), answer(TEXT, kind=b"text/event-stream")])
def test_what_is_not_to_be_compressed_passes_byte_for_byte(gateway, upstream, sent):
    upstream.on("/as-it-is", lambda call: call.send(sent))
    _, wanted, body = parsed(sent)
    found = gateway.get("/as-it-is", headers=GZIP)
    assert (found[2], found[1].get("content-encoding"), found[1]["content-length"]) == (
        body, wanted.get("content-encoding"), wanted["content-length"])


def test_the_head_of_an_answer_is_the_same_for_head_and_what_is_not_modified_says_on_what_it_depends(gateway, upstream):
    upstream.on("/head", lambda call: call.send(answer(TEXT, b'ETag: "1"\r\n').partition(TEXT)[0]))
    upstream.on("/same", lambda call: call.send(b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'))

    status, headers, body = gateway.get("/head", method="HEAD", headers=GZIP)
    assert (status, headers["content-encoding"], headers["etag"], body) == (200, "gzip", 'W/"1"', b"")
    assert "content-length" not in headers
    status, headers, body = gateway.get("/same", headers=GZIP + 'If-None-Match: W/"1"\r\n')
    assert (status, headers["etag"], headers["vary"], body) == (304, 'W/"1"', "Accept-Encoding", b"")
    assert "content-encoding" not in headers


def test_an_event_is_sent_at_once_where_event_streams_are_compressed(gateway, upstream):
    def script(call):
        call.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        call.until_closed()

    upstream.on("/events", script)
    with gateway.connect() as client:
        client.sendall(b"GET /events HTTP/1.0\r\nHost: gw\r\nAccept-Encoding: gzip\r\n\r\n")
        data = b""
        while b"data: 1\n\n" not in zlib.decompressobj(31).decompress(data.partition(b"\r\n\r\n")[2]):
            data += client.recv(65536)
    assert b"content-encoding: gzip" in data


def test_trailers_stay_and_a_body_that_breaks_off_has_no_end(gateway, upstream):
    trailers = b"x-sum: 1\r\nrepr-digest: sha-256=:x:\r\n"
    upstream.on("/trailers", lambda call: call.send(CHUNKED + b"\r\n" + chunked(TEXT) + b"0\r\n" + trailers + b"\r\n"))
    upstream.on("/broken", CHUNKED + b"\r\n" + chunked(TEXT))

    reply = gateway.raw(b"GET /trailers HTTP/1.1\r\nHost: gw\r\nConnection: close, TE\r\nTE: trailers\r\nAccept-Encoding: gzip\r\n\r\n")
    assert reply.endswith(b"\r\n0\r\nx-sum: 1\r\n\r\n")
    _, headers, body = gateway.get("/broken", headers=GZIP)
    assert (headers["transfer-encoding"], body.endswith(b"0\r\n\r\n")) == ("chunked", False)
    reader = zlib.decompressobj(31)
    assert (reader.decompress(unchunked(body)), reader.eof) == (TEXT, False)


def test_a_large_answer_is_compressed_in_flat_memory(gateway, upstream):
    megabyte, size = bytes(1 << 20), 64

    def script(call):
        call.send(CHUNKED + b"\r\n")
        for _ in range(size):
            call.send(chunked(megabyte))
        call.send(chunked(b""))

    upstream.on("/large", script)
    gateway.get("/text")
    before, reader, read = gateway.rss_kib(), zlib.decompressobj(31), 0
    with gateway.connect() as client:
        client.sendall(b"GET /large HTTP/1.0\r\nHost: gw\r\nAccept-Encoding: gzip\r\n\r\n")
        data = everything(client, b"\r\n\r\n").partition(b"\r\n\r\n")[2]
        read += len(reader.decompress(data))
        while data := client.recv(65536):
            read += len(reader.decompress(data))
    assert (read, reader.eof) == (size << 20, True)
    assert gateway.rss_kib() - before < 24_000


def test_compositions_errors_and_changed_answers_are_compressed_too(gateway, upstream):
    part = json.dumps({"text": TEXT.decode()}).encode()
    upstream.on("/part", lambda call: call.send(answer(part, kind=b"application/json")))
    upstream.on("/changed", lambda call: call.send(answer(gzip.compress(part), b"Content-Encoding: gzip\r\n", kind=b"application/json")))
    upstream.on("/error", lambda call: call.send(answer(TEXT, status=b"404 Not Found")))

    _, headers, body = gateway.get("/page", headers=GZIP)
    assert (headers["content-encoding"], json.loads(gzip.decompress(body))["b"]["text"]) == ("gzip", TEXT.decode())
    _, headers, body = gateway.get("/changed", headers=GZIP)
    assert (headers["content-encoding"], json.loads(gzip.decompress(body))["added"]) == ("gzip", 1)
    status, headers, body = gateway.get("/error", headers=GZIP)
    assert (status, headers["content-encoding"], gzip.decompress(body)) == (404, "gzip", TEXT)


def test_what_an_answer_costs_is_read_before_it_is_compressed(gateway, upstream):
    cost = json.dumps({"cost": 1000, "text": TEXT.decode()}).encode()
    upstream.on("/costs", lambda call: call.send(answer(cost, kind=b"application/json")))

    left = [int(gateway.get("/costs", headers=GZIP)[1]["ratelimit"].partition("r=")[2].partition(";")[0]) for _ in range(2)]
    assert left[0] - left[1] >= 900


def test_a_route_without_the_filter_is_left_alone(gateway, upstream):
    upstream.on("/plain", lambda call: call.send(answer(TEXT)))
    _, headers, body = gateway.get("/plain", headers=GZIP)
    assert (body, "vary" in headers) == (TEXT, False)


def test_a_client_of_http2_gets_it_as_well(gateway, upstream):
    upstream.on("/http2", lambda call: call.send(CHUNKED + b"\r\n" + chunked(TEXT) + chunked(b"")))
    with httpx.Client(http1=False, http2=True) as client:
        reply = client.get(f"http://127.0.0.1:{gateway.port}/http2")
    assert (reply.headers["content-encoding"], reply.content) == ("gzip", TEXT)


async def test_it_works_for_an_embedded_gateway(tmp_path, upstream):
    file = tmp_path / "g.toml"
    table, _, rest = CONFIG.format(url=upstream.url).partition("[services")
    file.write_text(f"[gateway]\n{table}[services{rest}")
    upstream.on("/embedded", lambda call: call.send(answer(TEXT)))
    app = Gateway(load(str(file)), registry=Registry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gw") as client:
        reply = await client.get("/embedded")
    app.close()
    assert (reply.headers["content-encoding"], reply.content) == ("gzip", TEXT)
