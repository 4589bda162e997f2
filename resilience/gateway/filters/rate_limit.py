"""The filter ``rate_limit``: how often a caller may ask, and how much its requests may take."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol

import attrs

from ...core.checks import flag, number, one_of
from ...errors import ConfigError, RateLimitedError
from ..client_addresses import ClientAddresses
from ..config.checks import checked, filled, meaningless
from ..config.observing import header_mistake
from ..limits.answer_cost import AnswerCost, units_at, units_in
from ..limits.caller_keys import CallerKeys, word_mistake
from ..limits.rate_fields import limit_field, policy_field
from ..limits.request_limit import MAX_KEYS, limit_named, policy_of
from ..limits.shared_limit import WHEN_UNAVAILABLE, LimitUnavailableError, shared_limit_named
from ..logs.observed_request import ObservedRequest
from ..messages.content import check_charset, decoded, may_be_json
from ..messages.exchange import Header
from ..messages.json_pointer import member_mistake
from ..messages.json_text import MOST_VALUES, parse
from ..messages.unreadable_body import UnreadableBodyError
from .context import FilterContext
from .declare import FilterHost, declare_anew, inbound_filter

#: After authentication (10) and authorization (20).
ORDER: Final = 30
_MAX_WAIT_S: Final = 3600.0
_MAX_REQUEST_BODY: Final = 1 << 20
#: Why a request took nothing, although it was admitted: it never reached a service.
_FREE: Final = ("circuit_open", "full", "throttled", "rate_limited", "unreachable", "shed")


def _unit_mistake(unit: Any) -> str | None:
    """What is wrong with a unit: clients are told of it by a string of RFC 9651."""
    is_fine = isinstance(unit, str) and unit.isascii() and unit.isprintable() and unit
    return None if is_fine else "must be printable characters of ASCII, and one at least"


def _as_name(name: str) -> str:
    return "".join(mark if " " <= mark <= "~" else "?" for mark in name)


@inbound_filter(name="rate_limit", order=ORDER, time_limit=_MAX_WAIT_S, fail_closed=True, always=True)
@attrs.frozen(kw_only=True, slots=False)
class RateLimitFilter:
    """A ``[filters.NAME]`` table with ``use = "rate_limit"``.

    Attributes:
        rate: Number of requests, or of units if they have a cost, that a caller may have in ``per`` seconds.
        per: Length of that period, seconds.
        burst: How many of them may come at once after a pause; None: as many as ``rate``.
        by: What tells callers apart: "identity", "tenant", "api_key", "address", "route", "service", "header:NAME".
        wait: Longest time that a request may wait for its turn, seconds; 0: it is refused.
        max_waiting: Number of requests that may wait at once.
        cost: Units that a request takes, as estimated before it.
        cost_header: Header of the request that gives the estimate instead.
        cost_pointer: JSON pointers into the request's body whose numbers, added, give the estimate instead.
        answer_header: Header of the answer that says what the request really took.
        answer_pointer: JSON pointers into the answer's body, or its last event with a number there; their sum is what
            the request really took.
        unit: What is counted, for clients; None: requests.
        max_keys: Callers that are told apart at once; those beyond share one limit.
        shared: Whether gateways with the same ``[shared]`` table have the limit together.
        when_unavailable: What becomes of a shared limit while the shared store does not answer: this gateway alone has
            its "share", or the limit is "closed", or "open".
        fields: Whether answers have the fields RateLimit and RateLimit-Policy.
    """

    rate: int = attrs.field(validator=number(least=1, most=1_000_000_000, whole=True))
    per: float = attrs.field(default=1.0, validator=number(least=0.001, most=86_400))
    burst: int | None = attrs.field(
        default=None, validator=number(least=1, most=1_000_000_000, whole=True, optional=True))
    by: tuple[str, ...] = attrs.field(
        default=("identity",), validator=attrs.validators.and_(filled, checked(word_mistake, each=True)))
    wait: float = attrs.field(default=0.0, validator=number(least=0, most=_MAX_WAIT_S))
    max_waiting: int = attrs.field(default=1000, validator=number(least=1, most=1_000_000, whole=True))
    cost: float = attrs.field(default=1.0, validator=number(least=0, most=1_000_000_000))
    cost_header: str | None = attrs.field(default=None, validator=checked(header_mistake, optional=True))
    cost_pointer: tuple[str, ...] = attrs.field(default=(), validator=checked(member_mistake, each=True))
    answer_header: str | None = attrs.field(default=None, validator=checked(header_mistake, optional=True))
    answer_pointer: tuple[str, ...] = attrs.field(default=(), validator=checked(member_mistake, each=True))
    unit: str | None = attrs.field(default=None, validator=checked(_unit_mistake, optional=True))
    max_keys: int = attrs.field(default=MAX_KEYS, validator=number(least=1, most=1_000_000, whole=True))
    shared: bool = attrs.field(default=False, validator=flag)
    when_unavailable: str = attrs.field(default="share", validator=one_of(*WHEN_UNAVAILABLE))
    fields: bool = attrs.field(default=True, validator=flag)

    def __attrs_post_init__(self) -> None:
        if self.cost_header is not None and self.cost_pointer:
            raise ConfigError("there is one estimate: leave out cost_header or cost_pointer", "cost_pointer")
        if not self.wait:
            meaningless(self, ("max_waiting",), "without wait: no request waits")
        if self.when_unavailable != "share" and not self.shared:
            raise ConfigError("when_unavailable means nothing unless shared is true", "when_unavailable")
        if self.cost_pointer:  # such a filter, and no other, needs the request's body
            declare_anew(self, body=_MAX_REQUEST_BODY)

    @property
    def settles(self) -> bool:
        """Whether an answer says what its request really took."""
        return self.answer_header is not None or bool(self.answer_pointer)

    def bind(self, host: FilterHost) -> Callable[[FilterContext], Any]:
        """Make the function that is called for each exchange."""
        policy = policy_of(self.rate, self.per, burst=self.burst, max_wait=self.wait, max_keys=self.max_keys,
                           settles=self.settles)
        addresses, name = host.addresses, _as_name(host.name)
        if self.shared:
            if host.shared is None:
                raise ConfigError("a shared limit needs a [shared] table that says where the store is", "shared")
            together = shared_limit_named(host.name, host.registry, policy, self.max_waiting, host.shared,
                                          self.when_unavailable, host.once_in_force)
            return _BoundLimit(self, name, together, addresses).waits
        limit = limit_named(host.name, host.registry, policy, self.max_waiting, host.once_in_force)
        bound = _BoundLimit(self, name, limit, addresses)
        return bound.waits if self.wait else bound.refuses


class _Limit(Protocol):
    """RequestLimit, or SharedLimit; each with bookings of its own."""

    def book(self, key: Hashable, units: float) -> Any: ...
    async def wait(self, booking: Any) -> None: ...
    def settle(self, booking: Any, units: float) -> None: ...
    def refund(self, booking: Any) -> None: ...
    def left(self, booking: Any) -> tuple[float, float]: ...


def _value_of(body: bytes, headers: list[Header]) -> Any:
    """The JSON value of a request's *body*; None: it is none, and does not say that it is.

    Raises:
        UnreadableBodyError: It is coded by what is not known here, or one could read it in two ways; with a low number
            in one of them a request would get more than it books.
    """
    text = decoded(body, headers, _MAX_REQUEST_BODY)
    try:
        check_charset(headers)
        return parse(text, max_values=MOST_VALUES, half_pairs=True) if text else None
    except UnreadableBodyError:
        if may_be_json(headers):
            raise
        return None


class _BoundLimit:
    """The filter of one gateway. For one event loop."""

    def __init__(self, settings: RateLimitFilter, name: str, limit: _Limit, addresses: ClientAddresses) -> None:
        self._settings, self._name, self._limit = settings, name, limit
        self._key_of = CallerKeys(settings.by, addresses)
        burst = settings.burst or settings.rate
        self._policy = policy_field(name, burst, burst * settings.per / settings.rate, settings.unit)

    def refuses(self, context: FilterContext) -> None:
        """Let a request through, or refuse it."""
        observed = context.observed
        try:
            estimate = self._estimate(context)
            booking = self._limit.book(self._key(context, observed), estimate)
        except (RateLimitedError, UnreadableBodyError) as error:
            self._refuse(context, observed, error)
        else:
            self._admit(context, observed, booking, estimate)

    async def waits(self, context: FilterContext) -> None:
        """Let a request through in its turn, or refuse it."""
        observed = context.observed
        try:
            estimate = self._estimate(context)
            booking = self._limit.book(self._key(context, observed), estimate)
            await self._limit.wait(booking)
        except (RateLimitedError, UnreadableBodyError) as error:
            self._refuse(context, observed, error)
        else:
            self._admit(context, observed, booking, estimate)

    def _key(self, context: FilterContext, observed: ObservedRequest | None) -> Any:
        if observed is None:
            raise RuntimeError("a rate limit needs to know where a request comes from")
        observed.identity = context.identity
        return self._key_of(observed)

    def _estimate(self, context: FilterContext) -> float:
        """What a request will take.

        Raises:
            UnreadableBodyError: Its body should say so, and cannot be read.
        """
        settings, request = self._settings, context.request
        said: float | None = None
        if settings.cost_header is not None:
            said = units_in(request.headers.get(settings.cost_header))
        elif settings.cost_pointer:
            said = units_at(_value_of(request.body or b"", request.headers.lines), settings.cost_pointer)
        return settings.cost if said is None else said

    def _refuse(self, context: FilterContext, observed: ObservedRequest | None,
                error: RateLimitedError | UnreadableBodyError) -> None:
        if isinstance(error, UnreadableBodyError):
            context.refuse(error.status, error.detail, error.headers)
            return
        wait_s = max(1, math.ceil(error.retry_after or 0.0))
        if isinstance(error, LimitUnavailableError):
            context.refuse(503, f"the limit {self._name} cannot be checked now", [("Retry-After", str(wait_s))])
            return
        context.refuse(429, f"the limit {self._name} is reached", [("Retry-After", str(wait_s))])
        self._tell(observed, 0.0, wait_s)

    def _admit(self, context: FilterContext, observed: ObservedRequest | None, booking: Any, estimate: float) -> None:
        self._tell(observed, *self._limit.left(booking))
        settings = self._settings
        if observed is None or not settings.settles:
            return
        reader = AnswerCost(settings.answer_header, settings.answer_pointer)
        observed.add_reader(reader)
        observed.add_ending(functools.partial(self._settle, booking, estimate, reader))
        if settings.answer_pointer:
            context.request.headers["Accept-Encoding"] = "identity"  # nobody can read what is compressed

    def _settle(self, booking: Any, estimate: float, reader: AnswerCost, observed: ObservedRequest) -> None:
        refused = observed.refused or observed.fallback_for
        if refused is not None:
            if refused in _FREE:
                self._limit.refund(booking)
            return
        units = reader.units(estimate, is_whole=observed.complete)
        if units is not None:
            self._limit.settle(booking, units)

    def _tell(self, observed: ObservedRequest | None, left: float, wait_s: float) -> None:
        if observed is not None and self._settings.fields:
            observed.add_answer_headers(self._policy, limit_field(self._name, left, wait_s))
