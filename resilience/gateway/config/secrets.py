"""Secrets: settings that say where a secret is, so that none stands in the gateway's file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import attrs

from ...errors import ConfigError

_MOST_BYTES: Final = 64 * 1024


def secret_of(place: str) -> bytes:
    """The secret at a *place*: "env:NAME", or "file:PATH", without the line's end.

    Raises:
        ConfigError: There is none, or *place* says something else.
    """
    kind, colon, name = place.partition(":")
    if kind not in ("env", "file") or not colon or not name:
        raise ConfigError('must be "env:NAME" or "file:PATH": where the secret is, and not the secret itself')
    if kind == "env":
        found = os.fsencode(os.environ.get(name, ""))  # the very bytes, which need be no text
        if not found:
            raise ConfigError(f"the environment has no {name}")
        return found
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MOST_BYTES).rstrip(b"\r\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not content:
        raise ConfigError(f"{name} is empty")
    return content


def with_secret(value: str) -> str:
    """What a *value* stands for that may be a secret: the text at "env:NAME" or "file:PATH", or itself.

    Raises:
        ConfigError: There is none. The message says where it was looked for, and never what was found.
    """
    if value.partition(":")[0] not in ("env", "file"):
        return value
    try:
        return secret_of(value).decode().strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{value}: what stands there is no text in UTF-8") from None


def secret_place(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that there is a secret at a place; None is welcome where it is the default.

    Raises:
        ConfigError: There is none.
    """
    if value is None and attribute.default is None:
        return
    if not isinstance(value, str):
        raise ConfigError('must be "env:NAME" or "file:PATH"', attribute.name)
    try:
        secret_of(value)
    except ConfigError as error:
        raise ConfigError(str(error), attribute.name) from None
