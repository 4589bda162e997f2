"""Before its first event, all of a stream was read anew with each piece that came, and decompressed anew.

64 KiB of what keeps a connection open, in pieces of a few bytes, took several seconds of the event loop; and a long line
was searched for its end from its beginning with each piece.
"""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib

import pytest

from resilience.gateway.answers.held_answers import _first_event_in
from resilience.gateway.messages import event_stream
from resilience.gateway.messages.content import ContentDecoder, beginning
from resilience.gateway.messages.event_stream import _LINE_END, EventStreamReader, first_event
from tests.gateway.harness import parsed
from tests.seeds import over_seeds

from .gateway_parts import asked, configured, served, upstream

STREAM, GZIP = (b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")


class Counting:
    """The end of a line, and how many bytes were searched for it."""

    searched = 0

    def search(self, text: bytes) -> object:
        self.searched += len(text)
        return _LINE_END.search(text)

    def split(self, text: bytes) -> list[bytes]:
        self.searched += len(text)
        return _LINE_END.split(text)


def test_a_long_line_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting()
    monkeypatch.setattr(event_stream, "_LINE_END", counting)
    reader = EventStreamReader()
    for piece in [b"data: ", *[b"and on and on"] * 2000]:
        assert list(reader.events(piece)) == []
    (event,) = reader.events(b"\n\n")
    assert len(event.data) == 26_000
    assert counting.searched < 3 * 26_000


@over_seeds(30)
def test_pieces_say_what_the_whole_says(seed: int) -> None:
    random_ = random.Random(seed)
    text = b"".join(random_.choice([b":\n\n", b"\r\n", b"\r", b"data: x\n", b"event: y\n", b"data", b"\xef\xbb\xbf", b"id\n\n"])
                    for _ in range(random_.randint(1, 30)))
    coded = random_.random() < 0.6
    body = b"".join(gzip.compress(text[at : at + 9]) for at in range(0, len(text), 9)) if coded else text
    if random_.random() < 0.2:
        body = body[: random_.randrange(len(body) + 1)] + random_.choice([b"", b"\x1f", b"junk\n\n"])
    headers = [STREAM, *([GZIP] if coded else [])]
    decoder, has_come, whole = ContentDecoder(headers, 1000), _first_event_in(headers), b""
    is_known, was_there = True, False
    for at in range(len(body)):
        said = decoder.piece(body[at : at + 1])
        is_known = is_known and said is not None
        whole += said or b""
        before = beginning(body[: at + 1], headers, 1000)
        if is_known:
            assert whole == before
        if not was_there:
            was_there = has_come(body[at : at + 1])
            assert was_there is (first_event(whole) is not None if is_known else True)


def test_a_coding_that_is_not_known_is_any_byte() -> None:
    for headers in ([STREAM, (b"content-encoding", b"br")], [STREAM, GZIP, GZIP]):
        assert ContentDecoder(headers, 10).piece(b"x") is None
        assert _first_event_in(headers)(b"x")
        assert not _first_event_in(headers)(b"")
    decoder = ContentDecoder([GZIP], 10)
    assert decoder.piece(gzip.compress(b"x" * 1000)) == b"x" * 10
    assert ContentDecoder([GZIP], 10).piece(gzip.compress(b"") * 101) is None


@pytest.mark.parametrize("is_coded", [False, True])
async def test_the_first_event_is_found_behind_what_keeps_a_stream_open(is_coded: bool) -> None:
    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        packer = zlib.compressobj(wbits=31)
        coding = b"Content-Encoding: gzip\r\n" if is_coded else b""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n" + coding + b"\r\n")
        for text in [b":\n\n"] * 20 + [b"data: 1\n\n"]:
            writer.write(packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH) if is_coded else text)
            await asyncio.sleep(0)
        writer.write(packer.flush() if is_coded else b"")
        writer.close()

    async with upstream(script) as url, served(configured({"endpoints": [url], "first_item": 10.0})) as (_, front):
        status, _, body = parsed(await front.ask(asked("/x", "Accept-Encoding: gzip")))
    assert status == 200
    assert is_coded or b"data: 1" in body
