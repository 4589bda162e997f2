"""Upload: the body of one request on its way to a service, while the client still sends it.

It ends with the body, or as soon as the upstream has answered. Only where both sides can go on beside the answer
(HTTP/2 to HTTP/2, such as gRPC's streams) the rest of it is sent then.
"""

from __future__ import annotations

import asyncio
import logging

from .messages.exchange import (
    Exchange,
    IgnoredAnswerError,
    InvalidRequestError,
    Piece,
    UpstreamError,
    UpstreamStalledError,
    UpstreamStatusError,
)
from .messages.headers import without
from .messages.inbound import Inbound
from .messages.problem import Problem
from .messages.request_body import BegunIntake, Intake, within
from .services.service import Service

_logger = logging.getLogger(__name__)


class Upload:
    """The body of one request. Of one task."""

    __slots__ = ("_exchange", "_inbound", "_intake", "_reserved", "_service")

    def __init__(self, service: Service, exchange: Exchange, intake: Intake | BegunIntake, inbound: Inbound,
                 reserved: frozenset[bytes]) -> None:
        """Between two sides.

        Args:
            service: Bounds how long its endpoints may take nothing.
            exchange: Is open.
            intake: Where the body comes from.
            inbound: Has the trailers, when the body is over.
            reserved: Folded names that no trailer may have.
        """
        self._service, self._exchange, self._intake, self._inbound = service, exchange, intake, inbound
        self._reserved = reserved

    async def run(self) -> bool:
        """Send the body until its end, or until the upstream has answered; whether there is a rest() to send.

        Raises:
            Problem: The body is too large, too slow, or broken.
        """
        exchange = self._exchange
        answered = asyncio.ensure_future(exchange.answering())
        try:
            if exchange.is_duplex and self._inbound.head.is_duplex:
                return await self._by_pieces(answered)
            sending = asyncio.ensure_future(self._all())
            try:
                await asyncio.wait((sending, answered), return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:
                sending.cancel()
                del sending  # or its exception and this frame keep each other, and the server's receive(), alive
        finally:
            answered.cancel()
        return False

    async def rest(self) -> None:
        """Stream what is left beside the answer, whenever it comes.

        How long both sides may say nothing is bounded where the answer is waited for.
        """
        self._intake.be_patient()
        exchange = self._exchange
        try:
            while await self._send(*await self._intake.piece()):
                pass
        except Exception as error:  # the answer cannot be taken back: it breaks off, and not by the upstream's doing
            if not isinstance(error, Problem):
                _logger.exception("the exchange with %s failed in the gateway", self._service.name)
            exchange.fail(IgnoredAnswerError(UpstreamStatusError(exchange.status)))

    async def _all(self) -> None:
        while not self._exchange.answered and await self._send(*await self._intake.piece()):
            pass

    async def _by_pieces(self, answered: asyncio.Future[None]) -> bool:
        """As run(). Nothing of a piece is lost: only the wait for one is cut."""
        while not self._exchange.answered:
            piece = asyncio.ensure_future(self._intake.piece())
            try:
                await asyncio.wait((piece, answered), return_when=asyncio.FIRST_COMPLETED)
                if piece.done() and not await self._send(*piece.result()):
                    return False
            finally:
                piece.cancel()
                del piece  # see run()
        return True

    async def _send(self, piece: Piece, more: bool) -> bool:
        """Send a piece; whether another is wanted."""
        exchange = self._exchange
        try:
            if piece:
                await within(self._service.idle, exchange.write(piece), lambda: UpstreamStalledError("takes nothing"))
            if not more:
                exchange.end(without(self._inbound.trailers, self._reserved))
        except InvalidRequestError as error:
            raise Problem(400, f"{error}", close=True) from None
        except UpstreamError as error:
            exchange.fail(error)
            return False
        return more
