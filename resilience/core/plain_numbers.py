"""Plain numbers: what settings keep of the numbers that they are given, whatever class these are of. Pure."""

from __future__ import annotations

import sys
from typing import Any

import attrs


def is_number(value: Any) -> bool:
    """Whether *value* is a finite number that a float can hold; True and False are none."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and abs(value) <= sys.float_info.max)  # false for NaN too; an int may be too large for a float


def bare_number(value: Any) -> Any:
    """A number that is an int or a float and nothing else; anything that is no number as it is.

    A member of an enumeration is its name where it is printed, be it in JSON, and numpy's numbers say their class.
    """
    if type(value) in (int, float) or not isinstance(value, (int, float)) or isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else float(value)


def bare_numbers(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same of each of several; *values* itself if nothing is to be done."""
    return values if all(type(each) in (int, float) for each in values) else tuple(map(bare_number, values))


def keep(instance: Any, attribute: attrs.Attribute[Any], value: Any, kept: Any) -> None:
    """Let *instance*, of a frozen class of attrs, keep something else than the *value* that it was given.

    Args:
        instance: Has the value; None: there is none yet, only the value is to be checked.
        attribute: Whose value it is.
        value: What was given.
        kept: What is to be there instead.
    """
    if kept is not value and instance is not None:
        object.__setattr__(instance, attribute.name, kept)
