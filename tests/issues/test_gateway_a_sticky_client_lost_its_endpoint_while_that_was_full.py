"""A client of a sticky session was given another endpoint for good, because its own was full for one request.

Its session, which only that endpoint knows, was lost, although the endpoint was well.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resilience.gateway.balancing.retry_state import Repetition
from resilience.gateway.balancing.sticky import token_of
from resilience.gateway.config import BalancingConfig
from resilience.gateway.messages.exchange import Header, Request, UpstreamUnreachableError
from resilience.gateway.services.service import Service
from resilience.testing import virtual_time
from tests.gateway.services.stub_service import ONE, TWO, a_service


def _of_one() -> Request:
    cookie = b"seat=" + token_of("10.0.0.1:80")
    return Request(method="GET", target=b"/x", host=None, headers=[(b"cookie", cookie)])


async def _told(service: Service) -> tuple[str, list[Header]]:
    """Which endpoint has answered a client whose endpoint is the first, and the cookie that the client is given."""
    request = _of_one()
    attempts = service.attempts(request)
    try:
        await attempts.answered()
        cookie = service.cookie(request, attempts)
        await attempts.settled()
    finally:
        await attempts.close()
    return attempts.endpoint.name, cookie


def _service(**said: Any) -> Any:
    return a_service(ONE, TWO, balancing=BalancingConfig(sticky="seat"), **said)


def test_a_client_keeps_an_endpoint_that_is_full_and_comes_back() -> None:
    async def main() -> None:
        service, client, _ = _service(command={"max_concurrent": 1})
        free = asyncio.Event()

        async def held() -> int:
            await free.wait()
            return 200

        client.does = {"10.0.0.1": held}
        first = asyncio.ensure_future(_told(service))
        await asyncio.sleep(0.1)
        assert ("10.0.0.2:80", []) == await _told(service)
        free.set()
        assert ("10.0.0.1:80", []) == await first
        assert ("10.0.0.1:80", []) == await _told(service)

    virtual_time(main())


def test_a_client_keeps_an_endpoint_that_was_busy_or_slower_than_a_hedge() -> None:
    async def main() -> None:
        service, client, _ = _service(hedge=0.1)

        async def slow() -> int:
            await asyncio.sleep(5.0)
            return 200

        client.does = {"10.0.0.1": slow}
        assert ("10.0.0.2:80", []) == await _told(service)
        service, client, _ = _service(retry=Repetition(statuses=(429,)))
        client.does = {"10.0.0.1": lambda: 429}
        assert ("10.0.0.2:80", []) == await _told(service)

    virtual_time(main())


@pytest.mark.parametrize("why", ["failed", "unhealthy", "open", "gone"])
def test_a_client_whose_endpoint_is_not_well_is_given_another(why: str) -> None:
    async def main() -> None:
        service, client, registry = _service()
        if why == "failed":
            client.does = {"10.0.0.1": lambda: UpstreamUnreachableError("down")}
        elif why == "unhealthy":
            service.endpoints.states[0].is_healthy = False
            service.endpoints.health_changed(service.endpoints.states[0])
        elif why == "open":
            registry["s@10.0.0.1:80"].force_open()
            service.endpoints.balanced.changed()
        else:
            service.endpoints.replace(service.endpoints.listed[1:])
        name, [(header, value)] = await _told(service)
        assert ("10.0.0.2:80", b"set-cookie") == (name, header)
        assert value.startswith(b"seat=" + token_of("10.0.0.2:80"))

    virtual_time(main())
