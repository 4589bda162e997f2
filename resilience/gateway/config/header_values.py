"""Headers that the file gives with their values: of requests to endpoints, and of answers of the gateway's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ...errors import ConfigError
from .secrets import with_secret

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_OURS: Final = ("host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade", "keep-alive",
                "proxy-connection", "expect")


def headers_given(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that these are headers that a request may be sent with; some may be secrets."""
    _check(attribute, value, with_secret)


def plain_headers_given(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that these are headers that an answer may be sent with."""
    _check(attribute, value, str)


def _check(attribute: attrs.Attribute[Any], value: Any, meant: Callable[[str], str]) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{attribute.name} must be values by name, not {value!r}", attribute.name)
    for name, content in value.items():
        if not isinstance(name, str) or not _NAME(name):
            raise ConfigError(f"{attribute.name}: {name!r} is no name of a header", attribute.name)
        if name.lower() in _OURS:
            raise ConfigError(f"{attribute.name}: {name} is set by the gateway itself", attribute.name)
        if not isinstance(content, str):
            raise ConfigError(f"{attribute.name}: {name} must be a string", attribute.name)
        if _CONTROL(meant(content)):
            raise ConfigError(f"{attribute.name}: {name} has a line break or another control character in it",
                              attribute.name)
