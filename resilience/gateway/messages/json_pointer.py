"""JSON pointers: places in a JSON value, RFC 6901. Pure."""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Iterable
from typing import Any, Final


class Missing(enum.Enum):
    """What stands at a place where nothing stands; None is JSON's null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING

_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch
_BROKEN: Final = re.compile(r"~(?![01])").search


def pointer_mistake(pointer: Any) -> str | None:
    """What is wrong with a pointer; None if nothing is."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")) or _BROKEN(pointer):
        return "must be a JSON pointer (RFC 6901), such as /customer/name"
    return None


def member_mistake(pointer: Any) -> str | None:
    """What is wrong with a pointer that must not be one to the whole value; None if nothing is."""
    return pointer_mistake(pointer or None)


def parsed(pointer: str) -> tuple[str, ...]:
    """The steps of a *pointer* that has no mistake; none: the whole value."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def escaped(name: str) -> str:
    """A name as one step of a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def written(steps: Iterable[str | int]) -> str:
    """The pointer of these steps."""
    return "".join(f"/{escaped(str(step))}" for step in steps)


def found(value: Any, steps: Iterable[str]) -> Any:
    """What stands in *value* at the place that *steps* lead to; MISSING: nothing does."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(step, MISSING)
        elif isinstance(value, list) and _INDEX(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return MISSING
    return value


def put(value: Any, steps: tuple[str, ...], new: Any) -> Any:
    """*value*, changed in place, with *new* at the place that *steps* lead to.

    Objects on the way are made where there is nothing; "-" is the place after an array's last one.

    Raises:
        LookupError: The way leads through something that has no such place.
    """
    if not steps:
        return new
    at = value
    for step, following in itertools.pairwise(steps):
        inner = found(at, (step,))
        if inner is MISSING:
            inner = [] if following == "-" else {}
            _put_here(at, step, inner)
        at = inner
    _put_here(at, steps[-1], new)
    return value


def _put_here(at: Any, step: str, new: Any) -> None:
    if isinstance(at, dict):
        at[step] = new
    elif isinstance(at, list) and step == "-":
        at.append(new)
    elif isinstance(at, list) and _INDEX(step) and int(step) < len(at):
        at[int(step)] = new
    else:
        raise LookupError(step)


def without(value: Any, steps: tuple[str, ...]) -> Any:
    """*value*, changed in place, without what stands at the place that *steps* lead to; MISSING: nothing is left."""
    if not steps:
        return MISSING
    at, last = found(value, steps[:-1]), steps[-1]
    if isinstance(at, dict):
        at.pop(last, None)
    elif isinstance(at, list) and _INDEX(last) and int(last) < len(at):
        del at[int(last)]
    return value
