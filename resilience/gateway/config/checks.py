"""Validators of the gateway's settings: from functions that say what is wrong with a value."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from ...core.setting_names import did_you_mean
from ...errors import ConfigError

Check = Callable[[Any], str | None]


def checked(check: Check, *, each: bool = False, optional: bool = False, is_shown: bool = True) -> Any:
    """A validator from a function that says what is wrong with a value, or None.

    Args:
        check: Says it.
        each: Whether the value has items, which are checked one by one.
        optional: Whether None is welcome.
        is_shown: Whether its messages show the value; False: a secret may stand there by mistake.
    """

    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        for item in (value or ()) if each else (value,):
            mistake = check(item)
            if mistake is not None:
                raise ConfigError(f"{mistake}, not {item!r}" if is_shown else mistake, attribute.name)

    found = getattr(check, "json_schema", {})
    validate.json_schema = {"items": found} if each and found else found  # type: ignore[attr-defined]
    return validate


def in_schema(**words: Any) -> Callable[[Check], Check]:
    """Say, as a decorator of a check, what it demands in the *words* of JSON Schema; no more than it does."""

    def said(check: Check) -> Check:
        check.json_schema = words  # type: ignore[attr-defined]
        return check

    return said


def one_of(names: Sequence[str], what: str) -> Check:
    """A check that a value is one of *names*."""
    wanted = f"{what} must be {'one of ' if len(names) > 1 else ''}{', '.join(names)}"
    # Not "enum", by which the loader would find a message of its own.
    return in_schema(anyOf=[{"const": name} for name in names])(lambda value: None if value in names else wanted)


def filled(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that a tuple is not empty."""
    if not isinstance(value, tuple) or not value:
        raise ConfigError(f"{attribute.name} needs at least one", attribute.name)


def meaningless(settings: Any, names: Sequence[str], why: str) -> None:
    """See that nothing is said, other than what is so anyway, where it means nothing.

    Args:
        settings: An instance of an attrs class.
        names: Of its attributes that mean nothing.
        why: What follows on "means nothing".

    Raises:
        ConfigError: One of them has another value than its default.
    """
    for name in names:
        default: Any = getattr(attrs.fields(type(settings)), name).default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = default.factory()
        if getattr(settings, name) != default:
            raise ConfigError(f"{name} means nothing {why}", name)


filled.json_schema = {"minItems": 1}  # type: ignore[attr-defined]


def unknown_name(what: str, name: str, names: Sequence[str]) -> str:
    """What is wrong with a *name* that is none of *names*, which are those of a kind of things."""
    there = f"there are {', '.join(names)}" if names else "there is none"
    return f"unknown {what} {name!r}; {did_you_mean(name, names) or there}"


def authorities_mistake(value: Any) -> str | None:
    """What is wrong with a file of authorities' certificates; None if nothing is."""
    wanted = "ca_file must be a file of certificates in PEM"
    if not isinstance(value, str) or not value:
        return wanted
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except ssl.SSLError:
        return f"{wanted}, which this one is not"
    except (OSError, ValueError) as error:
        return f"{wanted}, which cannot be read ({getattr(error, 'strerror', None) or error})"
    return None
