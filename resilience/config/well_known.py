"""Well-known targets: what an entry of ``[guards]`` means by failures where it does not say so itself.

Whoever writes ``"requests.sessions:Session.send" = {}`` wants a server that answers 503 to count as ill. Each row is
tested against the real library (tests/integrations/test_well_known.py). An entry that has ``failures`` itself, or
``failures = false``, has nothing of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_HTTP: Final = {"status": ("5xx",)}
_REDIS: Final = {"judge": "resilience.integrations.redis:judge"}

#: The table ``failures`` of an entry, by target.
WELL_KNOWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "requests.sessions:Session.send": _HTTP,
    "requests.sessions:Session.request": _HTTP,
    "requests.api:request": _HTTP,
    "urllib3.connectionpool:HTTPConnectionPool.urlopen": _HTTP,
    "urllib.request:urlopen": _HTTP,
    "httpx:Client.send": _HTTP,
    "httpx:AsyncClient.send": _HTTP,
    "httpx._client:Client.send": _HTTP,
    "httpx._client:AsyncClient.send": _HTTP,
    "aiohttp.client:ClientSession._request": _HTTP,
    "botocore.client:BaseClient._make_api_call": {"judge": "resilience.integrations.botocore:judge", **_HTTP},
    "redis.client:Redis.execute_command": _REDIS,
    "redis.client:Pipeline.execute": _REDIS,
    "redis.asyncio.client:Redis.execute_command": _REDIS,
    "redis.asyncio.client:Pipeline.execute": _REDIS,
}
