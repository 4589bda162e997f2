"""Registering with a service registry, as a program of the demo does: the simplest client that there is.

It registers until the registry is there, renews every few seconds, registers again when it is not known, and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

_RENEW_S: Final = 5
_LEASE_S: Final = 30
_RETRY_S: Final = 0.2
_TIMEOUT_S: Final = 2.0


@contextlib.asynccontextmanager
async def registered(registry: str, application: str, instance: str, *, port: int) -> AsyncIterator[None]:
    """Be registered meanwhile.

    Args:
        registry: Base URL of the registry.
        application: Its name there.
        instance: Its name among the instances of that.
        port: On which it listens on loopback.
    """
    url = f"{registry}/apps/{quote(application.upper(), safe='')}"
    keeping = asyncio.ensure_future(_keep(url, application, instance, port))
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        await asyncio.to_thread(_ask, "DELETE", f"{url}/{quote(instance, safe='')}")


async def _keep(url: str, application: str, instance: str, port: int) -> None:
    said = {"instance": {
        "instanceId": instance, "hostName": "127.0.0.1", "app": application, "ipAddr": "127.0.0.1", "status": "UP",
        "port": {"$": port, "@enabled": "true"}, "vipAddress": application, "metadata": {"pid": str(os.getpid())},
        "leaseInfo": {"renewalIntervalInSecs": _RENEW_S, "durationInSecs": _LEASE_S},
        "dataCenterInfo": {"name": "MyOwn"}}}
    while True:
        if await asyncio.to_thread(_ask, "PUT", f"{url}/{quote(instance, safe='')}") == 200:
            await asyncio.sleep(_RENEW_S)
        elif await asyncio.to_thread(_ask, "POST", url, said) != 204:
            await asyncio.sleep(_RETRY_S)


def _ask(method: str, url: str, body: Any = None) -> int:
    """The status of the answer; 0: there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - a registry on loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0
