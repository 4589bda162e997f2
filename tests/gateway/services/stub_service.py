"""A service whose endpoints are a stub: it answers as told, and keeps who was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from resilience import Registry
from resilience.gateway.config import ServiceConfig
from resilience.gateway.messages.exchange import Endpoint, Header, Request
from resilience.gateway.services.service import Service

ONE, TWO, THREE = (f"http://10.0.0.{number}:80" for number in (1, 2, 3))


class Answer:
    """A whole answer."""

    headers: list[Header] = []
    answered = complete = True
    version, trailers = "1.1", ()

    def __init__(self, status: int) -> None:
        self.status, self.failure = status, None

    async def head(self) -> None: ...
    async def answering(self) -> None: ...
    async def more(self) -> None: ...
    async def write(self, chunk: bytes) -> None: ...
    def end(self) -> None: ...
    def release(self) -> None: ...
    def take(self) -> bytes:
        return b""


class Client:
    """Answers as told by host, and keeps which hosts were asked, and let go of."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gone: list[str] = []
        self.requests: list[Request] = []
        self.does: Mapping[str, Callable[[], Any]] = {}

    async def send(self, endpoint: Endpoint, request: Request, *, connect_timeout: float) -> Answer:
        self.asked.append(endpoint.host)
        self.requests.append(request)
        found = self.does.get(endpoint.host, lambda: 200)()
        if asyncio.iscoroutine(found):
            found = await found
        if isinstance(found, Exception):
            raise found
        return Answer(found)

    def let_go(self, endpoint: Endpoint) -> None:
        self.gone.append(endpoint.host)

    def close(self) -> None: ...


def a_request(method: str = "GET") -> Request:
    return Request(method=method, target=b"/x", host=None, headers=[])


async def ask(service: Service, method: str = "GET") -> int | str:
    attempts = None
    try:
        attempts = service.attempts(a_request(method))
        answer = await attempts.answered()
        await attempts.settled()
    except Exception as error:  # noqa: BLE001 - what became of it is what the tests look at
        return type(error).__name__
    else:
        return answer.status
    finally:
        if attempts is not None:
            await attempts.close()


def a_service(*urls: str, **said: Any) -> tuple[Service, Client, Registry]:
    client, registry = Client(), Registry()
    return Service("s", ServiceConfig(endpoints=urls, **said), client, registry), client, registry


def updated(service: Service, config: ServiceConfig) -> Service:
    """The service by another configuration, which is in force."""
    made = service.successor(config)
    made.enter()
    return made
