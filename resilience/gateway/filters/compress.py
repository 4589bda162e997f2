"""The filter ``compress``: answers are sent compressed by gzip to clients that take it.

Wherever it stands among the outbound filters, it only says that the answer may be compressed. This is
decided when the head is sent, of the head as all filters have left it, and the body is compressed as it passes
(CompressedInbound): nothing of it is stored, and what has come is sent, as nobody knows when more will come.

zlib takes a millisecond for 16 KiB. So a piece of more than INLINE_BYTES is compressed by a thread, during which the
event loop goes on, since zlib releases the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs

from ...core.checks import number
from ..config.checks import checked, filled
from ..logs.observed_request import AnswerReader
from ..messages.content import prefers_gzip
from ..messages.exchange import Header, Piece
from ..messages.inbound import HopRequest, Inbound, RequestHead
from ..messages.tunnel import TunnelEnd
from .content_coding import (
    TEXTS,
    MediaTypes,
    coded,
    forbids_changes,
    has_body,
    may_be_coded,
    type_mistake,
    varied,
    weakened,
    without_digests,
)
from .context import FilterContext
from .declare import FilterHost, outbound_filter

#: After the filters that change answers.
ORDER: Final = 1000
#: So many bytes are compressed on the event loop: a thread would cost more than it saves.
INLINE_BYTES: Final = 4096
_GZIP: Final = 31  # zlib's largest window, and gzip's frame
_THREADS: Final = 2


@outbound_filter(name="compress", order=ORDER)
@attrs.frozen(kw_only=True)
class CompressFilter:
    """The settings of one filter ``compress``.

    Attributes:
        types: Media types that are compressed: a whole type, all of a kind (``text/*``), all with a suffix (``+json``).
        min_size: Bytes of the smallest body that is compressed, if its size is known before.
        level: 1 is the fastest, 9 the smallest.
    """

    types: tuple[str, ...] = attrs.field(
        default=TEXTS, validator=attrs.validators.and_(filled, checked(type_mistake, each=True)))
    min_size: int = attrs.field(default=1024, validator=number(least=0, most=1 << 30, whole=True))
    level: int = attrs.field(default=4, validator=number(least=1, most=9, whole=True))

    def bind(self, host: FilterHost) -> Compressor:
        """Make the function that is called for each exchange."""
        return Compressor(self)


class Compressor:
    """The filter of one gateway. For one event loop."""

    def __init__(self, settings: CompressFilter) -> None:
        self._settings, self._types = settings, MediaTypes(settings.types)
        self._threads: ThreadPoolExecutor | None = None

    def __call__(self, context: FilterContext) -> None:
        """Let the answer be compressed."""
        assert context.response is not None
        context.response.compressor = self

    def close(self) -> None:
        """Let the threads end."""
        threads, self._threads = self._threads, None  # an answer that still passes may make others
        if threads is not None:
            threads.shutdown(wait=False)

    def may_compress(self, status: int, headers: Sequence[Header]) -> bool:
        """Whether an answer with this head is compressed for those who prefer that."""
        return may_be_coded(self._types, status, headers)

    def is_large_enough(self, size: int | None) -> bool:
        """Whether a body of so many bytes gains by it; None: nobody knows how many it has."""
        return size is None or size >= self._settings.min_size

    def begin(self) -> CompressedBody:
        """Begin a body."""
        return CompressedBody(self, self._settings.level)

    def threads(self) -> ThreadPoolExecutor:
        """What compresses large pieces."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="resilience compress")
        return self._threads


class CompressedBody:
    """One body, compressed piece by piece. Of one task."""

    __slots__ = ("_compressor", "_stream")

    def __init__(self, compressor: Compressor, level: int) -> None:
        self._compressor = compressor
        self._stream = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    async def add(self, piece: bytes, *, is_last: bool = False) -> bytes:
        """All that there is to send, so that a client can read all that has come."""
        flush = zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH
        if len(piece) <= INLINE_BYTES:
            return self._add(piece, flush)
        threads = self._compressor.threads()
        return await asyncio.get_running_loop().run_in_executor(threads, self._add, piece, flush)

    def _add(self, piece: bytes, flush: int) -> bytes:
        return self._stream.compress(piece) + self._stream.flush(flush)


class CompressedInbound:
    """A request whose answer is compressed on its way back, if a filter has said so. See Inbound. Of one task."""

    __slots__ = ("_body", "_context", "_inbound", "_readers", "head", "hop")

    def __init__(self, inbound: Inbound, context: FilterContext) -> None:
        self._inbound, self._context = inbound, context
        self.head: RequestHead = inbound.head
        self.hop: HopRequest | None = inbound.hop
        self._body: CompressedBody | None = None  # None: the answer passes as it is
        self._readers: Sequence[AnswerReader] = ()

    @property
    def trailers(self) -> Sequence[Header]:
        """See Inbound."""
        return self._inbound.trailers

    async def receive(self) -> tuple[Piece, bool]:
        """See Inbound."""
        return await self._inbound.receive()

    def body_is_over(self) -> None:
        """See Inbound."""
        self._inbound.body_is_over()

    def interim(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        self._inbound.interim(status, headers)

    def switch(self, headers: Sequence[Header]) -> TunnelEnd:
        """See Inbound; what a tunnel carries is not compressed."""
        return self._inbound.switch(headers)

    async def respond(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """See Inbound."""
        headers = self._begun(status, headers, len(body))
        if self._body is not None:
            body = await self._coded(self._body, body, is_last=True)
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        await self._inbound.respond(status, headers, body)

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """See Inbound."""
        await self._inbound.start(status, self._begun(status, headers, None))

    async def write(self, piece: Piece) -> None:
        """See Inbound."""
        if self._body is not None and piece:
            piece = await self._coded(self._body, piece)
        await self._inbound.write(piece)

    async def end(self, piece: Piece, trailers: Sequence[Header] = ()) -> None:
        """See Inbound."""
        if self._body is not None:
            piece, trailers = await self._coded(self._body, piece, is_last=True), without_digests(trailers)
        await self._inbound.end(piece, trailers)

    def _begun(self, status: int, headers: Sequence[Header], size: int | None) -> Sequence[Header]:
        """The headers as they are sent; from now on it is known whether the body is compressed.

        Args:
            status: Of the answer.
            headers: Of the answer.
            size: Of its body, if that is there.
        """
        head, response = self.head, self._context.response
        compressor = None if response is None else response.compressor
        if compressor is None or forbids_changes(head.headers) or not compressor.may_compress(status, headers):
            return headers
        headers = varied(headers)
        if not prefers_gzip(head.headers):
            return headers
        if status == 304:
            return weakened(headers)
        is_sent = has_body(head.method, status)
        said = next((int(value) for name, value in headers if name == b"content-length"), None)
        if not compressor.is_large_enough(size if is_sent and size is not None else said):
            return headers
        if is_sent:
            self._body = compressor.begin()
            self._read_from_here(status, headers)
        return coded(headers)

    def _read_from_here(self, status: int, headers: Sequence[Header]) -> None:
        """Let those who read the answer, such as for its cost, have it as it was."""
        observed = self._context.observed
        if observed is not None:
            self._readers, observed.readers = observed.readers, ()
        for reader in self._readers:
            reader.head(status, headers)

    async def _coded(self, body: CompressedBody, piece: Piece, *, is_last: bool = False) -> bytes:
        piece = bytes(piece)
        for reader in self._readers if piece else ():
            reader.piece(piece)
        return await body.add(piece, is_last=is_last)
