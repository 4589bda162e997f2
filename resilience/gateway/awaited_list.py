"""AwaitedList: the attempts of a request that comes before the source of its service has given a first list.

That is when a reload has just added the service, or when the gateway does not wait for its source. The list is waited
for as long as a connection would be.
"""

from __future__ import annotations

import asyncio
import contextlib

from .attempts import Attempts
from .held_answers import Answer
from .upstream import Exchange


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
        """Wait for the first list, but not for ever."""
        service = self._service
        if service.watch is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(service.config.connect_timeout):
                    await service.watch.known()
