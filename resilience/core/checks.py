"""Checks for configuration values: each names the key, what is accepted and what it got.

attrs' own validators raise ValueError or TypeError with attrs' words; a user of
a decorator is better served by one ConfigError that says how to put it right.

A check is a frozen value: what it accepts stands in its attributes, where the schema of
the configuration file and its reader find it. The reader asks it by mistake(), which
leaves out the name, because a message about a file begins with the whole dotted key.
"""

from __future__ import annotations

import difflib
import functools
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import MethodType
from typing import Any, Final, TypeVar

import attrs

from ..errors import ConfigError

_Class = TypeVar("_Class", bound=type)


@attrs.frozen(kw_only=True)
class Check(ABC):
    """A validator for attrs fields.

    Attributes:
        optional: Whether None is welcome too.
    """

    optional: bool = False

    @property
    @abstractmethod
    def wanted(self) -> str:
        """What is accepted, as it follows "must be"."""

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether *value*, which is not None where that is welcome, is accepted."""

    def hint(self, value: Any) -> str:
        """What somebody who gave this *value* may have meant; empty if nothing is known."""
        return ""

    @property
    def json_schema(self) -> dict[str, Any]:
        """The keywords of JSON Schema that say the same; fewer than it checks, never more."""
        return {}

    def mistake(self, value: Any, shown: str | None = None) -> str | None:
        """What is wrong with *value*, from "must be" on; None if it is accepted.

        Args:
            value: What to look at.
            shown: How to write it in the message; None: as Python does.
        """
        if (value is None and self.optional) or self.accepts(value):
            return None
        hint = self.hint(value)
        return (f"must be {self.wanted}{' or None' if self.optional else ''}, not "
                f"{repr(value) if shown is None else shown}{f'; {hint}' if hint else ''}")

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Raise ConfigError, with the attribute's name, unless *value* is accepted."""
        mistake = self.mistake(value)
        if mistake is not None:
            raise ConfigError(f"{attribute.name} {mistake}", attribute.name)


@attrs.frozen(kw_only=True)
class NumberCheck(Check):
    """Accepts finite numbers in a range; see number()."""

    above: float | None = None
    least: float | None = None
    most: float | None = None
    whole: bool = False

    @property
    def wanted(self) -> str:
        """What is accepted, as it follows "must be"."""
        bounds = [f"above {self.above:.12g}" if self.above is not None else "",
                  f"at least {self.least:.12g}" if self.least is not None else "",
                  f"at most {self.most:.12g}" if self.most is not None else ""]
        return f"{'a whole number' if self.whole else 'a number'} {' and '.join(filter(None, bounds))}".strip()

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a number in the range; NaN and infinities are not."""
        return (isinstance(value, int if self.whole else (int, float)) and not isinstance(value, bool)
                and abs(value) <= sys.float_info.max  # false for NaN too; an int may be too large for a float
                and (self.above is None or value > self.above) and (self.least is None or value >= self.least)
                and (self.most is None or value <= self.most))

    @property
    def is_share(self) -> bool:
        """Whether it accepts shares: numbers from 0 to 1 that are not whole."""
        return not self.whole and self.most is not None and 0.9 <= self.most <= 1 and 0 in (self.above, self.least)

    def hint(self, value: Any) -> str:
        """The share that a percentage stands for."""
        if self.is_share and isinstance(value, (int, float)) and 1 < value <= 100 and self.accepts(value / 100):
            return f"this is a share from 0 to 1: did you mean {value / 100:.12g}?"
        return ""

    @property
    def json_schema(self) -> dict[str, Any]:
        """Its range."""
        limits = {"exclusiveMinimum": self.above, "minimum": self.least, "maximum": self.most}
        return {word: limit for word, limit in limits.items() if limit is not None}


@attrs.frozen(kw_only=True)
class TextCheck(Check):
    """Accepts strings that are not empty; see text()."""

    @property
    def wanted(self) -> str:
        """What is accepted, as it follows "must be"."""
        return "a non-empty string"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a string with anything in it."""
        return isinstance(value, str) and bool(value)

    @property
    def json_schema(self) -> dict[str, Any]:
        """That it is not empty."""
        return {"minLength": 1}


@attrs.frozen(kw_only=True)
class FlagCheck(Check):
    """Accepts True and False, and nothing that is merely truthy."""

    @property
    def wanted(self) -> str:
        """What is accepted, as it follows "must be"."""
        return "True or False"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a bool."""
        return isinstance(value, bool)


@attrs.frozen(kw_only=True)
class CallableCheck(Check):
    """Accepts what can be called."""

    @property
    def wanted(self) -> str:
        """What is accepted, as it follows "must be"."""
        return "callable"

    def accepts(self, value: Any) -> bool:
        """Whether *value* can be called."""
        return callable(value)


@attrs.frozen(kw_only=True)
class RisingSharesCheck(Check):
    """Accepts shares between 0 and 1, each larger than the one before."""

    @property
    def wanted(self) -> str:
        """What is accepted, as it follows "must be"."""
        return "rising numbers above 0 and below 1, such as (0.1, 0.25, 0.5)"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a tuple of them, with at least one."""
        return (isinstance(value, tuple) and bool(value)
                and all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in value)
                and list(value) == sorted(set(value)) and 0 < value[0] <= value[-1] < 1)

    def hint(self, value: Any) -> str:
        """The shares that percentages stand for."""
        try:
            shares = tuple(share / 100 for share in value)
        except TypeError:
            return ""
        if value and max(value) > 1 and self.accepts(shares):
            return f"did you mean ({', '.join(f'{share:.12g}' for share in shares)})?"
        return ""

    @property
    def json_schema(self) -> dict[str, Any]:
        """What holds for each."""
        return {"minItems": 1, "uniqueItems": True, "items": {"exclusiveMinimum": 0, "exclusiveMaximum": 1}}


@attrs.frozen(kw_only=True)
class ExceptionsCheck(Check):
    """Accepts Exception classes; what ends a task or the process is none of a policy's business."""

    @property
    def wanted(self) -> str:
        """What is accepted, as it follows "must be"."""
        return "a tuple of Exception classes (cancellation and exit always pass through)"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a tuple of them."""
        return isinstance(value, tuple) and all(
            isinstance(each, type) and issubclass(each, Exception) for each in value)


flag: Final = FlagCheck()
callable_or_none: Final = CallableCheck(optional=True)
rising_shares: Final = RisingSharesCheck()
ordinary_exceptions: Final = ExceptionsCheck()


def number(*, above: float | None = None, least: float | None = None, most: float | None = None,
           whole: bool = False, optional: bool = False) -> NumberCheck:
    """A validator for a finite number in a range.

    Args:
        above: The value must be greater than this.
        least: The value must be at least this.
        most: The value must be at most this.
        whole: Integers only.
        optional: None is welcome too.
    """
    return NumberCheck(above=above, least=least, most=most, whole=whole, optional=optional)


def text(optional: bool = False) -> TextCheck:
    """A validator for a non-empty string; *optional*: None is welcome too."""
    return TextCheck(optional=optional)


def as_tuple(value: Any) -> Any:
    """A converter: a list, as a file has it, is as good as a tuple."""
    return tuple(value) if isinstance(value, list) else value


#: What other libraries call a setting, and what it is here.
_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "bulkhead": ("max_concurrent",), "circuit_breaker": ("breaker",), "circuitbreaker": ("breaker",),
    "max_concurrency": ("max_concurrent",), "concurrency": ("max_concurrent",), "retries": ("retry", "attempts"),
    "max_retries": ("retry", "attempts"), "max_attempts": ("attempts",), "stop_after_attempt": ("attempts",),
    "fail_max": ("consecutive",), "failure_threshold": ("consecutive",), "failure_rate_threshold": ("failure_rate",),
    "reset_timeout": ("open_for",), "recovery_timeout": ("open_for",), "wait_duration_in_open_state": ("open_for",),
    "ratelimit": ("rate_limit",), "ratelimiter": ("rate_limit",), "rate_limiter": ("rate_limit",),
    "time_limiter": ("timeout",), "timelimiter": ("timeout",), "limiter": ("rate_limit",), "hedging": ("hedge",)}


def by_identity(value: Any) -> Any:
    """What two callables have in common if they are the same: a key to find one by, and for attrs to compare by.

    Their own equality decides nothing: callables that are equal may do different things. A method is another object
    each time it is asked for, so it is the same if its function and its object are; and a partial if its parts are.
    The key is good as long as *value* lives.
    """
    kind = type(value)
    if kind is MethodType:
        return id(value.__func__), id(value.__self__)
    if kind is types.FunctionType or value is None:
        return id(value)
    if kind is types.BuiltinFunctionType or kind is types.MethodWrapperType:
        return value  # their equality is that of their object's identity, and written in C
    if kind is functools.partial and not vars(value):
        return id(value.func), tuple(map(id, value.args)), tuple((name, id(each)) for name, each in
                                                                 value.keywords.items())
    return id(value)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name among *known* that somebody who wrote *name* most likely means; None if none is near."""
    names = sorted(known)
    plain = name.strip().lower().replace("-", "_").replace(" ", "_")
    for elsewhere in _ELSEWHERE.get(plain, ()):
        if elsewhere in names:
            return elsewhere
    near = difflib.get_close_matches(name, names, 1) or difflib.get_close_matches(plain, names, 1)
    return near[0] if near else None


def unknown_option(name: str, known: Iterable[str], where: str) -> ConfigError:
    """The error for a setting that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else f"it has {', '.join(names)}"
    return ConfigError(f"{where} has no setting {name!r}; {hint}", name)


def strict(cls: _Class) -> _Class:
    """Make an attrs class answer an unknown keyword with a ConfigError instead of a TypeError.

    It has to stand around ``__init__``: attrs has no hook that sees the keywords before Python refuses them, and
    ``__new__`` or a metaclass would hide the signature from help().
    """
    plain: Callable[..., None] = vars(cls)["__init__"]
    known = [field.alias or field.name for field in attrs.fields(cls)]

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name not in known:
                raise unknown_option(name, known, cls.__name__)
        plain(self, *args, **kwargs)

    type.__setattr__(cls, "__init__", init)
    return cls
