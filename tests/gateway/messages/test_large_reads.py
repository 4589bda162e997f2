"""What large bodies are read into: never memory of which anybody still has a view."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, cast

from resilience.gateway.logs.observed_request import ObservedRequest
from resilience.gateway.messages.exchange import Piece
from resilience.gateway.messages.large_reads import COPIED, KEPT, SIZE, LargeReads, ReadMemory


class Transport(asyncio.Transport):
    """Is only asked for its protocol."""

    protocol: Any

    def get_protocol(self) -> Any:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


class Reader(asyncio.Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.told: list[Any] = []

    def data_received(self, data: Piece) -> None:
        self.pieces.append(data)

    def eof_received(self) -> bool:
        self.told.append("end")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


def reading(left: int, memory: ReadMemory | None = None) -> tuple[LargeReads, Transport, Reader]:
    transport, reader = Transport(), Reader()
    transport.protocol = reader
    return LargeReads(transport, left, memory or ReadMemory()), transport, reader


def read(reads: LargeReads, data: bytes) -> None:
    """As an event loop does it."""
    reads.get_buffer(-1)[:len(data)] = data
    reads.buffer_updated(len(data))


def test_memory_is_read_into_again_when_no_view_of_it_is_left_and_not_before() -> None:
    memory = ReadMemory()
    first = memory.free()
    assert memory.free() is first
    piece = memoryview(first)[5:9]
    second = memory.free()
    of_second = memoryview(second)
    assert not any(memory.free() is each for each in (first, second))
    a_slice = piece[1:2]
    piece.release()
    assert memory.free() is not first
    a_slice.release()
    of_second.release()
    assert memory.free() is first
    assert (SIZE, SIZE) == (len(first), len(second))


def test_more_memory_than_is_kept_is_only_lent() -> None:
    memory = ReadMemory()
    views = [memoryview(memory.free()) for _ in range(KEPT + 3)]
    kept = memory._kept
    assert KEPT == len(kept)
    del views[:]
    assert kept[0] is memory.free()


def test_pieces_that_are_kept_stay_as_they_were_read() -> None:
    reads, _, reader = reading(8 * SIZE)
    for mark in b"abcdefg":
        read(reads, bytes([mark]) * SIZE)
    assert [bytes([mark]) * SIZE for mark in b"abcdefg"] == [bytes(piece) for piece in reader.pieces]


def test_small_pieces_are_copied_so_that_they_hold_no_large_memory() -> None:
    memory = ReadMemory()
    reads, _, reader = reading(8 * SIZE, memory)
    read(reads, b"x" * COPIED)
    read(reads, b"y" * COPIED)
    assert [b"x" * COPIED, b"y" * COPIED] == reader.pieces
    assert 1 == len(memory._kept)


def test_nothing_behind_the_body_is_read_and_the_protocol_comes_back_at_its_end() -> None:
    reads, transport, reader = reading(SIZE + 10)
    read(reads, bytes(SIZE))
    assert (reads, 10) == (transport.protocol, len(reads.get_buffer(-1)))
    read(reads, b"0123456789")
    assert (reader, b"0123456789") == (transport.protocol, reader.pieces[-1])


def test_what_else_happens_to_the_connection_is_told_to_its_protocol() -> None:
    reads, _, reader = reading(SIZE)
    lost = ConnectionResetError()
    reads.pause_writing()
    reads.resume_writing()
    assert reads.eof_received()
    reads.connection_lost(lost)
    assert ["pause", "resume", "end", lost] == reader.told


def test_who_reads_an_answer_on_its_way_gets_bytes() -> None:
    class Inbound:
        head = hop = None

        def write(self, piece: Piece) -> Piece:
            return piece

    class AnswerReader:
        kinds: ClassVar = list[type]()

        def piece(self, data: bytes) -> None:
            self.kinds.append(type(data))

    observed, piece = ObservedRequest(cast("Any", Inbound()), lambda: 0.0), memoryview(b"abc")
    observed.readers = (cast("Any", AnswerReader()),)
    assert observed.write(piece) is piece
    assert ([bytes], 3) == (AnswerReader.kinds, observed.sent)
