"""Declarations: what makes a function, a coroutine function or a class a filter.

A decorator notes what its arguments say beside the function, which stays what it is: it can be called, tested and
decorated further. A class is a filter with settings: an attrs class, whose fields are the keys of the filter's table
in the file, and whose instances are called, or give what is called by ``bind()``.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

import attrs

from ...core.checks import flag, number, text
from ...errors import ConfigError
from ...registry import Registry
from ...shared.store import Store
from ..change import Act, at_once
from ..client_addresses import ClientAddresses
from ..messages.exchange import UpstreamClient
from .context import FilterContext

if TYPE_CHECKING:
    from ..config import ServiceConfig
    from ..services.service import Service

_T = TypeVar("_T")

#: What the keys of the commands of filters begin with.
KEYS: Final = "filter."
#: Seconds that a filter may take unless it says otherwise.
TIME_LIMIT_S: Final = 1.0
#: Where a filter stands among others unless it says otherwise; authentication is 10, authorization 20.
ORDER: Final = 100
_MARK: Final = "__gateway_filter__"


class FilterKind(enum.Enum):
    """When a filter runs."""

    INBOUND = "inbound"
    ENDPOINT = "endpoint"
    OUTBOUND = "outbound"


@attrs.frozen(kw_only=True)
class FilterHost:
    """What a gateway lends to its filters.

    Attributes:
        name: The filter's.
        services: The gateway's, by name.
        registry: Where the gateway's commands are.
        client: Its HTTP client.
        addresses: Finds the clients of requests, beyond trusted proxies.
        service: Makes a service that the filter alone asks, under a name of its own, which goes on when its settings
            change.
        once_in_force: Does something when the configuration comes into force, and not if it never does: what goes on
            under another configuration must not change before.
        shared: What several gateways share; None: there is no such thing.
    """

    name: str
    services: Mapping[str, Service]
    registry: Registry
    client: UpstreamClient
    addresses: ClientAddresses
    service: Callable[[str, ServiceConfig], Service]
    once_in_force: Callable[[Act], object] = at_once
    shared: Store | None = None


class Bound(Protocol):
    """A filter's settings that make what is called, once for each gateway."""

    def bind(self, host: FilterHost) -> Callable[[FilterContext], Any]:
        """Make the function that is called for each exchange."""
        ...


@attrs.frozen(kw_only=True)
class FilterDeclaration:
    """What a decorator says.

    Attributes:
        kind: When it runs.
        name: Its own name, for statistics; the name of its table comes first.
        order: Filters of one kind run from the lowest to the highest, and by name within one order.
        time_limit: Seconds that it may take.
        when: Says of a context whether the filter is to run; None: always.
        body: Bytes of a body that it needs before it runs; None: it needs none.
        fail_closed: Whether a failure is answered with an error, and not passed over.
        always: Whether it runs after stop().
    """

    kind: FilterKind
    name: str = attrs.field(validator=text())
    order: int = attrs.field(default=ORDER, validator=number(whole=True))
    time_limit: float = attrs.field(default=TIME_LIMIT_S, validator=number(above=0, most=3600.0))
    when: Callable[[FilterContext], bool] | None = None
    body: int | None = attrs.field(default=None, validator=number(least=0, most=1 << 30, whole=True, optional=True))
    fail_closed: bool = attrs.field(default=False, validator=flag)
    always: bool = attrs.field(default=False, validator=flag)


@attrs.frozen(kw_only=True)
class FilterPart:
    """One of the filters that a class with settings is made of, if it has ``parts()``.

    Attributes:
        said: When it runs and what it needs; its name is added to that of the table, for statistics.
        call: The function that is called for each exchange.
    """

    said: FilterDeclaration
    call: Callable[[FilterContext], Any]


class Compound(Protocol):
    """Settings that make several filters, which share the place and the time limit of their table."""

    def parts(self, host: FilterHost) -> Sequence[FilterPart]:
        """Make the filters, once for each gateway; those of one kind run in this order."""
        ...


def declaration_of(thing: Any) -> FilterDeclaration | None:
    """What a decorator said of a function or a class; None: nothing."""
    found = getattr(thing, _MARK, None)
    return found if isinstance(found, FilterDeclaration) else None


def declare_anew(target: object, **changes: Any) -> None:
    """Let *target*, whose class has no slots, be declared as its class is, but for these *changes*."""
    declared = declaration_of(target)
    assert declared is not None
    vars(target)[_MARK] = attrs.evolve(declared, **changes)


def _declare(kind: FilterKind, thing: Any, said: dict[str, Any]) -> Any:
    if thing is None:
        return lambda each: _declare(kind, each, said)
    if not callable(thing):
        raise ConfigError(f"a filter must be a function, a coroutine function or a class, not {thing!r}")
    if inspect.isgeneratorfunction(thing) or inspect.isasyncgenfunction(thing):
        raise ConfigError(f"a filter must be a function or a coroutine function; {thing.__qualname__} is a generator")
    if kind is FilterKind.ENDPOINT and said.get("when") is not None:
        raise ConfigError("an endpoint is chosen by its name and never skipped; leave when out", "when")
    named = getattr(thing, "__name__", type(thing).__name__)
    setattr(thing, _MARK, FilterDeclaration(kind=kind, **{"name": named, **said}))
    return thing


class _Decorator(Protocol):
    @overload
    def __call__(self, thing: _T, /) -> _T: ...
    @overload
    def __call__(self, *, order: int = ..., name: str = ..., time_limit: float = ...,
                 when: Callable[[FilterContext], bool] | None = ..., body: int | None = ..., fail_closed: bool = ...,
                 always: bool = ...) -> Callable[[_T], _T]: ...


def _decorator(kind: FilterKind, doc: str) -> _Decorator:
    def decorate(thing: Any = None, /, **said: Any) -> Any:
        return _declare(kind, thing, said)

    decorate.__name__ = decorate.__qualname__ = f"{kind.value}_filter"
    decorate.__doc__ = f"""{doc}

    Works with or without parentheses, on functions, coroutine functions, and attrs classes whose fields are settings.
    The function is called with the FilterContext; what it returns means nothing.

    Args:
        thing: The function or class, if the decorator stands without parentheses.
        **said: The settings below, each by its name.
        order: Filters of one kind run from the lowest order to the highest. Default 100.
        name: Default: the function's name.
        time_limit: Seconds that it may take. Default 1.0.
        when: A function of the context that says whether the filter is to run. Default: always.
        body: Take in the whole body, of at most so many bytes, before it runs. Default: the body streams past.
        fail_closed: Answer with an error if it fails or is late. Default: the error is noted, and the next filter runs.
        always: Run after stop(), too.

    Raises:
        ConfigError: A setting is out of range, or the function is a generator.
    """
    return decorate


inbound_filter: Final = _decorator(
    FilterKind.INBOUND, "Declare a filter of requests, which runs before a service is called.")
endpoint_filter: Final = _decorator(
    FilterKind.ENDPOINT, "Declare an endpoint: a filter that answers by context.answer(), in the place of a service.")
outbound_filter: Final = _decorator(
    FilterKind.OUTBOUND, "Declare a filter of responses, which runs before the head of one is sent.")
