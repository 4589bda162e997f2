"""Well-known targets: what an entry of ``[guards]`` means by failures where it does not say so itself.

Whoever writes ``"requests.sessions:Session.send" = {}`` wants a server that answers 503 to count as ill. Each row is
tested against the real library and a real server (in tests/integrations: test_well_known, test_well_known_services,
test_redis, test_botocore).
An entry that has ``failures`` itself, or ``failures = false``, has nothing of this.

A refusal by a guard further below, of another entry or of a decorator, is no failure of the server to any of them.

Some of these functions call themselves: for the next hop of a redirect, or to try again. To an entry all of that is one
call, with one slot and one verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_BELOW: Final = "resilience.errors:RejectedError"
_HTTP: Final = {"status": ("5xx",), "refused": (_BELOW,)}
#: Beside statuses, what a client finds wrong with a request before it is sent, and a wait for its own pool in vain.
_REQUESTS: Final = {**_HTTP, "caller_faults": (*(f"requests.exceptions:{name}" for name in (
    "MissingSchema", "InvalidSchema", "InvalidURL")), f"{__name__}:is_header_of_caller")}
_URLLIB3: Final = {**_HTTP, "caller_faults": ("urllib3.exceptions:LocationValueError",),
                   "refused": ("urllib3.exceptions:EmptyPoolError", _BELOW)}
_URLLIB: Final = {**_HTTP, "caller_faults": ("ValueError", "http.client:InvalidURL")}
_HTTPX, _HTTPX2 = ({**_HTTP, "caller_faults": (f"{name}:UnsupportedProtocol", f"{name}:LocalProtocolError"),
                    "refused": (f"{name}:PoolTimeout", _BELOW)} for name in ("httpx", "httpx2"))
_AIOHTTP: Final = {**_HTTP, "caller_faults": ("aiohttp:InvalidURL",),
                   "judge": "resilience.integrations.aiohttp_pool:judge",
                   "refused": ("resilience.integrations.aiohttp_pool:waited_for_pool", _BELOW)}
_REDIS: Final = {"judge": "resilience.integrations.redis:judge",
                 "refused": ("resilience.integrations.redis:waited_for_pool", _BELOW)}
_SQLALCHEMY: Final = {"judge": "resilience.integrations.sqlalchemy:judge",
                      "refused": ("resilience.integrations.sqlalchemy:waited_for_pool", _BELOW)}
_LLM: Final = {"judge": "resilience.integrations.llm:judge", "refused": (_BELOW,),
               "status": (408, "500-528", "530-599"), "busy": (429, 529)}

#: The table ``failures`` of an entry, by target.
WELL_KNOWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "requests.sessions:Session.send": _REQUESTS,
    "requests.sessions:Session.request": _REQUESTS,
    "requests.api:request": _REQUESTS,
    "requests.adapters:HTTPAdapter.send": _REQUESTS,
    "urllib3.connectionpool:HTTPConnectionPool.urlopen": _URLLIB3,
    "urllib.request:urlopen": _URLLIB,
    "httpx:Client.send": _HTTPX,
    "httpx:AsyncClient.send": _HTTPX,
    "httpx._client:Client.send": _HTTPX,
    "httpx._client:AsyncClient.send": _HTTPX,
    "httpx2:Client.send": _HTTPX2,
    "httpx2:AsyncClient.send": _HTTPX2,
    "aiohttp.client:ClientSession._request": _AIOHTTP,
    "botocore.client:BaseClient._make_api_call": {"judge": "resilience.integrations.botocore:judge", **_HTTP},
    "redis.client:Redis.execute_command": _REDIS,
    "redis.client:Pipeline.execute": _REDIS,
    "redis.asyncio.client:Redis.execute_command": _REDIS,
    "redis.asyncio.client:Pipeline.execute": _REDIS,
    "sqlalchemy.engine:Engine.connect": _SQLALCHEMY,
    "sqlalchemy.engine:Connection.execute": _SQLALCHEMY,
    "openai:OpenAI.request": _LLM,
    "openai:AsyncOpenAI.request": _LLM,
    "anthropic:Anthropic.request": _LLM,
    "anthropic:AsyncAnthropic.request": _LLM,
}

#: Of these, what uses its arguments up, and what makes of it a function that can be called again with them.
REPEATABLE: Final[Mapping[str, str]] = {
    "botocore.client:BaseClient._make_api_call": "resilience.integrations.botocore:repeatable",
}

_EMPTIED: Final = "a pipeline is empty once it has run, so that a further attempt would do nothing, and succeed"
#: Of these, what cannot be called again, and why.
ONCE: Final[Mapping[str, str]] = {
    "redis.client:Pipeline.execute": _EMPTIED, "redis.asyncio.client:Pipeline.execute": _EMPTIED}

#: Of these, the functions that call themselves.
RECURSIVE: Final = frozenset((
    "requests.sessions:Session.send", "urllib3.connectionpool:HTTPConnectionPool.urlopen"))


def is_header_of_caller(error: Exception) -> bool:
    """Whether requests refused a header that it was to send; one that the server has sent is an error of urllib3."""
    return type(error).__name__ == "InvalidHeader" and not any(isinstance(each, Exception) for each in error.args)
