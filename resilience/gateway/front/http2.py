"""One client's connection: HTTP/2 on an asyncio transport, by the library h2, and its streams.

Every request has a stream and a task of its own; all of one connection share its windows.

Who ends what:

    the client resets a stream    its task is cancelled
    the client leaves             all tasks are cancelled
    the client says GOAWAY        what is under way ends (RFC 9113, 6.8), then the connection; at an error, all ends
    a request is malformed        its stream is reset; what h2 itself refuses ends the connection by GOAWAY
    an answer breaks off          its stream is reset, so that nobody takes it for complete
    an answer comes early         the rest of the body is thrown away for a while (lingering.py), then it is reset
    a client takes nothing        the streams that wait for it are reset after client_timeout
    a WebSocket is opened         its stream belongs to the tunnel (http2_tunnel.py), which ends it
    a client asks too cheaply     resets, pings, settings and the like have an allowance; then GOAWAY
    the gateway leaves            GOAWAY that refuses nothing (RFC 9113, 6.8), once there has been a request
    as many requests as allowed   the same; so many again are served until nothing is under way, then it is closed
    the front drains              GOAWAY; what is under way ends, what still comes is refused, and may be sent again
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from math import inf
from typing import TYPE_CHECKING, Final

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    RequestReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from ..http2.allowance import CHEAP_FRAMES, Allowance, earned
from ..http2.fields import MalformedError
from ..http2.wire import ANY_STREAM, H2, Bytes, Wire
from ..messages.exchange import Header
from ..messages.inbound import ClientGoneError
from .accepted import Accepted
from .http2_fields import RequestReader
from .http2_stream import MAX_STREAMS, STREAM_WINDOW, Http2Stream
from .http2_tunnel import OpeningStream, StreamTransport
from .lingering import LINGER_S, Lingering
from .peers import Peer
from .read_progress import ReadProgress

if TYPE_CHECKING:
    from .front import Front

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: To begin with; see Wire.hold().
CONNECTION_WINDOW: Final = 1024 * 1024
#: Streams that end before their answer does (CVE-2023-44487), whoever resets them: a second, and at once.
RESETS: Final = (33.0, 200)
#: So much is read before it is looked at what it was: a small part of a read can be hundreds of requests.
_SLICE: Final = 4096
_logger: Final = logging.getLogger("resilience.gateway")


class Http2Connection(asyncio.Protocol):
    """A client's connection. See Http2Stream for its requests.

    Attributes:
        front: Has it.
        deadline: When expire() is due.
        sent: Bytes of bodies that were sent.
    """

    def __init__(self, front: Front, transport: asyncio.Transport, accepted: Accepted, peer: Peer,
                 deadline: float) -> None:
        """Say hello on a *transport* whose protocol this is from now on; the first request is due at the *deadline*."""
        self.front, self.deadline = front, deadline
        self._transport, self._peer = transport, peer
        settings = front.settings
        self._reader = RequestReader(accepted, max_head_bytes=settings.max_header_bytes,
                                     max_headers=settings.max_headers)
        self._streams: dict[int, Http2Stream | StreamTransport] = {}
        self._lingering = Lingering()
        self._resets, self._cheap = Allowance(*RESETS), Allowance(*CHEAP_FRAMES)
        self._limit: float = settings.max_requests_per_connection or inf
        self._served = self._silent = self.sent = 0
        self._taking: ReadProgress | None = None  # while what was sent is taken before the end
        self._is_begun = self._gone = self._cut = self._said_leaving = self._said_goaway = False
        self._h2 = H2(client_side=False)
        self.wire = Wire(self._h2, transport, front.loop)
        self._h2.local_settings = Settings(client=False, initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: settings.max_header_bytes, SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
        self._h2.decoder.max_header_list_size = 2 * settings.max_header_bytes  # in between there is an answer: 431
        self._h2.initiate_connection()
        self.wire.widen(CONNECTION_WINDOW)
        self._transport.set_protocol(self)
        front.enter(self)
        self.wire.flush()

    # -- the server's side

    def send_away(self) -> None:
        """Ask the client to use another connection for its next requests; those that still come are served.

        One that has not sent a request yet is asked when it does, so that it does not just connect once more.
        """
        if self._served and not self._said_leaving and not self._said_goaway and not self.wire.is_over:
            self._said_leaving = True
            self.wire.goaway(ANY_STREAM)

    def drain(self) -> None:
        """Take no more requests, and end after those under way."""
        self._say_goaway()
        if not self._streams and not self._lingering:
            self._close()

    def cut(self) -> None:
        """End it now: the time to drain is over."""
        self._cut = True
        if not self._streams:
            self._abort()
        for stream in list(self._streams.values()):
            stream.task.cancel()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        self.deadline = inf
        if self._taking is not None and self._taking.goes_on():
            self.look_at(now + self.front.settings.client_timeout)
        elif self.wire.is_over:
            self._abort()
        elif not self._streams and not self._lingering:
            self.drain()
        for number in self._lingering.due(now):
            self._reset_early(number)
        self.look_at(self._lingering.deadline)
        for stream in list(self._streams.values()):
            if stream.deadline <= now:
                stream.expire()
            self.look_at(stream.deadline)

    def look_at(self, deadline: float) -> None:
        """Look at the streams' deadlines then, or before."""
        self.deadline = min(self.deadline, deadline)

    # -- asyncio calls these

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._gone = True
        self.front.leave(self)
        self._peer.leave()
        for stream in list(self._streams.values()):
            stream.leave()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.wire.paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.wire.paused = False
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.wire.is_over:
            return
        try:
            for begin in range(0, len(data), _SLICE):
                self._learn(data[begin:begin + _SLICE])
        except ProtocolError as error:
            _logger.debug("an HTTP/2 connection was ended: %s", error)
            self._fail()
        except Exception:
            _logger.exception("an HTTP/2 connection failed in the gateway")
            self._fail()
        self.wire.flush()

    # -- events

    def _learn(self, data: bytes) -> None:
        if self.wire.is_over:
            return
        events = self._h2.receive_data(data)
        self._silent = 0 if events else self._silent + len(data)
        if self._silent > CONNECTION_WINDOW + 2 * self.front.settings.max_header_bytes:
            self._end(ErrorCodes.FRAME_SIZE_ERROR)
        if events and not self._is_begun:
            self._is_begun = isinstance(events[0], RemoteSettingsChanged)
            if not self._is_begun:  # RFC 9113, 3.4; h2 does not ask for them
                self._end(ErrorCodes.PROTOCOL_ERROR)
        for event in events:
            if not self.wire.is_over:
                self._on(event)

    def _on(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._on_request(event)
        elif isinstance(event, DataReceived):
            self._on_data(event)
        elif isinstance(event, StreamEnded):
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.completed()
            self._lingers_no_more(event.stream_id)
        elif isinstance(event, TrailersReceived):
            self._on_trailers(event)
        elif isinstance(event, StreamReset):
            stream = self._streams.get(event.stream_id)
            if stream is not None and not stream.answered:
                stream.leave()
                self._spend(self._resets)
            self._lingers_no_more(event.stream_id)
        elif isinstance(event, ConnectionTerminated):
            self._on_goaway(event)
        else:
            if isinstance(event, (WindowUpdated, RemoteSettingsChanged)):
                self._make_room()
            self._spend(self._cheap)

    def _on_request(self, event: RequestReceived) -> None:
        number = event.stream_id
        assert number is not None
        if self._said_goaway:
            self.wire.reset(number, ErrorCodes.REFUSED_STREAM)
            self._spend(self._resets)
            return
        ended = event.stream_ended is not None
        try:
            request = self._reader.request(event.headers or (), ended=ended)
        except MalformedError:
            self.wire.reset(number, ErrorCodes.PROTOCOL_ERROR)
            self._spend(self._resets)
            return
        request.refusal = self._peer.refusal(self.front.loop.time()) or request.refusal
        self.deadline = self._lingering.deadline if not self._streams else self.deadline
        self._streams[number] = (OpeningStream if request.key else Http2Stream)(self, number, request, complete=ended)
        self._served += 1
        if self._served == 2 * self._limit or self.front.draining:
            self._say_goaway()
        elif self._served == self._limit or self.front.is_leaving:
            self.send_away()

    def _on_data(self, event: DataReceived) -> None:
        number, data, held = event.stream_id, event.data or b"", event.flow_controlled_length or 0
        assert number is not None
        stream = self._streams.get(number)
        if stream is None or stream.gone:
            self.wire.give_back(number, held)
            if self._lingering.take(number, held):
                self._reset_early(number)
        else:
            if held > len(data):  # padding
                self.wire.give_back(number, held - len(data))
            stream.came(data)
        if not data and event.stream_ended is None:
            self._spend(self._cheap)

    def _on_trailers(self, event: TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id or 0)
        if stream is None:
            return
        try:
            stream.trailers_came(event.headers or ())
        except MalformedError:
            self.wire.reset(stream.id, ErrorCodes.PROTOCOL_ERROR)
            stream.leave()
            self._spend(self._resets)

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        self._limit = 0  # it has had all the requests that it will
        self._spend(self._cheap)
        if event.error_code:
            self._fail()
        self._rest()

    def _spend(self, allowance: Allowance) -> None:
        if not allowance.spend(self.front.loop.time()) and not self.wire.is_over:
            _logger.debug("an HTTP/2 connection asks for too much that is cheap to ask for")
            self._end(ErrorCodes.ENHANCE_YOUR_CALM)

    # -- streams call these

    def give_away(self, transport: StreamTransport) -> None:
        """A tunnel has the stream from now on."""
        self._streams[transport.id] = transport

    def put_some(self, stream: Http2Stream | StreamTransport, piece: Bytes, *, end: bool) -> int:
        """Send so much of a body as there is room for, and how much that was."""
        try:
            size = self.wire.put_some(stream.id, piece, end=end)
        except ProtocolError:
            raise ClientGoneError from None
        if size:
            self.sent += size
            self._cheap.earn(earned(size))
            self._streams[stream.id] = self._streams.pop(stream.id)  # its next turn is the last
        return size

    def end_body(self, stream: Http2Stream | StreamTransport) -> None:
        """A body of which all was sent is complete."""
        try:
            self.wire.put(stream.id, b"", end=True)
        except ProtocolError:
            raise ClientGoneError from None

    def put_fields(self, stream: Http2Stream, fields: list[Header], *, end: bool = False) -> None:
        """Send a field section."""
        try:
            self.wire.put_fields(stream.id, fields, end=end)
        except ProtocolError:
            raise ClientGoneError from None

    def ended(self, stream: Http2Stream) -> None:
        """Its task ends."""
        del self._streams[stream.id]
        if self._gone:
            return
        stream.take()
        if not stream.gone:
            if self._cut and not stream.answered:
                with contextlib.suppress(ClientGoneError, ProtocolError):
                    stream.shut_down()
            if not stream.answered:
                self.wire.reset(stream.id, ErrorCodes.INTERNAL_ERROR)
            elif not stream.complete:
                self._lingering.begin(stream.id, self.front.loop.time())
                self.look_at(self._lingering.deadline)
        self._rest()

    def _rest(self) -> None:
        """If nothing is under way, wait for another request, or end if none is wanted."""
        if not self._streams and not self._lingering and not self.wire.is_over:
            if self._said_goaway or self._served >= self._limit:
                self.drain()
            else:
                self.deadline = self.front.loop.time() + self.front.settings.keep_alive_timeout

    def _reset_early(self, number: int) -> None:
        """There is no more patience with a body whose request was answered."""
        self.wire.reset(number, ErrorCodes.NO_ERROR)
        self._lingers_no_more(number)

    def _lingers_no_more(self, number: int | None) -> None:
        if self._lingering.end(number or 0):
            self._rest()

    # -- what is sent

    def _make_room(self) -> None:
        waiting = list(self._streams.values())
        while waiting:  # a frame of each in turn, or one would take all there is
            waiting = [each for each in waiting if each.send_some()]

    def _say_goaway(self) -> None:
        """Take no more requests."""
        if not self._said_goaway and not self.wire.is_over:
            self._said_goaway = True
            self.wire.goaway(self._h2.highest_inbound_stream_id)

    # -- the end

    def _end(self, code: ErrorCodes) -> None:
        """Say what is wrong with the whole connection."""
        self._h2.close_connection(code)
        self._fail()

    def _fail(self) -> None:
        """Nothing more is read, or answered."""
        for stream in list(self._streams.values()):
            stream.leave()
        if self.wire.is_over or self._gone or not self._transport.can_write_eof():
            self._close()
            return
        self.wire.is_over = True  # and read on for a while, so that a reset does not overtake what was said
        self.wire.flush()
        self.deadline = self.front.loop.time() + LINGER_S
        self._transport.write_eof()

    def _close(self) -> None:
        """Close it once what was written is sent, or after a while."""
        self.wire.is_over = True
        if not self._gone:
            self.wire.flush()
            self._taking, self.deadline = ReadProgress(self._transport, late=True), 0.0
            self._transport.close()

    def _abort(self) -> None:
        self.wire.is_over = True
        if not self._gone:
            self._transport.abort()
