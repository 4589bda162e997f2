"""The encoder of HTTP/2 took whatever size of its table the other end allowed, and looked for each header through it.

A client that allowed 2 GiB made each answer with new values slower than the last, for all clients of its worker. What
was made smaller twice before an answer was not told at all, so that a strict peer ended the connection.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from h2.events import ResponseReceived
from h2.settings import SettingCodes
from hpack import Decoder

from resilience.gateway.front.http2 import Http2Connection
from resilience.gateway.http2.wire import TABLE_BYTES, TableEncoder
from resilience.gateway.messages.inbound import Inbound
from tests.gateway.front.serving import Serving, serving
from tests.gateway.front.test_http2 import Raw, raw
from tests.gateway.http2.peer import Connection, a_client, answers, asked, peer
from tests.seeds import over_seeds

LARGEST = 2**31 - 1


class Counting:
    """Answers with headers that no answer had before."""

    def __init__(self) -> None:
        self.answers = 0

    async def __call__(self, inbound: Inbound) -> None:
        self.answers += 1
        await inbound.respond(200, [(b"etag", b'"%064d"' % self.answers), (b"x-same", b"same")], b"")


def encoder_of(front: Serving) -> Any:
    connection = next(iter(front.front._connections))
    assert isinstance(connection, Http2Connection)
    return connection._h2.encoder


async def told(client: Raw, size: int, *, wait: bool = True) -> None:
    client.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: size})
    client.flush()
    if wait:
        await client.hear(lambda: client.h2.local_settings.header_table_size == size)


async def etag(client: Raw) -> bytes:
    number = client.ask()
    await client.answer(number)
    return bytes(dict(client.of(ResponseReceived, number)[0].headers)[b"etag"])


async def test_a_client_that_allows_a_huge_table_gets_a_small_one_and_reads_every_answer() -> None:
    async with serving(Counting()) as front:
        client = await raw(front)
        await told(client, LARGEST)
        assert [b'"%064d"' % each for each in range(1, 201)] == [await etag(client) for _ in range(200)]
        table = encoder_of(front).header_table
        assert TABLE_BYTES == table.maxsize
        assert len(table.dynamic_entries) <= TABLE_BYTES // 32


@pytest.mark.parametrize("sizes", [(100, LARGEST), (LARGEST, 0, LARGEST), (0, 0), (64, 64, 4096), (0, 100, 64)])
@pytest.mark.parametrize("wait", [True, False])
async def test_answers_can_be_read_after_any_changes_one_after_the_other_or_at_once(
        sizes: tuple[int, ...], *, wait: bool) -> None:
    async with serving(Counting()) as front:
        client = await raw(front)
        for size in sizes:
            await told(client, size, wait=wait)
        assert [b'"%064d"' % each for each in range(1, 5)] == [await etag(client) for _ in range(4)]


@pytest.mark.parametrize("size", [0, 100, 4096, LARGEST])
async def test_an_upstream_may_allow_a_table_of_any_size(size: int) -> None:
    async with peer(answers, HEADER_TABLE_SIZE=size) as there, a_client() as client:
        assert [(200, b"ok")] * 3 == [await asked(client, there) for _ in range(3)]


async def test_an_upstream_may_change_the_size_of_its_table_and_finds_none_used() -> None:
    def change(connection: Connection, number: int) -> None:
        connection.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: 0 if number % 4 == 1 else 8192})
        connection.answer(number)

    async with peer(change) as there, a_client() as client:
        assert [(200, b"ok")] * 6 == [await asked(client, there) for _ in range(6)]
        assert not client._pools[there.endpoint].connections[0]._h2.encoder.header_table.dynamic_entries


@over_seeds(200)
def test_a_strict_decoder_follows_any_history_of_sizes_and_fields(seed: int) -> None:
    draw = random.Random(seed)
    most = draw.choice((0, 100, TABLE_BYTES))
    encoder, decoder = TableEncoder(most, huffman=draw.random() < 0.5), Decoder()
    for _ in range(40):
        for _ in range(draw.randrange(3)):
            size = draw.choice((0, 64, 100, 4096, LARGEST))
            encoder.header_table_size = decoder.max_allowed_table_size = size
            assert encoder.header_table_size <= min(size, most)
        fields = [(b"x-%d" % draw.randrange(3), b"v%d" % draw.randrange(5)) for _ in range(draw.randrange(1, 5))]
        assert fields == [(bytes(name), bytes(value)) for name, value in decoder.decode(encoder.encode(fields), raw=True)]
        assert list(encoder.header_table.dynamic_entries) == list(decoder.header_table.dynamic_entries)
