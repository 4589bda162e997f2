"""Instance: one place where a service answers, as a source lists it."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import attrs

from ..core.checks import number
from ..core.url_credentials import masked
from ..errors import ConfigError

MAX_PRIORITY: Final = 1000
MAX_WEIGHT: Final = 1_000_000
_MOST_TEXT: Final = 255  # of a host's name, RFC 1035
_BROKEN: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SERVER_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?(:[0-9]{1,5})?")


def url_mistake(value: Any) -> str | None:
    """What is wrong with the URL of an endpoint; None if nothing is."""
    wanted = "an endpoint must be an http:// or https:// URL of scheme, host and port"
    try:
        url = urlsplit(value)
        port = url.port
    except (ValueError, AttributeError, TypeError):
        return wanted
    if url.scheme not in ("http", "https") or not url.hostname or port == 0 or not value.isascii():
        return wanted
    if any(ord(c) <= 32 or c in '\\"<>^`{|}' for c in value):
        return wanted
    if url.username is not None or url.password is not None or "?" in value or "#" in value:
        return f"{wanted}, and nothing else"
    if any(segment in (".", "..") for segment in unquote(url.path).split("/")) or "//" in url.path:
        return f"{wanted}, and a base path without dot segments and empty ones"
    if _BROKEN.search(url.path):
        return f"{wanted}, and a base path in which two hexadecimal digits follow each %"
    return None


def server_name_mistake(value: Any) -> str | None:
    """What is wrong with the name of a server, and perhaps its port; None if nothing is. Empty: it has none."""
    if isinstance(value, str) and (not value or (len(value) <= _MOST_TEXT and _SERVER_NAME.fullmatch(value))):
        return None
    return "a server's name must be a host's name, perhaps with a port"


def name_of(url: str) -> str:
    """What the endpoint at *url*, which has no mistake, is called: host and port, and the base path if it has one."""
    parts = urlsplit(url)
    port = "" if parts.port is None else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}{port or (':443' if parts.scheme == 'https' else ':80')}{parts.path.rstrip('/')}"


def _url(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    mistake = url_mistake(value) or (f"a URL must be at most {_MOST_TEXT * 4} characters long"
                                     if len(value) > _MOST_TEXT * 4 else None)
    if mistake is not None:
        raise ConfigError(f"{mistake}, not {_short(value)}", attribute.name)


def _server_name(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    mistake = server_name_mistake(value)
    if mistake is not None:
        raise ConfigError(f"{mistake}, not {_short(value)}", attribute.name)


def _text(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or len(value) > _MOST_TEXT:
        raise ConfigError(f"{attribute.name} must be a string of at most {_MOST_TEXT} characters, not {_short(value)}",
                          attribute.name)


def _short(value: Any) -> str:
    text = masked(repr(value))
    return text if len(text) <= 100 else f"{text[:97]}..."


@attrs.frozen(kw_only=True)
class Instance:
    """One place where a service answers.

    Attributes:
        url: Scheme, host, port, and perhaps a base path that is put before the path of each request.
        weight: Its share of the requests in proportion to those of the others; 0: only if no other is available.
        zone: Where it stands, for zone avoidance.
        priority: It gets requests only while no instance with a lower number is available.
        server_name: What stands in the Host header, and what a certificate is verified for; empty: the host of the URL.
        name: What it is known by, in statistics too: host, port and base path. A list has each name once.
    """

    url: str = attrs.field(validator=_url)
    weight: float = attrs.field(default=1.0, validator=number(least=0, most=MAX_WEIGHT))
    zone: str = attrs.field(default="", validator=_text)
    priority: int = attrs.field(default=0, validator=number(least=0, most=MAX_PRIORITY, whole=True))
    server_name: str = attrs.field(default="", validator=_server_name)
    name: str = attrs.field(init=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "name", name_of(self.url))  # not a default, which would be made before the checks

    @classmethod
    def of(cls, said: Any) -> Instance:
        """An instance from what a file says.

        Args:
            said: A URL, or a table with a URL.

        Raises:
            ConfigError: It has a mistake.
        """
        if isinstance(said, str):
            return cls(url=said)
        if not isinstance(said, dict):
            raise ConfigError(f"an instance must be a URL or a table, not {_short(said)}")
        known = [field.name for field in attrs.fields(cls) if field.init]
        for key in said:
            if key not in known:
                raise ConfigError(f"an instance has no {_short(key)}; it has {', '.join(known)}")
        if "url" not in said:
            raise ConfigError("url is missing")
        return cls(**said)


def table_of(instance: Instance) -> dict[str, Any]:
    """The table that Instance.of() reads as this *instance*."""
    return {field.name: getattr(instance, field.name) for field in attrs.fields(Instance)
            if field.init and getattr(instance, field.name) != field.default}
