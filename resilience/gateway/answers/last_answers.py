"""LastAnswers: good answers that are kept to be given again when a service fails (RFC 5861, stale-if-error). Pure.

This is no cache: while the service answers, each request goes there. What is kept is what a shared cache might keep
(RFC 9111, section 3): answers with status 200 to GET requests without Authorization, that do not say ``no-store``,
``private``, ``no-cache`` or ``must-revalidate``, set no cookie, and vary by nothing but the encoding. Of a request with
a body they are nobody else's, since some services go by it. A shorter
``stale-if-error`` of their own is heeded, less what of it was over when they came; and with ``s-maxage`` they are given
only while they are fresh, since it says to a shared cache what ``proxy-revalidate`` does (RFC 9111, 5.2.2.10). Bounded
in bytes, with what they are found by; the one used least recently goes first.

What a client has changed is not given again as it was: a request with another than a safe method, if it succeeds, has
all that is kept for its target forgotten (RFC 9111, 4.4), and so has a newer answer that may not be kept.

A filter may take the credentials off a request, which then looks like anybody's, or tell the service in a header whose
it is: an answer is given again only to the one for whom the filters took the caller, if they have added the same
headers, and for the same scheme and cookies.

An answer is as old as it says, or as its Date is (RFC 9111, 4.2.3), and is not given when it is older than it may be.
One without a Date gets that of its arrival.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from email.utils import formatdate
from math import inf
from typing import Final

import attrs

from ...core.retry_after import http_date
from ..messages.exchange import Header, Request
from ..messages.named_values import header_value

MOST_BYTES: Final = 16 * 1024 * 1024
MOST_BODY_BYTES: Final = 256 * 1024
_FORBIDDING: Final = re.compile(rb"no-store|private|no-cache|must-revalidate|proxy-revalidate")
_STALE_IF_ERROR: Final = re.compile(rb"stale-if-error=\"?(\d{1,9})")
_S_MAXAGE: Final = re.compile(rb"s-maxage(?:=\"?(\d{1,9}))?")
_MAX_AGE: Final = re.compile(rb"\bmax-age=\"?(\d{1,9})")
#: What an age counts as that is larger (RFC 9111, 1.2.2).
_OLDEST: Final = 2**31
_VARYING: Final = frozenset({b"accept-encoding", b"origin"})
#: Methods that change nothing (RFC 9110, 9.2.1).
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
#: Headers that must be the same for an answer to be given again. One with cookies may be of a session.
_TELLING: Final = _VARYING | {b"x-forwarded-host", b"x-forwarded-proto", b"cookie"}


@attrs.frozen
class LastAnswer:
    """One answer.

    Attributes:
        headers: Of it, with its framing.
        body: Of it.
        at: When it came.
        age: How old it was then, in whole seconds.
        stale: For how long it may be given again by what it says itself, seconds.
        size: Of it, in bytes, about.
    """

    headers: list[Header]
    body: bytes
    at: float
    age: int
    stale: float
    size: int


class LastAnswers:
    """The last good answers of one service. Of one event loop.

    Attributes:
        stale: How old an answer may be that is given again, seconds.
    """

    def __init__(self, stale: float, epoch: Callable[[], float] = time.time) -> None:
        """Nothing is kept yet.

        Args:
            stale: How old an answer may be that is given again, seconds.
            epoch: Seconds since 1970, which a Date is compared with.
        """
        self.stale, self._epoch = stale, epoch
        self._answers: OrderedDict[tuple[Hashable, ...], LastAnswer] = OrderedDict()
        self._of_target: dict[tuple[Hashable, ...], set[tuple[Hashable, ...]]] = {}
        self._size = 0

    @staticmethod
    def could_keep(request: Request) -> bool:
        """Whether an answer to this request might be kept."""
        return request.method == "GET" and request.length == 0 and not any(
            name in (b"authorization", b"range") or (name == b"cache-control" and b"no-store" in value.lower())
            for name, value in request.headers)

    def wants(self, request: Request, status: int, headers: list[Header]) -> bool:
        """Whether the body of an answer is worth waiting for: it may be kept, and is said to be short enough."""
        length = header_value(headers, b"content-length") or b""
        return status == 200 and length.isdigit() and int(length) <= MOST_BODY_BYTES and self.could_keep(request)

    def outdate(self, request: Request, status: int) -> None:
        """Forget what is no longer so, now that this *request* was answered with this *status*."""
        if request.method not in _SAFE:
            if status < 400:
                for key in tuple(self._of_target.get(_target(request), ())):
                    self._forget(key)
        elif status == 200 and self.could_keep(request):
            self._forget(_key(request))

    def keep(self, request: Request, status: int, headers: list[Header], body: bytes, now: float) -> None:
        """Keep an answer, if it may be kept."""
        if status != 200 or len(body) > MOST_BODY_BYTES or not self.could_keep(request):
            return
        for name, value in headers:
            if name == b"set-cookie" or (name == b"vary" and not _named(value) <= _VARYING):
                return
        headers, age = self._dated(headers)
        stale = _allowed_s(headers, age)
        if stale <= 0:
            return
        key, size = _key(request), _size(request.headers) + len(request.target) + _size(headers) + len(body) + 500
        self._forget(key)
        self._of_target.setdefault(_target(request), set()).add(key)
        self._answers[key] = LastAnswer(headers, body, now, age, stale, size)
        self._size += size
        while self._size > MOST_BYTES:
            self._forget(next(iter(self._answers)))

    def _dated(self, headers: list[Header]) -> tuple[list[Header], int]:
        """The headers of an answer that has come, with a Date, and how old it is by them, in seconds."""
        epoch, age = self._epoch(), _age(headers)
        said = header_value(headers, b"date")
        if said is None:
            return [*headers, (b"date", formatdate(epoch, usegmt=True).encode())], age
        date = http_date(said.decode("latin-1"))
        return headers, age if date is None else max(age, min(_OLDEST, int(epoch - date)))

    def find(self, request: Request, now: float) -> LastAnswer | None:
        """An answer that may be given to this request."""
        key = _key(request)
        found = self._answers.get(key) if self.could_keep(request) else None
        if found is None:
            return None
        if now - found.at > min(found.stale, self.stale - found.age):
            self._forget(key)
            return None
        self._answers.move_to_end(key)
        return found

    def _forget(self, key: tuple[Hashable, ...]) -> None:
        gone = self._answers.pop(key, None)
        if gone is not None:
            self._size -= gone.size
            target = key[:2]
            self._of_target[target].discard(key)
            if not self._of_target[target]:
                del self._of_target[target]


def _age(headers: Sequence[Header]) -> int:
    """How old an answer says that it is, in seconds; what is no number is ignored (RFC 9111, 5.1)."""
    said = [value for name, value in headers if name == b"age" and value.isdigit()]
    return max((int(value) if len(value) < 10 else _OLDEST for value in said), default=0)


def _allowed_s(headers: Sequence[Header], age: int) -> float:
    """For how long an answer of this *age* may be given again, as it says itself."""
    control = b", ".join(value.lower() for name, value in headers if name == b"cache-control")
    if _FORBIDDING.search(control):
        return 0.0
    allowed, own, shared = inf, _STALE_IF_ERROR.search(control), _S_MAXAGE.search(control)
    if own is not None:
        fresh = _MAX_AGE.search(control)
        allowed = int(own[1]) - max(0, age - (0 if fresh is None else int(fresh[1])))
    if shared is not None:
        allowed = min(allowed, int(shared[1] or 0) - age)
    return allowed


def _target(request: Request) -> tuple[Hashable, ...]:
    return request.target, request.host


def _key(request: Request) -> tuple[Hashable, ...]:
    return *_target(request), request.owner, *(line for line in request.headers if line[0] in _TELLING)


def _named(value: bytes) -> set[bytes]:
    return {each.strip().lower() for each in value.split(b",")}


def _size(headers: Sequence[Header]) -> int:
    return sum(len(name) + len(value) + 100 for name, value in headers)
