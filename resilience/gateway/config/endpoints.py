"""Endpoints of a service: ``endpoints = [...]`` and the ``[[services.NAME.endpoints]]`` tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ...core.checks import number
from ...discovery.instance import MAX_PRIORITY, MAX_WEIGHT, name_of, server_name_mistake, url_mistake
from ...errors import ConfigError
from ..messages.json_pointer import member_mistake
from ..messages.json_text import value_mistake
from .checks import checked
from .contents import contents_by, of_secrets
from .header_values import headers_given
from .secrets import with_secret


def _json(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{attribute.name} must be values by JSON pointer, not {value!r}", attribute.name)
    for pointer, content in value.items():
        mistake = member_mistake(pointer) or value_mistake(content)
        if mistake is not None:
            raise ConfigError(f"{attribute.name}: {pointer!r} {mistake}", attribute.name)
        if isinstance(content, str):
            with_secret(content)


@attrs.frozen(kw_only=True)
class EndpointConfig:
    """A ``[[services.NAME.endpoints]]`` table.

    Attributes:
        url: Scheme, host, port, and perhaps a base path that is put before the path of each request.
        weight: Its share of the requests in proportion to those of the others; 0: only if no other is available.
        zone: Where it stands, for zone avoidance.
        priority: It gets requests only while no endpoint with a lower number is available.
        server_name: What stands in the Host header, and what a certificate is verified for; empty: the URL's host.
        headers: Set in each request to it, instead of the client's own; env:NAME and file:PATH stand for secrets.
        json: Values set in the JSON body of each request to it, by JSON pointer; likewise.
        contents: A hash of the secrets; see config.contents.
    """

    url: str = attrs.field(validator=checked(url_mistake))
    weight: float = attrs.field(default=1.0, validator=number(least=0, most=MAX_WEIGHT))
    zone: str = attrs.field(default="", validator=attrs.validators.instance_of(str))
    priority: int = attrs.field(default=0, validator=number(least=0, most=MAX_PRIORITY, whole=True))
    server_name: str = attrs.field(default="", validator=checked(server_name_mistake))
    headers: Mapping[str, str] = attrs.field(factory=dict, validator=headers_given)
    json: Mapping[str, Any] = attrs.field(factory=dict, validator=_json)
    contents: bytes = contents_by(lambda endpoint: of_secrets(endpoint.headers, endpoint.json))

    def check_secrets(self) -> None:
        """Raise ConfigError, which does not show it, if a secret is not there."""
        for value in (*self.headers.values(), *self.json.values()):
            if isinstance(value, str):
                with_secret(value)

    @property
    def name(self) -> str:
        """What it is called in statistics: host and port, and the base path if it has one."""
        return name_of(self.url)


def as_endpoints(value: Any) -> Any:
    """A converter: a URL is as good as a table of it."""
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        return value
    return tuple(EndpointConfig(url=each) if isinstance(each, str) else each for each in value)


def endpoints_given(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that these are endpoints, and each of them once; none: a source lists them."""
    if value == attribute.default:
        return
    if not isinstance(value, tuple) or not value:
        raise ConfigError(f"{attribute.name} needs at least one", attribute.name)
    seen: set[str] = set()
    for each in value:
        if not isinstance(each, EndpointConfig):
            raise ConfigError(f"{attribute.name} must be URLs or tables, not {each!r}", attribute.name)
        if each.name in seen:
            raise ConfigError(f"{attribute.name}: {each.name} is there twice; give it a weight instead", attribute.name)
        seen.add(each.name)
    if not any(each.weight for each in value):
        raise ConfigError(f"{attribute.name}: all weights are 0", attribute.name)
