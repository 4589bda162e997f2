"""Checker: asks the endpoints of one service at intervals whether they are healthy. One task for each service.

Its requests pass no command and are in no statistics: they say nothing of how the service's clients fare.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from ..balancing.health import Health, HealthChecks
from ..messages.exchange import LocalLimitError, Request, UpstreamClient, UpstreamError
from .served_endpoint import ServedEndpoint
from .trouble import trouble_of

_log = logging.getLogger("resilience")


class Checked(Protocol):
    """What has the endpoints.

    Attributes:
        name: Of the service.
    """

    name: str

    @property
    def states(self) -> Sequence[ServedEndpoint]:
        """All endpoints, as they are now."""
        ...

    def health_changed(self, endpoint: ServedEndpoint) -> None:
        """An endpoint has become healthy or unhealthy."""


class Checker:
    """The checks of one service. Of one event loop. Begins with start(), ends with stop()."""

    def __init__(self, config: HealthChecks, checked: Checked, client: UpstreamClient,
                 random: Callable[[], float]) -> None:
        self._config, self._checked, self._client, self._random = config, checked, client, random
        self._codes = config.codes
        self._known: dict[ServedEndpoint, Health] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, if that was not done yet."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"checks of {self._checked.name}")

    def stop(self) -> None:
        """Check no more."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()

    async def _run(self) -> None:
        while True:
            served = self._checked.states
            self._known = {each: self._known.get(each) or Health(self._config, each) for each in served}
            await asyncio.gather(*(self._check(health, each) for each, health in self._known.items()))
            await asyncio.sleep(self._config.interval * (0.9 + 0.2 * self._random()))  # or all gateways ask at once

    async def _check(self, health: Health, endpoint: ServedEndpoint) -> None:
        try:
            async with asyncio.timeout(self._config.timeout):
                is_well = await self._answers(endpoint)
            reason = "its check was answered with another status"
        except LocalLimitError:  # ours, such as too many open files, which says nothing of the endpoint
            return
        except (UpstreamError, TimeoutError) as error:
            is_well, reason = False, trouble_of(error)
        except Exception:  # noqa: BLE001 - whatever it is, the next check follows
            _log.exception("%s: %s could not be checked", self._checked.name, endpoint.name)
            return
        about = {"upstream": endpoint.name}
        if health.found(is_well):
            if is_well:
                _log.info("%s: %s passes its checks again", self._checked.name, endpoint.name, extra=about)
            else:
                _log.warning("%s: %s fails its checks: %s", self._checked.name, endpoint.name, reason, extra=about)
            self._checked.health_changed(endpoint)

    async def _answers(self, endpoint: ServedEndpoint) -> bool:
        request = Request(method="GET", target=self._config.path.encode(), host=None,
                          headers=[(b"user-agent", b"resilience-check"), (b"accept", b"*/*")])
        exchange = await self._client.send(
            endpoint.endpoint, endpoint.changed(request), connect_timeout=self._config.timeout)
        try:
            await exchange.head()
            return exchange.status in self._codes
        finally:
            exchange.release()
