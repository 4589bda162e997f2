"""Filters of the gateway: the ``[filters.NAME]`` tables, and the modules whose decorated filters run on every route.

A table says by ``use`` what the filter is: one of the gateway's own, or a function or class of a module that a
decorator of filters/declare.py has declared. The other keys are the settings of the class.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from ...config import Document
from ...config.hints import unknown
from ...config.targets import TargetError, named
from ...core.checks import flag, number, text
from ...core.setting_names import did_you_mean
from ...errors import ConfigError
from ..filters.declare import KEYS, FilterDeclaration, FilterKind, declaration_of
from .listeners import GatewaySettings
from .routes import RouteConfig

_PACKAGE: Final = __name__.rpartition(".config")[0] + ".filters"
#: The gateway's own, by the word that ``use`` has for them.
BUILT_IN: Final[Mapping[str, str]] = {
    "access": "access:Access", "api_keys": "api_keys:ApiKeys",
    "client_certificate": "client_certificate:ClientCertificates", "compress": "compress:CompressFilter",
    "forward_auth": "forward_auth:ForwardAuth", "hmac": "hmac_signature:HmacSignature", "jwt": "jwt:Jwt",
    "rate_limit": "rate_limit:RateLimitFilter", "shed": "shed:ShedFilter",
    "json_schema": "resilience.gateway.format.schema_filter:JsonSchemaFilter",
    "openapi": "resilience.gateway.format.openapi_filter:OpenApiFilter",
    "headers": "resilience.gateway.format.header_filter:HeaderFilter",
    "json_body": "resilience.gateway.format.body_filter:JsonBodyFilter",
    "errors": "resilience.gateway.format.error_filter:ErrorFilter",
}
_Mistakes = Iterator[tuple[tuple[str | int, ...], str]]


@attrs.frozen(kw_only=True)
class FilterTable:
    """What every ``[filters.NAME]`` table has.

    Attributes:
        use: What the filter is: the name of one of the gateway's own, or "module:name".
        enabled: Whether it runs.
        order: Its place among the filters of its kind; None: as it is declared.
        time_limit: Seconds that it may take; None: as it is declared.
    """

    use: str = attrs.field(validator=text())
    enabled: bool = attrs.field(default=True, validator=flag)
    order: int | None = attrs.field(default=None, validator=number(whole=True, optional=True))
    time_limit: float | None = attrs.field(default=None, validator=number(above=0, most=3600.0, optional=True))


def _declared(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if declaration_of(value) is None:
        raise ConfigError(f"{value!r} is no filter: decorate it with inbound_filter, endpoint_filter or "
                          "outbound_filter of resilience.gateway", attribute.name)


@attrs.frozen(kw_only=True)
class FilterConfig:
    """A filter of one gateway.

    Attributes:
        name: As routes name it.
        target: The function, or an instance of the class with its settings.
        order: Its place among the filters of its kind.
        time_limit: Seconds that it may take.
        enabled: Whether it runs.
        everywhere: Whether it runs on every route without being named.
    """

    name: str = attrs.field(validator=text())
    target: Any = attrs.field(validator=_declared)
    order: int = attrs.field(validator=number(whole=True))
    time_limit: float = attrs.field(validator=number(above=0, most=3600.0))
    enabled: bool = attrs.field(default=True, validator=flag)
    everywhere: bool = attrs.field(default=False, validator=flag)

    @property
    def declaration(self) -> FilterDeclaration:
        """What the decorator has said; not kept, so that a configuration can be sent to workers."""
        found = declaration_of(self.target)
        assert found is not None
        return found

    @classmethod
    def of(cls, target: Any, *, name: str | None = None, **said: Any) -> FilterConfig:
        """A filter of code.

        Args:
            target: A decorated function, or an instance of a decorated class.
            name: None: as it is declared.
            **said: Other attributes; those left out are as declared.

        Raises:
            ConfigError: It is no filter, or a setting is out of range.
        """
        found = declaration_of(target)
        if found is None or inspect.isclass(target):
            raise ConfigError(f"{target!r} is no filter: give a function, or an instance of a class, that "
                              "inbound_filter, endpoint_filter or outbound_filter has decorated", "filters")
        return cls(name=name or found.name, target=target,
                   **{"order": found.order, "time_limit": found.time_limit, **said})


def read_filters(document: Document, gateway: GatewaySettings) -> dict[str, FilterConfig | None]:
    """The filters of a *document* by name; None for one that has mistakes, which are noted."""
    found: dict[str, FilterConfig | None] = {}
    tables = document.table("filters")
    for index, module in enumerate(gateway.filter_modules):
        for name, thing in _of_module(document, index, module):
            where = ("gateway", "filter_modules", index)
            if name in found:
                document.mistake(where, f"there are two filters {name}; give one another name")
            elif name in tables:  # which says more of it
                found[name] = _read(document, name, f"{thing.__module__}:{thing.__qualname__}")
            else:
                found[name] = _made(document, where, thing)
    return {**found, **{name: _read(document, name) for name in tables if name not in found}}


def _made(document: Document, where: tuple[str | int, ...], thing: Any) -> FilterConfig | None:
    try:
        return FilterConfig.of(thing() if inspect.isclass(thing) else thing, everywhere=True)
    except Exception as error:  # noqa: BLE001 - whatever a class of a user's does when it is made
        document.mistake(where, f"{thing.__module__}.{thing.__qualname__} cannot be made without settings, so write a "
                                f"[filters] table for it: {error}")
        return None


def _of_module(document: Document, index: int, module: str) -> Iterator[tuple[str, Any]]:
    """The filters that a module has itself, by name."""
    try:
        things = vars(importlib.import_module(module))
    except Exception as error:  # noqa: BLE001 - whatever the module does when it is imported
        document.mistake(("gateway", "filter_modules", index),
                         f"{module} cannot be imported: {type(error).__name__}: {error}")
        return
    own = [each for name, each in things.items()
           if declaration_of(each) is not None and getattr(each, "__module__", None) == module
           and getattr(each, "__name__", None) == name]
    if not own:
        document.mistake(("gateway", "filter_modules", index), f"{module} has no filter of its own: decorate a "
                         "function with inbound_filter, endpoint_filter or outbound_filter of resilience.gateway")
    for each in own:
        declared = declaration_of(each)
        assert declared is not None
        yield declared.name, each


def _read(document: Document, name: str, use: str | None = None) -> FilterConfig | None:
    """The filter of a table; *use* is what it is if a module that runs on every route has declared it."""
    where, known = ("filters", name), len(document.mistakes)
    table = document.at(*where)
    if use is not None and isinstance(table, Mapping):
        if "use" in table:
            document.mistake((*where, "use"), f"{name} is {use}, of filter_modules; leave use out, or rename one")
            return None
        table = {"use": use, **table}
    common = [field.name for field in attrs.fields(FilterTable)]
    if not isinstance(table, Mapping):
        document.structure(FilterTable, *where)
        return None
    said = document.structure(FilterTable, *where, given={key: table[key] for key in common if key in table})
    thing = None if said is None else _named(document, name, said.use)
    if said is None or thing is None:
        return None
    rest = {key: value for key, value in table.items() if key not in common}
    declared = declaration_of(thing)
    assert declared is not None
    settings = [field.name for field in attrs.fields(thing) if field.init] if attrs.has(thing) else []
    for key in [key for key in rest if key not in settings]:
        document.mistake((*where, key), unknown(key, [*common, *settings], path=where, value=rest.pop(key)))
    target = thing
    if attrs.has(thing):
        target = document.structure(thing, *where, given=rest)
    elif inspect.isclass(thing):
        target = thing()
    if target is None or len(document.mistakes) > known:
        return None
    declared = declaration_of(target) or declared  # its settings may say more than its class
    return FilterConfig(
        name=name, target=target, order=declared.order if said.order is None else said.order, enabled=said.enabled,
        time_limit=declared.time_limit if said.time_limit is None else said.time_limit, everywhere=use is not None)


def _named(document: Document, name: str, use: str) -> Any:
    """What *use* stands for: a decorated function or class; None if it has mistakes, which are noted."""
    where = ("filters", name, "use")
    reference = BUILT_IN.get(use)
    if reference is None and ":" not in use:
        hint = did_you_mean(use, BUILT_IN) or f"here are {', '.join(BUILT_IN)}"
        document.mistake(where, f'unknown filter {use!r}; {hint}; a filter of your own is "module:name"')
        return None
    try:
        is_short = reference is not None and "." not in reference
        thing = named(f"{_PACKAGE}.{reference}" if is_short else reference or use)
    except TargetError as error:
        document.mistake(where, str(error))
        return None
    if declaration_of(thing) is None:
        document.mistake(where, f"{use} is no filter: decorate it with inbound_filter, endpoint_filter or "
                                "outbound_filter of resilience.gateway")
        return None
    return thing


def filters_in(gateway: GatewaySettings, route: RouteConfig | None,
               filters: Mapping[str, FilterConfig]) -> tuple[str, ...]:
    """The names of the filters that run on a *route*, in no order; None: where no route takes a request."""
    everywhere = [each.name for each in filters.values()
                  if each.everywhere and each.declaration.kind is not FilterKind.ENDPOINT]
    of_route, skipped = ((), ()) if route is None else (route.filters, route.skip_filters)
    return tuple(name for name in dict.fromkeys((*gateway.filters, *everywhere, *of_route)) if name not in skipped)


def filter_conflicts(gateway: GatewaySettings, routes: Mapping[int, RouteConfig],
                     filters: Mapping[str, FilterConfig | None], services: Sequence[str]) -> _Mistakes:
    """What is wrong between routes, by index, filters, and the names of *services*, as (path, message)."""
    yield from (
        (("services", name), f"names that begin with {KEYS!r} are those of filters; give the service another one")
        for name in services if name.startswith(KEYS))
    for name, config in filters.items():
        for service in getattr(config and config.target, "needs_services", ()):
            if service not in services:
                yield ("filters", name, "service"), \
                    f"unknown service {service!r}{did_you_mean(service, services, before='; ')}"
    yield from _unknown(("gateway", "filters"), gateway.filters, filters)
    for where, name in _endpoints(("gateway", "filters"), gateway.filters, filters):
        yield where, f"{name} is an endpoint, which answers in the place of a service; name it on its routes"
    if gateway.error_endpoint is not None:
        yield from _unknown(("gateway", "error_endpoint"), (gateway.error_endpoint,), filters, is_list=False)
        each = filters.get(gateway.error_endpoint)
        if each is not None and each.declaration.kind is not FilterKind.ENDPOINT:
            yield ("gateway", "error_endpoint"), f"{each.name} is an {each.declaration.kind.value} filter, no endpoint"
    for index, route in routes.items():
        where = ("routes", index, "filters")
        yield from _unknown(where, route.filters, filters)
        yield from _unknown(("routes", index, "skip_filters"), route.skip_filters, filters)
        endpoints = [name for _, name in _endpoints(where, route.filters, filters)]
        if route.compose is not None:
            endpoints.append(f"the composition {route.compose}")
        if len(endpoints) > 1:
            yield where, f"a route has one endpoint, and {' and '.join(endpoints)} are several"


def _unknown(where: tuple[str | int, ...], names: Sequence[str], filters: Mapping[str, object], *,
             is_list: bool = True) -> _Mistakes:
    for index, name in enumerate(names):
        if name not in filters:
            hint = did_you_mean(name, filters) or (
                f"there are {', '.join(filters)}" if filters else f"there is none; write a [filters.{name}] table")
            yield (*where, index) if is_list else where, f"unknown filter {name!r}; {hint}"


def _endpoints(where: tuple[str | int, ...], names: Sequence[str],
               filters: Mapping[str, FilterConfig | None]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for index, name in enumerate(names):
        each = filters.get(name)
        if each is not None and each.enabled and each.declaration.kind is FilterKind.ENDPOINT:
            yield (*where, index), name
