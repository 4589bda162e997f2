"""Reloads: those that a signal or a watched file asks for, of a gateway or of a registry, one after the other.

One that has not begun reads whatever the file says when it does, so it is for all who ask until then: a storm of
signals is two reloads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import ConfigError
from .listeners import ServeError

_logger = logging.getLogger(__name__)


class Reloads:
    """Of one event loop.

    Attributes:
        jobs: Those under way, and the one that waits.
    """

    def __init__(self, reload: Callable[[], Awaitable[object]], turn: asyncio.Lock) -> None:
        """None is under way.

        Args:
            reload: Does it, all or nothing; raises ConfigError or ServeError if nothing has changed.
            turn: Held meanwhile.
        """
        self._reload, self._turn, self._waits = reload, turn, False
        self.jobs: set[asyncio.Task[None]] = set()

    def soon(self, what: str) -> None:
        """Reload, and log how that went.

        Args:
            what: What is reloaded, and why, for the log.
        """
        if not self._waits:
            self._waits = True
            job = asyncio.ensure_future(self._run(what))
            self.jobs.add(job)
            job.add_done_callback(self.jobs.discard)

    async def _run(self, what: str) -> None:
        try:
            async with self._turn:
                self._waits = False
                await self._reload()
        except (ConfigError, ServeError) as error:
            for mistake in getattr(error, "mistakes", (error,)):
                _logger.error("the configuration stays as it is: %s", mistake)
        else:
            _logger.warning("reloaded %s", what)
