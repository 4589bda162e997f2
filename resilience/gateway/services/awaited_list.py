"""AwaitedList: the attempts of a request that comes before the source of its service has given a first list.

That is when a reload has just added the service, or when the gateway does not wait for its source. The list is waited
for as long as a connection would be. If another reload replaces the service meanwhile, the request goes on with the one
that is in force: the first list goes there, and to nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import TYPE_CHECKING

from ..answers.held_answers import Answer
from ..messages.exchange import Exchange
from .attempts import Attempts

if TYPE_CHECKING:
    from .service import Service


class Succession:
    """Services that took each other's place. Of one event loop. Keeps none of them alive."""

    __slots__ = ("_latest",)

    def __init__(self, first: Service) -> None:
        """There is one, and it is in force or will be."""
        self.enter(first)

    def enter(self, service: Service) -> None:
        """This one is in force from now on."""
        self._latest = weakref.ref(service)

    def latest(self) -> Service | None:
        """The one that is in force; None: it is no more."""
        return self._latest()


class AwaitedList(Attempts):
    """See Attempts."""

    __slots__ = ()

    async def opened(self) -> Exchange:
        """See Attempts."""
        await self._listed()
        return await super().opened()

    async def answered(self) -> Answer:
        """See Attempts."""
        if self._calls is None:
            await self._listed()
        return await super().answered()

    async def _listed(self) -> None:
        """Wait for the first list, but not for ever.

        Raises:
            CircuitOpenError: The circuit of the service that has taken the place of this one is open.
        """
        service = self._service
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(service.config.connect_timeout):
                service = await _with_list(service)
        if service is not self._service:
            self._over()
            super().__init__(service, self._request)


async def _with_list(service: Service) -> Service:
    """Wait for the first list of a service, or of the one that takes its place meanwhile: which one it is."""
    while True:
        if service.watch is not None:
            service.watch.start()
            await service.watch.known()
        latest = service.succession.latest()
        if latest is None or latest is service:
            return service
        service = latest
