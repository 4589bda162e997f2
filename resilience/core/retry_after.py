"""Retry-After: how long a target asks its callers to wait, wherever a client library puts that.

| where | who |
|---|---|
| ``retry_after`` of an exception or answer: seconds, timedelta, datetime | this library, discord.py, telegram |
| header of the exception's ``response``, or of the answer | requests, httpx, openai, anthropic |
| header of the exception itself | aiohttp, urllib |
| ``response["ResponseMetadata"]["HTTPHeaders"]`` of the exception | botocore |
| ``resp`` of the exception, which is its headers | googleapiclient |
| trailing metadata | grpc |

Read are ``retry-after-ms`` and ``x-ms-retry-after-ms`` (OpenAI, Azure), ``grpc-retry-pushback-ms`` (gRPC's proposal
A6), and ``Retry-After`` (RFC 9110, section 10.2.3) in seconds or as a date, in any of its three forms (section 5.6.7),
all of which are in UTC. Of several such fields the first counts. A date is that of the other machine's clock: the
answer's own ``Date`` says how far off it is, and only without one that can be read is it compared with the time here.

Everything read here is somebody else's object: whatever its properties raise, it then asks for nothing.
"""

from __future__ import annotations

import email.utils
from calendar import timegm
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from .exception_groups import is_group, parts

_PUSHBACK: Final = "grpc-retry-pushback-ms"
_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms", _PUSHBACK)


def asked_for(what: Any, wall: Callable[[], float] | None = None) -> float | None:
    """Seconds that an exception or an answer asks to wait; None: it does not ask. Never raises an Exception.

    Args:
        what: The exception, or what the call returned. Of an exception group the longest that a part asks for.
        wall: Seconds since 1970, to compare a date with that comes without the date of the answer; None: such a date
            is not read.
    """
    if is_group(what):
        return max((asked for part in parts(what) if (asked := _asked_for(part, wall)) is not None), default=None)
    return _asked_for(what, wall)


def forbids_retry(what: Any) -> bool:
    """Whether an exception, a part of a group, or an answer asks not to be called again. Never raises an Exception.

    A server of gRPC says so by a pushback that is negative, or no number (proposal A6), and one of OpenAI or Anthropic
    by ``x-should-retry: false``, which their clients obey.

    Args:
        what: The exception, or what the call returned.
    """
    return any(map(_forbids_retry, parts(what) if is_group(what) else (what,)))


def headers_of(what: Any) -> Iterator[Any]:
    """The mappings of headers that an exception or an answer has. Whatever its properties raise passes through."""
    response = getattr(what, "response", None)
    if isinstance(response, dict):
        yield response.get("ResponseMetadata", {}).get("HTTPHeaders")
    elif response is not None:
        yield getattr(response, "headers", None)
    yield getattr(what, "headers", None)
    resp = getattr(what, "resp", None)
    yield resp if isinstance(resp, dict) else None
    metadata = getattr(what, "trailing_metadata", None)
    if callable(metadata):
        pairs: Any = metadata()
        # Those of grpc.aio are no mapping, and before 1.80 their keys() are pairs.
        yield dict(pairs) if isinstance(pairs, Mapping) else tuple(pairs or ())


def _asked_for(what: Any, wall: Callable[[], float] | None) -> float | None:
    try:
        own = getattr(what, "retry_after", None)
        if own is not None and (asked := _own(own, wall)) is not None:
            return asked
        for headers in headers_of(what):
            if headers is not None and (asked := _in_headers(headers, wall)) is not None:
                return asked
    except Exception:  # noqa: BLE001, S110 - somebody else's object
        pass
    return None


def _forbids_retry(what: Any) -> bool:
    try:
        for headers in filter(None, headers_of(what)):
            named = _named(headers)
            pushback = named.get(_PUSHBACK)
            is_told = isinstance(pushback, (str, bytes, int, float))  # a test's double has something for any name
            if named.get("x-should-retry") == "false" or (is_told and _seconds(pushback) is None):
                return True
    except Exception:  # noqa: BLE001, S110 - somebody else's object
        pass
    return False


def _own(asked: Any, wall: Callable[[], float] | None) -> float | None:
    """What an attribute asks for."""
    if hasattr(asked, "timestamp"):
        return None if wall is None else max(0.0, asked.timestamp() - wall())
    return _seconds(asked.total_seconds() if hasattr(asked, "total_seconds") else asked)


def _in_headers(headers: Any, wall: Callable[[], float] | None) -> float | None:
    headers = _named(headers)
    for name in _MILLISECONDS:
        value = headers.get(name)
        if value is not None and (asked := _seconds(value)) is not None:
            return asked / 1000.0
    value = headers.get("retry-after")
    if value is None:
        return None
    asked = _seconds(value)
    if asked is not None or not isinstance(value, str):
        return asked
    until, said = http_date(value), headers.get("date")
    if until is None:
        return None
    sent = http_date(said) if isinstance(said, str) else None
    if sent is None and wall is not None:
        sent = wall()
    return None if sent is None else max(0.0, until - sent)


def _named(headers: Any) -> Any:
    """Headers by names in small letters; what is no mapping of a client's own has them as they came, or as bytes."""
    if not isinstance(headers, (dict, list, tuple)):
        return headers
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {_text(name).lower(): _text(value) for name, value in reversed(list(pairs))}  # the first of several counts


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):  # clients join fields of one name
        value = value.partition(",")[0]
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 <= seconds < float("inf") else None


def http_date(value: str) -> float | None:
    """Seconds since 1970; None: it is no date. One without a zone, as asctime() writes it, is in UTC in HTTP."""
    try:
        return float(timegm(email.utils.parsedate_to_datetime(value).utctimetuple()))
    except Exception:  # noqa: BLE001 - an odd text may fail in any part of it
        return None
