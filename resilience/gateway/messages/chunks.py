"""Chunks: the pieces of a body whose length is not known (RFC 9112, 7.1), as both sides of the gateway write them."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

from .exchange import Piece

#: What ends a body without trailers.
LAST_CHUNK: Final = b"0\r\n\r\n"
#: Pieces up to this size are copied, which costs less than to write several.
COPIED: Final = 4096


def pauses_after_lines(version: tuple[int, ...]) -> bool:
    """Whether asyncio of that version of Python lets a protocol know that writelines() has filled its transport.

    Else all of a body is held in memory whose reader is slower than its writer (CVE-2024-12254).
    """
    return version < (3, 12) or (3, 12, 9) <= version < (3, 13) or version >= (3, 13, 2)


_MAY_WRITE_LINES: Final = pauses_after_lines(sys.version_info[:3])


def write_chunk(transport: asyncio.WriteTransport, piece: Piece, before: bytes = b"", after: bytes = b"") -> None:
    """Write a piece of a body, which is not empty, as a chunk, with what goes *before* and *after* that."""
    lines = b"%b%x\r\n" % (before, len(piece)), piece, b"\r\n" + after
    if len(piece) > COPIED and _MAY_WRITE_LINES:
        transport.writelines(lines)
    else:
        transport.write(b"".join(lines))
