"""HTTP problems: what an HTTP client is told of a request that was refused or not answered in time (RFC 9457).

The gateway and the middleware for web frameworks answer by this one table:

| raised | status |
|---|---|
| ``RateLimitedError`` | 429 |
| ``CircuitOpenError``, ``BulkheadFullError``, ``ThrottledError``, every other ``RejectedError`` | 503 |
| ``NoTimeLeftError``, ``CallTimeoutError``, ``DeadlineExceededError`` | 504 |

An exception group of nothing else is answered by its gravest part: 504 before 503 before 429, because only a call that
was not answered in time may have taken effect. Its client is asked to wait for the longest time that a part asks for.

A body says what happened in one sentence. It never holds a traceback, an address, a key or the text of an exception:
what goes wrong inside is nobody's business outside.
"""

from __future__ import annotations

import functools
import http
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from ..errors import (
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    NoTimeLeftError,
    RateLimitedError,
    RejectedError,
)
from .exception_groups import is_a, is_group, parts

#: The first class that an exception is of decides; ``{}`` stands for who refuses.
_TABLE: Final[tuple[tuple[type[Exception], int, str], ...]] = (
    (NoTimeLeftError, 504, "{} had no time left to answer"),
    (CallTimeoutError, 504, "{} did not answer in time"),
    (RateLimitedError, 429, "{}: too many requests"),
    (CircuitOpenError, 503, "{} is failing and is given time to recover"),
    (BulkheadFullError, 503, "{} has too many requests under way"),
    (RejectedError, 503, "{} takes no requests now"),
)
_GRAVEST_FIRST: Final = (504, 503, 429)


@attrs.frozen
class HttpProblem:
    """The answer to a request that was refused or not answered in time.

    Attributes:
        status: HTTP status: 429, 503 or 504.
        detail: One sentence for the client.
        retry_after_s: Whole seconds, at least 1, after which the client may ask again; None: not known.
        command: Key of the command that raised; not a part of the answer unless body() is told so.
    """

    status: int
    detail: str
    retry_after_s: int | None
    command: str

    @property
    def title(self) -> str:
        """The phrase that belongs to the status, such as "Service Unavailable"."""
        return http.HTTPStatus(self.status).phrase

    def body(self, *, show_command: bool = False) -> bytes:
        """The body, ``application/problem+json``.

        Args:
            show_command: Whether the member ``command`` says which command refused.
        """
        return problem_body(self.status, self.detail, **({"command": self.command} if show_command else {}))


_PHRASES: Final[Mapping[int, str]] = {each.value: each.phrase for each in http.HTTPStatus}


@functools.lru_cache(maxsize=1024)
def prepared_body(status: int, detail: str) -> bytes:
    """A problem_body() that is kept, for sentences of which there are few."""
    return problem_body(status, detail)


@functools.lru_cache(maxsize=1024)
def _sentence(kind: type[BaseException], subject: str) -> tuple[int, str] | None:
    """Status and sentence for a class of exceptions that is no group."""
    return next(((row[1], row[2].format(subject)) for row in _TABLE if issubclass(kind, row[0])), None)


def problem_body(status: int, detail: str, **more: Any) -> bytes:
    """A body of type ``application/problem+json``.

    Args:
        status: HTTP status.
        detail: One sentence for the client.
        **more: Members of our own; JSON.
    """
    title = {"title": _PHRASES[status]} if status in _PHRASES else {}  # a status such as 599 has none
    return json.dumps({"type": "about:blank", **title, "status": status, "detail": detail, **more}).encode()


def http_problem(error: BaseException, subject: str = "The service") -> HttpProblem | None:
    """What to tell a client whose request ended with *error*; None if *error*, or a part of it, is no refusal.

    Args:
        error: The exception, or a group of them.
        subject: Who refuses, for the sentence.
    """
    told = told_of(error, subject)
    return None if told is None else HttpProblem(*told[:3], str(getattr(told[3], "key", "")))


def told_of(error: BaseException, subject: str) -> tuple[int, str, int | None, BaseException] | None:
    """Status, detail and seconds of the http_problem() for an *error*, and the part of it that decides."""
    if not is_group(error):
        kind: Any = type(error)
        found = _sentence(kind, subject)
        return None if found is None else (*found, _whole(_wait(error)), error)
    gravest: tuple[int, int, str, BaseException] | None = None
    waits: list[float] = []
    for part in parts(error):
        row = next((row for row in _TABLE if is_a(part, row[0])), None)
        if row is None:
            return None
        rank = _GRAVEST_FIRST.index(row[1])
        if gravest is None or rank < gravest[0]:
            gravest = rank, row[1], row[2], part
        waits.append(_wait(part))
    if gravest is None:
        return None
    _, status, sentence, part = gravest
    return status, sentence.format(subject), _whole(max(waits)), part


def _wait(error: BaseException) -> float:
    """For how many seconds *error* asks to wait; below 0: it does not say."""
    asked = getattr(error, "retry_after", None)
    return asked if isinstance(asked, (int, float)) and 0 <= asked < math.inf else -1.0


def _whole(wait: float) -> int | None:
    return (math.ceil(wait) or 1) if wait >= 0 else None
