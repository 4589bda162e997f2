"""EurekaSource: the instances of one application, as any Eureka server has them.

What is asked for, and in which order: everything once, then deltas, and everything again when a delta does not lead to
what the server has (eureka_registry.py), when there are no deltas, or when another server answers. Which of
several servers is asked, and how, is left to ``get``: any HTTP client will do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import attrs

from ..drivers.system_clock import monotonic
from .eureka_registry import EurekaApplications, EurekaRegistry, EurekaUnreadableError, listing_of
from .source import Listing

#: A server keeps what has changed for three minutes; a copy that is older than this may have missed some of it.
MOST_GAP_S: Final = 120.0
#: Statuses by which a server says that it has no deltas.
_NO_DELTA: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class EurekaAnswerError(Exception):
    """A Eureka server does not answer with what it was asked for."""


@attrs.frozen
class EurekaAnswer:
    """What a server has answered.

    Attributes:
        status: HTTP status.
        body: All of it, without a Content-Encoding.
        server: Which server it was, in any words.
    """

    status: int
    body: bytes
    server: str = ""


#: Sends GET to a path below a server's base URL, such as "/apps/delta", with ``Accept: application/json``. It is told
#: which statuses are an answer: with any other one the next server may know more.
Get = Callable[[str, Collection[int]], Awaitable[EurekaAnswer]]


class EurekaSource:
    """Lists the instances of one application that are UP; see Source."""

    def __init__(self, application: str, get: Get, *, secure: bool = False, by_host_name: bool = False,
                 deltas: bool = True, clock: Callable[[], float] = monotonic) -> None:
        """A source; nothing is asked yet.

        Args:
            application: Its name, in any case.
            get: Asks a server; raises whatever it likes if there is no answer.
            secure: Use the secure port, by https, and verify the certificate for the host's name.
            by_host_name: Connect to the host's name instead of its address.
            deltas: Have a copy of the whole registry, and ask for what has changed; else ask for this application.
            clock: Monotonic seconds.
        """
        self._application, self._get, self._clock = application, get, clock
        self._secure, self._by_host_name, self._deltas = secure, by_host_name, deltas
        self._registry, self._server, self._heard_at = EurekaRegistry(), "", 0.0

    def __repr__(self) -> str:
        return f"Eureka application {self._application}"

    async def listing(self) -> Listing:
        """The instances; none, if the server knows no such application.

        Raises:
            EurekaAnswerError: A server answers with another status than 200.
            EurekaUnreadableError: It answers with what is none of Eureka's.
            Exception: Whatever ``get`` raises.
        """
        if not self._deltas:
            await self._fetch_application()
        elif not (self._has_followed and await self._apply_delta()):
            await self._fetch_everything()
        self._heard_at = self._clock()
        return listing_of(self._registry.of(self._application), self._registry.left(self._application),
                          secure=self._secure, by_host_name=self._by_host_name)

    @property
    def _has_followed(self) -> bool:
        """Whether there is a copy, so fresh that a delta has all that is missing."""
        return self._registry.is_complete and self._clock() - self._heard_at <= MOST_GAP_S

    async def _apply_delta(self) -> bool:
        """Ask for what has changed; whether the copy is what the server has."""
        answer = await self._get("/apps/delta", (HTTPStatus.OK, *_NO_DELTA))
        if answer.status in _NO_DELTA or answer.server != self._server:
            return False
        try:
            return self._registry.apply(EurekaApplications.read(_body(answer)))
        except EurekaUnreadableError:
            return False

    async def _fetch_everything(self) -> None:
        answer = await self._get("/apps", (HTTPStatus.OK,))
        self._registry.replace(EurekaApplications.read(_body(answer)))
        self._server = answer.server

    async def _fetch_application(self) -> None:
        path = f"/apps/{quote(self._application.upper(), safe='')}"
        answer = await self._get(path, (HTTPStatus.OK, HTTPStatus.NOT_FOUND))
        if answer.status == HTTPStatus.NOT_FOUND:
            self._registry.replace(EurekaApplications({}, ""))
        else:
            self._registry.replace(EurekaApplications.read_application(_body(answer)))


def _body(answer: EurekaAnswer) -> bytes:
    if answer.status != HTTPStatus.OK:
        raise EurekaAnswerError(f"{answer.server or 'a server'} answers with status {answer.status}")
    return answer.body
