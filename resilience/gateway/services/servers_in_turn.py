"""ServersInTurn: small questions to servers that know the same, of which one is asked, and the others if it fails.

Its requests pass no command and are in no statistics, as those of the checker: what becomes of them is told by who
asks. The server that has answered is asked first the next time.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Collection, Sequence
from typing import Final

from ...discovery import EurekaAnswer
from ..config.endpoints import EndpointConfig
from ..messages.exchange import Endpoint, Request, UpstreamClient, UpstreamError, client_tls
from .served_endpoint import ServedEndpoint
from .trouble import trouble_of
from .whole_answer import whole_answer

#: Of an answer; 10,000 instances are some 15 MB.
MAX_BYTES: Final = 64 * 1024 * 1024


class ServersInTurn:
    """Servers that are asked in turn. Of one event loop."""

    def __init__(self, servers: Sequence[EndpointConfig], ca_file: str | None, client: UpstreamClient,
                 timeout_s: float) -> None:
        """Nothing is asked yet.

        Args:
            servers: At least one.
            ca_file: How those with https are verified; None: by the system's authorities.
            client: Sends requests.
            timeout_s: Longest time for all of them together.

        Raises:
            ConfigError: A secret is not there.
        """
        tls = functools.cache(functools.partial(client_tls, ca_file))
        self._servers = [ServedEndpoint(each, Endpoint.parse(each.url, tls)) for each in servers]
        self._client, self._timeout_s = client, timeout_s / len(servers)

    async def get(self, path: str, statuses: Collection[int]) -> EurekaAnswer:
        """The answer of the first server that gives one.

        Args:
            path: Below the base path of each server.
            statuses: Those that an answer has.

        Raises:
            UpstreamError: None of them does; the message has the reason of each.
        """
        reasons = []
        for server in tuple(self._servers):
            try:
                async with asyncio.timeout(self._timeout_s):
                    answer = await self._ask(server, path)
            except (UpstreamError, TimeoutError) as error:
                late = f"no answer within {self._timeout_s:.3g} s"
                reasons.append(f"{server.name}: {late if isinstance(error, TimeoutError) else trouble_of(error)}")
                continue
            if answer.status not in statuses:
                reasons.append(f"{server.name}: HTTP status {answer.status}")
                continue
            self._servers.remove(server)
            self._servers.insert(0, server)
            return answer
        raise UpstreamError("; ".join(reasons))

    async def _ask(self, server: ServedEndpoint, path: str) -> EurekaAnswer:
        request = Request(method="GET", target=path.encode(), host=None,
                          headers=[(b"user-agent", b"resilience-discovery"), (b"accept", b"application/json")])
        status, body = await whole_answer(
            self._client, server, request, connect_timeout=self._timeout_s, most=MAX_BYTES)
        return EurekaAnswer(status, body, server.name)
