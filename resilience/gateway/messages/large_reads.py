"""LargeReads: the rest of a large body, read in few and large pieces, which nobody copies.

uvloop reads 250 KiB at once, and copies it into new memory. Of a body that goes past the parsers (framing.large_rest)
twice as much is read at once, and a piece is the very memory that it was read into. That is read into again when no
view of it is left, wherever the piece went: into a list, a slice of it, the buffer of a transport.

What a slow client sends comes in small pieces. Those are copied, so that few connections have such memory.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

SIZE: Final = 512 * 1024
COPIED: Final = 128 * 1024  # pieces up to this size
#: Pieces of memory that are kept: with more bodies that come at once, each further piece is read into new memory.
KEPT: Final = 16


class ReadMemory:
    """The memory that large bodies are read into. For one event loop."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def free(self) -> bytearray:
        """A piece of memory that nobody has a view of."""
        memory = next(filter(_is_free, self._kept), None)
        if memory is None:
            memory = bytearray(SIZE)
            if len(self._kept) < KEPT:
                self._kept.append(memory)
        return memory


def _is_free(memory: bytearray) -> bool:
    """Whether nobody has a view of it: as long as anybody has, its size cannot change."""
    try:
        memory.append(memory.pop())
    except BufferError:
        return False
    return True


class LargeReads(asyncio.BufferedProtocol):
    """Takes the place of a transport's protocol until so many bytes were read, and gives that what it has read."""

    def __init__(self, transport: asyncio.Transport, left: int, memory: ReadMemory) -> None:
        """Begin.

        Args:
            transport: The data_received() of its protocol takes views, too, and may keep them for as long as it likes.
            left: Bytes that are to come; none beyond them is read.
            memory: Of the event loop.
        """
        self._protocol: Any = transport.get_protocol()
        self._transport, self._left, self._memory = transport, left, memory
        self._read = bytearray()
        transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        self._read = self._memory.free()
        return memoryview(self._read)[:self._left]

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio.BufferedProtocol."""
        piece = memoryview(self._read)[:nbytes]
        self._read = bytearray()
        self._left -= nbytes
        if not self._left:
            self._transport.set_protocol(self._protocol)
        self._protocol.data_received(bytes(piece) if nbytes <= COPIED else piece)

    def eof_received(self) -> bool | None:
        """See asyncio.BufferedProtocol."""
        keep: bool | None = self._protocol.eof_received()
        return keep

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.BufferedProtocol."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio.BufferedProtocol."""
        self._protocol.resume_writing()
