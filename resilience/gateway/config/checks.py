"""Validators of the gateway's settings: from functions that say what is wrong with a value."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from ...errors import ConfigError

Check = Callable[[Any], str | None]


def checked(check: Check, *, each: bool = False, optional: bool = False) -> Any:
    """A validator from a function that says what is wrong with a value, or None."""

    def validate(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is None and optional:
            return
        for item in (value or ()) if each else (value,):
            mistake = check(item)
            if mistake is not None:
                raise ConfigError(f"{mistake}, not {item!r}", attribute.name)

    return validate


def one_of(names: Sequence[str], what: str) -> Check:
    """A check that a value is one of *names*."""
    wanted = f"{what} must be {'one of ' if len(names) > 1 else ''}{', '.join(names)}"
    return lambda value: None if value in names else wanted


def filled(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Check, as a validator of attrs, that a tuple is not empty."""
    if not isinstance(value, tuple) or not value:
        raise ConfigError(f"{attribute.name} needs at least one", attribute.name)


def unknown_name(what: str, name: str, names: Sequence[str]) -> str:
    """What is wrong with a *name* that is none of *names*, which are those of a kind of things."""
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}" if names else "there is none"
    return f"unknown {what} {name!r}; {hint}"
