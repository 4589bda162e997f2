"""HedgedAttempts: if the first endpoint is slow to answer, a second one is asked as well, and the first answer counts.

Only requests that may be sent twice are hedged, and each second one takes a token of the service's budget. Both ways
go on by themselves when they fail, never to the same endpoint, and not more often together than one may. The slower
attempt is cut, which says nothing of its endpoint. For the forwarder this is as good as Attempts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..answers.held_answers import HeldAnswer, Resumed
from ..messages.exchange import Exchange, Request, UpstreamError
from .attempts import Attempts
from .served_endpoint import ServedEndpoint

if TYPE_CHECKING:
    from .service import Service

_Answer = Exchange | Resumed | HeldAnswer
#: Statuses that are no answer as long as another attempt is under way.
_BAD: Final = frozenset(range(500, 600))


class HedgedAttempts:
    """Two ways of one request. Of one task; close() them in the end, whatever happens."""

    def __init__(self, service: Service, request: Request, delay: float) -> None:
        self._delay = delay
        self._first = self._winner = Attempts(service, request)
        self._others: list[tuple[Attempts, asyncio.Task[_Answer]]] = []

    @property
    def endpoint(self) -> ServedEndpoint:
        """Where the answer came from."""
        return self._winner.endpoint

    async def opened(self) -> Exchange:
        """See Attempts; a request whose body is streamed is not hedged."""
        return await self._first.opened()

    async def answered(self) -> _Answer:
        """See Attempts."""
        ways = {self._begun(self._first): self._first}
        done, _ = await asyncio.wait(ways, timeout=self._delay)
        second = None if done else self._first.beside()
        if second is not None:
            ways[self._begun(second)] = second
        while True:
            done, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            task = min(done, key=lambda each: (_badness(each), ways[each] is not self._first))
            if rest and _badness(task):  # the other may have a better one
                await asyncio.wait(rest)
                continue
            self._winner = ways[task]
            permit, self._first.permit = self._first.permit, None
            self._winner.permit = permit  # how that ends is how the request does
            self._others = [other for other in self._others if other[0] is not self._winner]
            await self._drop_others()
            return task.result()

    async def settled(self) -> UpstreamError | None:
        """See Attempts."""
        return await self._winner.settled()

    async def close(self) -> None:
        """See Attempts."""
        try:
            await self._drop_others()
        finally:
            await self._winner.close()

    def _begun(self, attempts: Attempts) -> asyncio.Task[_Answer]:
        task = asyncio.ensure_future(attempts.answered())
        self._others.append((attempts, task))
        return task

    async def _drop_others(self) -> None:
        """Cut what is under way of the attempts that are not passed on."""
        again: asyncio.CancelledError | None = None
        while self._others:
            attempts, task = self._others.pop()
            task.cancel()
            while not task.done():
                try:
                    await asyncio.wait((task,))
                except asyncio.CancelledError as error:  # whoever is cut once more still gives everything back
                    again = error
            if not task.cancelled():
                task.exception()  # it was seen
            await attempts.close()
        if again is not None:
            raise again


def _badness(way: asyncio.Task[_Answer]) -> int:
    """How much better another way's answer may be than what has come of this one."""
    if way.exception() is not None:
        return 2
    return 1 if way.result().status in _BAD else 0
