"""Costs: how many units of a rate limit a call takes, as estimated before it and as known after it.

A call books its estimate when it begins, so that calls that begin together cannot together spend what one of
them may. What it really took is known at its end (tokens, bytes, money): less is given back, more is owed
by the calls that come next. A call that did not reach its target, or was answered that it is busy, spent nothing.
Of any other that failed nobody knows what the target did for it, so the estimate stands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .callable_identity import by_identity
from .callbacks import GIVE_PLAIN, call_back, is_plain
from .checks import Check, number
from .outcome import BUSY, REJECTED
from .plain_numbers import bare_number, is_number
from .rate_limit_queue import CellRateState, Reservation
from .references import FUNCTION, Written, found

Cost = float | Callable[..., float]

_UNITS: Final = number(least=0, most=1_000_000_000)
#: Of these outcomes nothing was spent.
FREE: Final = (REJECTED, BUSY)


@attrs.frozen(kw_only=True)
class CostCheck(Check):
    """Accepts a number of units, or a function that says how many."""

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        return f"callable, or {_UNITS.wanted}"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is one of them."""
        return is_plain(value) if callable(value) else _UNITS.accepts(value)

    def kept(self, value: Any) -> Any:
        """The number alone, or the function."""
        return value if callable(value) else bare_number(value)

    def __call__(self, instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """As every check does, but a name for which nothing was found is said to be that."""
        if isinstance(value, str) and ":" in value:
            found(value, attribute.name)
        super().__call__(instance, attribute, value)

    def hint(self, value: Any) -> str:
        """What to write instead of a coroutine function or a generator."""
        return GIVE_PLAIN if callable(value) else ""


@attrs.frozen
class WrittenCost(Written):
    """What a file may write for a cost: a number of units, or where the function is."""

    @property
    def json_schema(self) -> dict[str, Any]:
        """The keywords of JSON Schema for what is accepted."""
        return {**super().json_schema, **_UNITS.json_schema}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Raise ConfigError for anything else."""
        if isinstance(value, str):
            super().__call__(_, attribute, value)
        elif (mistake := _UNITS.mistake(value)) is not None:
            raise ConfigError(f'{mistake}; or write "module:name" of a function', attribute.name)


IN_FILE: Final = WrittenCost(FUNCTION.pattern, f"{_UNITS.wanted}, or {FUNCTION.what} of a function", is_list=False)


def same_cost(value: Any) -> Any:
    """What two costs have in common if they are the same; for attrs to compare by."""
    return by_identity(value) if callable(value) else value


def units_of(cost: Cost, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, key: str) -> float:
    """How many units a call of these arguments takes, as far as one can say before it.

    Raises:
        TypeError: ``cost`` returned no number of units.
    """
    return units(call_back(cost, args, kwargs), "cost", key) if callable(cost) else cost


def units(said: Any, name: str, key: str) -> float:
    """The number of units that a callback *said*.

    Raises:
        TypeError: It is no finite number from 0 on.
    """
    if not is_number(said) or said < 0:
        raise TypeError(f"{key}: {name} must return a number of units, 0 or more, not {said!r}")
    return float(said)


class Booking:
    """What one call has booked.

    Attributes:
        pace: In whose line.
        key: The key of that line, where there are keys.
        units: The estimate; what it really was, once it is settled.
        turn: Its place in the line, if it had to wait; its caller waits before the call begins.
        epoch: See RateLimiter.clear(): what was booked before it is forgotten.
    """

    __slots__ = ("epoch", "key", "pace", "turn", "units")

    def __init__(self, pace: CellRateState, key: Hashable, units: float, turn: Reservation | None, epoch: int) -> None:
        self.pace, self.key, self.units, self.turn, self.epoch = pace, key, units, turn, epoch
