"""A tunnel reads no more than the other side takes, whatever had come before it began: random histories of two transports."""

from __future__ import annotations

import asyncio
import random

from resilience.gateway.messages.tunnel import CLOSE_S, Tunnel, TunnelEnd
from resilience.testing import virtual_time
from tests.seeds import over_seeds

HIGH, LOW, PIECE = 64 * 1024, 16 * 1024, 16 * 1024


class Transport(asyncio.Transport):
    """A transport whose other end sends while it is read, and takes when it is told to."""

    def __init__(self, source: random.Random) -> None:
        super().__init__()
        self.source = source
        self.protocol: asyncio.Protocol = asyncio.Protocol()
        self.waiting, self.taken, self.sent = bytearray(), bytearray(), bytearray()
        self.reads, self.is_full, self.most, self.has_failed = False, False, 0, False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.has_failed

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def abort(self) -> None:
        pass

    def write(self, data: object) -> None:
        assert isinstance(data, bytes)
        assert not self.has_failed, "asyncio warns of it in the log"
        self.waiting += data
        self.most = max(self.most, len(self.waiting))
        if len(self.waiting) > HIGH and not self.is_full:
            self.is_full = True
            self.protocol.pause_writing()

    def take(self) -> None:
        size = self.source.choice((1000, HIGH, len(self.waiting)))
        self.taken += self.waiting[:size]
        del self.waiting[:size]
        if self.is_full and len(self.waiting) <= LOW:
            self.is_full = False
            self.protocol.resume_writing()

    def send(self) -> None:
        piece = self.source.randbytes(self.source.randrange(1, PIECE))
        self.sent += piece
        self.protocol.data_received(piece)


@over_seeds(40)
async def test_what_waits_for_a_side_is_bounded_and_all_of_it_comes_in_order(seed: int) -> None:
    source = random.Random(seed)
    ends = []
    for _ in range(2):
        transport = Transport(source)
        if source.random() < 0.3:
            transport.write(bytes(HIGH + 1))  # the head of its answer is still on its way
        transport.sent += source.randbytes(source.choice((0, 10, HIGH, 4 * HIGH)))
        ends.append(TunnelEnd(transport, bytes(transport.sent), False, transport.is_full))
    one, other = (end.transport for end in ends)
    assert isinstance(one, Transport)
    assert isinstance(other, Transport)
    bounds = [len(to.waiting) + len(end.leftover) + HIGH + PIECE for to, end in ((other, ends[0]), (one, ends[1]))]
    before = [len(each.waiting) for each in (other, one)]
    task = asyncio.ensure_future(Tunnel(*ends, idle_s=60.0).run())
    await asyncio.sleep(0)
    for _ in range(300):
        each = source.choice((one, other))
        if source.random() < 0.7:
            while each.reads and source.random() < 0.9:
                each.send()
        else:
            each.take()
    for to, bound in ((other, bounds[0]), (one, bounds[1])):
        assert to.most <= bound
    for _ in range(200):
        one.take()
        other.take()
    assert (one.reads, other.reads) == (True, True), "nobody is held for ever"
    assert bytes(other.taken[before[0]:]) == bytes(one.sent)
    assert bytes(one.taken[before[1]:]) == bytes(other.sent)
    task.cancel()


async def test_nothing_is_written_to_a_side_that_has_failed_though_pieces_still_come_in_that_turn_of_the_loop() -> None:
    one, other = (Transport(random.Random(0)) for _ in range(2))
    task = asyncio.ensure_future(Tunnel(TunnelEnd(one), TunnelEnd(other), idle_s=60.0).run())
    await asyncio.sleep(0)
    one.send()
    other.has_failed = True
    one.send()
    assert other.waiting
    task.cancel()


class Reset(Transport):
    """A transport whose other end has reset it, which shows when its sending is ended."""

    is_cut = False

    def write_eof(self) -> None:
        raise OSError(107, "Transport endpoint is not connected")

    def abort(self) -> None:
        self.is_cut = True


async def test_a_side_that_turns_out_to_be_reset_when_the_other_s_end_is_passed_on_is_cut_and_nothing_is_raised() -> None:
    for had_ended in (False, True):
        one, other = Transport(random.Random(0)), Reset(random.Random(0))
        task = asyncio.ensure_future(Tunnel(TunnelEnd(one, ended=had_ended), TunnelEnd(other), idle_s=60.0).run())
        await asyncio.sleep(0)
        assert had_ended or one.protocol.eof_received()
        assert (True, False) == (other.is_cut, task.done())
        task.cancel()


async def whose_upstream_has_ended(idle_s: float) -> tuple[Transport, asyncio.Future[None]]:
    """The client, which has yet to take something, of a tunnel, and that."""
    client, upstream = (Transport(random.Random(1)) for _ in range(2))
    running = asyncio.ensure_future(Tunnel(TunnelEnd(client), TunnelEnd(upstream), idle_s).run())
    await asyncio.sleep(0)
    upstream.send()
    upstream.protocol.eof_received()
    return client, running


def test_after_the_upstreams_end_a_client_is_waited_for_while_it_takes_or_speaks_and_no_longer() -> None:
    async def main() -> None:
        loop, (client, running) = asyncio.get_running_loop(), await whose_upstream_has_ended(idle_s=300.0)
        for _ in range(10):  # it takes what was sent, slowly
            await asyncio.sleep(CLOSE_S)
            assert not running.done()
            del client.waiting[:100]
        client.waiting.clear()
        for _ in range(10):
            client.send()
            await asyncio.sleep(CLOSE_S - 0.1)
            assert not running.done()
        began = loop.time()
        await running
        assert loop.time() - began <= 2 * CLOSE_S

    virtual_time(main())


def test_a_client_that_takes_nothing_after_the_upstreams_end_has_no_longer_than_a_silent_tunnel() -> None:
    async def main() -> None:
        loop, (_, running) = asyncio.get_running_loop(), await whose_upstream_has_ended(idle_s=62.0)
        began = loop.time()
        await running
        assert loop.time() - began == 62.0

    virtual_time(main())
