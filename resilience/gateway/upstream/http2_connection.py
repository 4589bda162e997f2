"""One HTTP/2 connection to an upstream, which many exchanges share.

Who ends what:

    an exchange is given up          its stream is reset; the connection goes on
    the upstream resets a stream     its exchange fails; if the code says that it was never looked at, as never sent
    the upstream says GOAWAY         no more exchanges; those that it never looked at fail as never sent, the others end
    the connection breaks            each of its exchanges fails, once
    an answer is malformed           its stream is reset; what h2 itself refuses ends the connection
    the upstream sends too much that is cheap      the connection is ended
    an exchange is given up, after a long silence    the connection is doubted, and perhaps cut (silence.py)
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from ..http2.allowance import CHEAP_FRAMES, Allowance, earned
from ..http2.fields import MalformedError
from ..http2.wire import H2, Wire
from ..messages.exchange import Header, UnprocessedError, UpstreamError
from .http2_frames import FrameError, FrameReader, GoAway
from .http2_messages import MAX_HEAD_BYTES
from .silence import Silence

if TYPE_CHECKING:
    from .http2_exchange import Http2Exchange

#: Of an answer's body, so much waits to be taken.
STREAM_WINDOW: Final = 128 * 1024
#: No bound: those of the streams are; an answer that nobody takes must not hold up the others.
CONNECTION_WINDOW: Final = (1 << 31) - 1
LINGER_S: Final = 2.0
_LAST_STREAM: Final = 1 << 30
_MAX_WAITING: Final = 1024 * 1024  # bytes that the transport may have while exchanges begin
_PING: Final = b"resilien"
_logger: Final = logging.getLogger("resilience.gateway")


class Owner(Protocol):
    """Who keeps a connection."""

    def idle(self, connection: Http2Connection) -> None:
        """Its last exchange has ended."""

    def gone(self, connection: Http2Connection) -> None:
        """It takes no more exchanges."""


class Http2Connection(asyncio.Protocol):
    """A connection to an upstream. See Http2Exchange for what it carries.

    Attributes:
        loop: Of its transport.
        ready: Done when the upstream has said its settings, or will never do so.
        idle_since: When its last exchange ended.
        heard: How often something came.
        is_used: Whether it has carried an exchange.
        is_retired: Whether it takes no more.
        closed: Whether it is no more.
    """

    def __init__(self, owner: Owner, loop: asyncio.AbstractEventLoop, patience_s: float) -> None:
        """It is to be put on a transport.

        Args:
            owner: Keeps it.
            loop: Of its transport.
            patience_s: How long it may say nothing once it is doubted.
        """
        self.loop, self._owner = loop, owner
        self.ready: asyncio.Future[None] = loop.create_future()
        self.idle_since = 0.0
        self.heard = 0
        self.is_used = self.is_retired = self.closed = False
        self._exchanges: dict[int, Http2Exchange] = {}
        self._frames, self._cheap = FrameReader(), Allowance(*CHEAP_FRAMES)
        self._silence = Silence(loop, patience_s)
        self._h2 = H2(client_side=True)
        self._h2.local_settings = Settings(client=True, initial_values={
            SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD_BYTES})
        self._h2.decoder.max_header_list_size = 2 * MAX_HEAD_BYTES  # what is in between fails one exchange
        self._wire: Wire | None = None

    # -- who keeps it asks

    @property
    def is_idle(self) -> bool:
        """Whether it carries no exchange."""
        return not self._exchanges

    @property
    def places(self) -> int:
        """How many more exchanges may begin now."""
        if self.is_retired or self._silence.is_doubted or self._wire is None \
                or (self._wire.paused and self._wire.transport.get_write_buffer_size() > _MAX_WAITING):
            return 0
        return self._h2.remote_settings.max_concurrent_streams - len(self._exchanges)

    @property
    def protocol(self) -> str | None:
        """What was agreed on by ALPN; None: there was no TLS, or nothing was."""
        tls = None if self._wire is None else self._wire.transport.get_extra_info("ssl_object")
        return None if tls is None else tls.selected_alpn_protocol()

    def retire(self) -> None:
        """Take no more exchanges, and close after those under way."""
        if not self.is_retired:
            self.is_retired = True
            self._owner.gone(self)
        if not self._exchanges:
            self._close()

    def abort(self) -> None:
        """Cut it: it was not made in full."""
        self.closed = True
        self._end()
        if self._wire is not None:
            self._wire.transport.abort()

    # -- exchanges call these

    def begin(self, exchange: Http2Exchange, fields: list[Header], *, end: bool) -> int:
        """Send the head of a request; the number of its stream. There must be a place for it."""
        assert self._wire is not None
        number = self._h2.get_next_available_stream_id()
        self._wire.put_fields(number, fields, end=end)
        self._exchanges[number] = exchange
        self._cheap.earn(earned(0))
        self.is_used = True
        self._silence.asked()
        if number >= _LAST_STREAM:
            self.retire()
        return number

    def put_some(self, number: int, piece: memoryview, *, end: bool) -> int:
        """Send so much of a body as there is room for, and how much that was.

        Raises:
            ProtocolError: The stream is closed.
        """
        assert self._wire is not None
        size = self._wire.put_some(number, piece, end=end)
        if size:
            self._cheap.earn(earned(size))
            self._exchanges[number] = self._exchanges.pop(number)  # its next turn is the last
        return size

    def end_request(self, number: int, trailers: list[Header]) -> None:
        """A request is complete with these *trailers*."""
        assert self._wire is not None
        try:
            if trailers:
                self._wire.put_fields(number, trailers, end=True)
            else:
                self._wire.put(number, b"", end=True)
        except ProtocolError:  # it was reset
            return

    def give_back(self, number: int, held: int) -> None:
        """So much of an answer's body is taken."""
        assert self._wire is not None
        self._wire.give_back(number, held)

    def leave(self, exchange: Http2Exchange, *, is_clean: bool) -> None:
        """An exchange has ended, or is given up unless it *is_clean*."""
        if self._exchanges.get(exchange.number) is not exchange:
            return  # it has failed already
        assert self._wire is not None
        del self._exchanges[exchange.number]
        if not is_clean:
            self._wire.reset(exchange.number, ErrorCodes.CANCEL)
            if self._silence.is_long:
                self._doubt()
        self._left()

    def _left(self) -> None:
        if not self._exchanges and not self.closed:
            if self.is_retired:
                self._close()
            else:
                self.idle_since = self.loop.time()
                self._owner.idle(self)

    def _doubt(self) -> None:
        assert self._wire is not None
        if self._silence.is_doubted or self.is_retired:
            return
        if not self._silence.may_ping:
            self.retire()
            return
        self._h2.ping(_PING)
        self._wire.flush_soon()
        self._silence.doubt(partial(self._fail, "the connection says nothing any more"))

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._wire = Wire(self._h2, cast("asyncio.Transport", transport), self.loop)
        self._h2.initiate_connection()
        self._wire.widen(CONNECTION_WINDOW)
        self._wire.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._fail("the connection was closed before the answer was complete")

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._wire is not None:
            self._wire.paused = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._wire is not None:
            self._wire.paused = False
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._wire is None or self._wire.is_over:
            return
        self.heard += 1
        self._silence.heard()
        try:
            for part in self._frames.feed(data):
                if isinstance(part, GoAway):
                    self._on_goaway(part)
                    continue
                for event in self._h2.receive_data(part):
                    self._on(event)
            self._spend()
        except (ProtocolError, FrameError) as error:
            self._wire.flush()
            self._fail(f"the answer is not valid HTTP/2: {error}")
        except Exception:
            _logger.exception("an HTTP/2 connection to an upstream failed in the gateway")
            self._fail("the gateway failed")
        self._wire.flush()

    # -- events

    def _on(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            self._on_data(event)
        elif isinstance(event, (ResponseReceived, InformationalResponseReceived, TrailersReceived)):
            self._on_fields(event)
        elif isinstance(event, StreamEnded):
            self._on_end(event.stream_id)
        elif isinstance(event, StreamReset):
            self._on_reset(event)
        elif isinstance(event, WindowUpdated):
            self._make_room(event.stream_id or 0)
        elif isinstance(event, RemoteSettingsChanged):
            self._on_settings()

    def _on_settings(self) -> None:
        self._make_room()
        if not self.ready.done():
            self.ready.set_result(None)

    def _on_data(self, event: DataReceived) -> None:
        number, data, held = event.stream_id, event.data or b"", event.flow_controlled_length or 0
        assert self._wire is not None
        assert number is not None
        self._silence.may_ping = True
        exchange = self._exchanges.get(number)
        if exchange is None:
            self._wire.give_back(number, held)
        else:
            self._wire.give_back(number, held - len(data))  # padding
            exchange.on_data(data)

    def _on_fields(self, event: ResponseReceived | InformationalResponseReceived | TrailersReceived) -> None:
        number = event.stream_id
        assert number is not None
        self._silence.may_ping = True
        exchange = self._exchanges.get(number)
        if isinstance(event, InformationalResponseReceived):
            self._frames.cheap += 1
        if exchange is None:
            return
        try:
            if isinstance(event, TrailersReceived):
                exchange.on_trailers(event.headers or ())
            else:
                exchange.on_head(event.headers or ())
        except MalformedError:
            self._refuse(number, "the answer has a field section that is malformed or too large")

    def _on_end(self, number: int | None) -> None:
        exchange = self._exchanges.get(number or 0)
        try:
            if exchange is not None:
                exchange.on_end()
        except MalformedError:
            self._refuse(number or 0, "the answer is shorter than its content-length")

    def _refuse(self, number: int, why: str) -> None:
        """An answer is malformed."""
        assert self._wire is not None
        self._wire.reset(number, ErrorCodes.PROTOCOL_ERROR)
        self._lose(number, UpstreamError(why))

    def _on_reset(self, event: StreamReset) -> None:
        code = event.error_code
        name = code.name if isinstance(code, ErrorCodes) else f"{code}"
        self._lose(event.stream_id, UnprocessedError("the stream was refused") if code == ErrorCodes.REFUSED_STREAM
                   else UpstreamError(f"the stream was reset: {name}"))

    def _on_goaway(self, said: GoAway) -> None:
        self.retire()
        for number in [each for each in self._exchanges if each > said.last]:
            self._lose(number, UnprocessedError(f"the connection is being closed (GOAWAY, code {said.code})"))

    def _lose(self, number: int | None, failure: UpstreamError) -> None:
        """The exchange of a stream fails, or if its answer is complete, its request ends."""
        exchange = self._exchanges.get(number or 0)
        if exchange is not None and number is not None:
            exchange.fail(failure)
            if not exchange.complete:
                del self._exchanges[number]
                self._left()

    def _make_room(self, number: int = 0) -> None:
        """The window of a stream is larger now; 0: that of the connection is, or those of all."""
        waiting = [self._exchanges[number]] if number in self._exchanges else list(self._exchanges.values())
        while waiting:  # a frame of each in turn, or one would take all there is
            waiting = [each for each in waiting if each.send_some()]

    def _spend(self) -> None:
        """Count what came that was cheap to send."""
        count, self._frames.cheap = self._frames.cheap, 0
        now = self.loop.time()
        for _ in range(count):
            if not self._cheap.spend(now):
                self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
                raise FrameError("too many frames that are no part of an answer")

    # -- the end

    def _fail(self, why: str) -> None:
        """It is no more, and each of its exchanges fails."""
        if self.closed:
            return
        self.closed = True
        self._end()
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            exchange.fail(UpstreamError(why))
        if not self.ready.done():
            self.ready.set_exception(UpstreamError(why))
            self.ready.exception()  # perhaps nobody waits for it
        self._hang_up()

    def _close(self) -> None:
        """Say goodbye, and close it once what was written is sent, or after a while."""
        if self.closed:
            return
        self.closed = True
        self._end()
        if self._wire is not None:
            self._h2.close_connection()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._wire is not None and not self._wire.transport.is_closing():
            self._wire.flush()
            self._wire.transport.close()
            self.loop.call_later(LINGER_S, self._wire.transport.abort)

    def _end(self) -> None:
        self._silence.heard()
        if self._wire is not None:
            self._wire.is_over = True
        if not self.is_retired:
            self.is_retired = True
            self._owner.gone(self)
