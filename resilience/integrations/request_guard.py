"""Request guard: what the ASGI and the WSGI middleware have in common.

A request is treated in this order:

1. its *deadline* begins: the least of what the operator allows and of what the request's headers say;
2. it takes a slot of the *limit* of all requests, a bulkhead or an adaptive limit, or is refused;
3. the application runs, and keeps its slot until the response has been sent;
4. a refusal that the application lets out becomes a problem of RFC 9457, unless the response has begun.

The limit is an ordinary command that guards the call of the application, so a snapshot, the dashboard and the exporters
show it, and whatever ends the call gives its slot back.

Two headers are in use for the time that a client will wait: Envoy's, in milliseconds, which ``deadline_headers()``
sends too, and ``grpc-timeout`` of the gRPC protocol (PROTOCOL-HTTP2.md, "Timeout"), which gRPC-Web sends as well. A
malformed one counts as none, and none can extend what the operator allows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..core.adaptive import AdaptiveLimit
from ..core.bulkhead import Bulkhead
from ..core.callbacks import check_plain
from ..core.checks import number
from ..core.http_problem import HttpProblem
from ..decorate.commands import Pipeline
from ..drivers.deadline_context import deadline
from ..errors import ConfigError
from ..registry import Registry

GRPC_HEADER: Final = "grpc-timeout"
LIMIT_KEY: Final = "requests"
_GRPC: Final = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNITS_S: Final[Mapping[str, float]] = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_MOST_S: Final = 86_400.0


class RequestGuard:
    """What a middleware does about each request of its application. Immutable; for any thread."""

    def __init__(self, serve: Callable[..., Any], *, deadline: float | None, limit: Bulkhead | AdaptiveLimit | None,
                 limit_key: str, exempt: Callable[[Any], object] | None, request: str, show_command: bool,
                 registry: Registry) -> None:
        """By the arguments of the middleware.

        *serve* calls the application; its first argument is the *request*, which messages call "a scope", say.
        """
        if (mistake := number(above=0, most=86_400, optional=True).mistake(deadline)) is not None:
            raise ConfigError(f"deadline {mistake}", "deadline")
        if not isinstance(registry, Registry):
            raise ConfigError(f"registry must be a Registry, not {registry!r}", "registry")
        if exempt is not None:
            check_plain(exempt, "exempt", request)
        self._most, self._clock = deadline, registry.clock
        self._exempt, self._show_command = exempt, show_command
        self._limited = None if limit is None else _limited(serve, limit, limit_key, registry)

    def limited(self, request: Any) -> Callable[..., Any] | None:
        """What to call in the place of *serve*; None: there is no limit, or the *request* is exempt from it."""
        if self._limited is None or (self._exempt is not None and self._exempt(request)):
            return None
        return self._limited

    def deadline_of(self, envoy: str | None, grpc: str | None) -> deadline | None:
        """The deadline of a request; None if neither a header nor the operator sets one."""
        return deadline_of(envoy, grpc, self._most, self._clock)

    def answer(self, problem: HttpProblem) -> tuple[list[tuple[str, str]], bytes]:
        """Headers and body of the answer that tells of a *problem*."""
        body = problem.body(show_command=self._show_command)
        return problem_headers(problem, len(body)), body


def deadline_of(envoy: str | None, grpc: str | None, most: float | None, clock: Callable[[], float]) -> deadline | None:
    """The deadline of a request; None if neither a header nor the operator sets one.

    Args:
        envoy: The header of Envoy, or None.
        grpc: The header of gRPC, or None.
        most: Seconds that the operator allows; None: as long as the headers say.
        clock: Monotonic seconds; the registry's.
    """
    if envoy is None and grpc is None:
        return None if most is None else deadline(most, clock=clock)
    found = None if grpc is None else _GRPC.fullmatch(grpc.strip(" \t"))
    if found is not None:
        told = min(int(found[1]) * _UNITS_S[found[2]], _MOST_S)
        most = told if most is None else min(most, told)
    own = deadline.from_header(envoy, most=most, clock=clock)
    return None if own.seconds is None else own


def _limited(serve: Callable[..., Any], limit: Bulkhead | AdaptiveLimit, key: str, registry: Registry
             ) -> Callable[..., Any]:
    """*serve* under a *limit*, whose ``priorities`` are called with the request alone.

    Raises:
        ConfigError: *limit* is neither a Bulkhead nor an AdaptiveLimit, or another function has the key and a limit
            that differs.
    """
    if not isinstance(limit, (Bulkhead, AdaptiveLimit)):
        raise ConfigError(f"limit must be a Bulkhead or an AdaptiveLimit, not {limit!r}", "limit")
    if isinstance(limit, AdaptiveLimit) and limit.priorities is not None:
        limit = attrs.evolve(limit, priorities=_of_request(limit.priorities))
    return Pipeline(limit, key=key, group="web", registry=registry)(serve)


@functools.lru_cache(maxsize=64)
def _of_request(priorities: Callable[[Any], int]) -> Callable[..., int]:
    """*priorities* for a call whose first argument is the request.

    The same function for the same *priorities*: two applications of one process may share a limit, and then must say
    the same of it.
    """
    return lambda request, *_: priorities(request)


def problem_headers(problem: HttpProblem, length: int) -> list[tuple[str, str]]:
    """The headers of a *problem* whose body has *length* bytes."""
    headers = [("content-type", "application/problem+json"), ("content-length", str(length))]
    if problem.retry_after_s is not None:
        headers.append(("retry-after", str(problem.retry_after_s)))
    return headers

