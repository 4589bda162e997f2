"""Checks for configuration values: each names the key, what is accepted and what it got.

attrs' own validators raise ValueError or TypeError with attrs' words; a user of
a decorator is better served by one ConfigError that says how to put it right.

A check is a frozen value: what it accepts stands in its attributes, where the schema of
the configuration file and its reader find it. The reader asks it by mistake(), which
leaves out the name, because a message about a file begins with the whole dotted key.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import attrs

from ..errors import ConfigError
from .callbacks import GIVE_PLAIN, is_plain
from .plain_numbers import bare_number, bare_numbers, is_number, keep
from .setting_names import check_names, did_you_mean

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
        """The words for what is accepted, which follow "must be" in a message."""

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether *value*, which is not None where that is welcome, is accepted."""

    def hint(self, value: Any) -> str:
        """Return what somebody who gave this *value* may have meant; empty if nothing is known."""
        return ""

    @property
    def json_schema(self) -> dict[str, Any]:
        """The keywords of JSON Schema that say the same; fewer than it checks, never more."""
        return {}

    def mistake(self, value: Any, shown: str | None = None) -> str | None:
        """Return what is wrong with *value*, in words from "must be" on; None if it is accepted.

        Args:
            value: The value to check.
            shown: How to write it in the message; None: as Python does.
        """
        if (value is None and self.optional) or self.accepts(value):
            return None
        hint = self.hint(value)
        return (f"must be {self.wanted}{' or None' if self.optional else ''}, not "
                f"{shown_value(value) if shown is None else shown}{f'; {hint}' if hint else ''}")

    def kept(self, value: Any) -> Any:
        """What an object keeps of a *value* that was accepted: of a text that alone, not an enumeration's member."""
        return str.__str__(value) if isinstance(value, str) else value

    def __call__(self, instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Let *instance* have what is kept of *value*; raise ConfigError, with the name, unless it is accepted."""
        mistake = self.mistake(value)
        if mistake is not None:
            raise ConfigError(f"{attribute.name} {mistake}", attribute.name)
        keep(instance, attribute, value, self.kept(value))


@attrs.frozen(kw_only=True)
class NumberCheck(Check):
    """Accepts finite numbers in a range; see number()."""

    above: float | None = None
    least: float | None = None
    most: float | None = None
    whole: bool = False

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        bounds = [f"above {self.above:.12g}" if self.above is not None else "",
                  f"at least {self.least:.12g}" if self.least is not None else "",
                  f"at most {self.most:.12g}" if self.most is not None else ""]
        return f"{'a whole number' if self.whole else 'a number'} {' and '.join(filter(None, bounds))}".strip()

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a number in the range; NaN and infinities are not."""
        return (is_number(value) and (isinstance(value, int) or not self.whole)
                and (self.above is None or value > self.above) and (self.least is None or value >= self.least)
                and (self.most is None or value <= self.most))

    def kept(self, value: Any) -> Any:
        """The number alone."""
        return bare_number(value)

    @property
    def is_share(self) -> bool:
        """Whether it accepts shares: numbers from 0 to 1 that are not whole."""
        return not self.whole and self.most is not None and 0.9 <= self.most <= 1 and 0 in (self.above, self.least)

    def hint(self, value: Any) -> str:
        """The share that a percentage stands for, or the seconds of a timedelta."""
        seconds = getattr(value, "total_seconds", None)  # a timedelta, which the core does not import
        if seconds is not None and self.accepts(seconds()):
            return f"durations are numbers of seconds: did you mean {seconds():.12g}?"
        if self.is_share and isinstance(value, (int, float)) and 1 < value <= 100 and self.accepts(value / 100):
            return f"this is a share from 0 to 1: did you mean {value / 100:.12g}?"
        return ""

    @property
    def json_schema(self) -> dict[str, Any]:
        """The keywords that give the range."""
        limits = {"exclusiveMinimum": self.above, "minimum": self.least, "maximum": self.most}
        return {word: limit for word, limit in limits.items() if limit is not None}


@attrs.frozen(kw_only=True)
class TextCheck(Check):
    """Accepts strings that are not empty; see text()."""

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        return "a non-empty string"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a string with anything in it."""
        return isinstance(value, str) and bool(value)

    @property
    def json_schema(self) -> dict[str, Any]:
        """The keyword for a string that is not empty."""
        return {"minLength": 1}


@attrs.frozen(kw_only=True)
class FlagCheck(Check):
    """Accepts True and False, and nothing that is merely truthy."""

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        return "True or False"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a bool."""
        return isinstance(value, bool)


@attrs.frozen(kw_only=True)
class CallableCheck(Check):
    """Accepts what can be called, and needs nobody to await or iterate what it returns."""

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        return "callable"

    def accepts(self, value: Any) -> bool:
        """Whether *value* can be called, and is plain."""
        return callable(value) and is_plain(value)

    def hint(self, value: Any) -> str:
        """What to write instead of a coroutine function or a generator."""
        return GIVE_PLAIN if callable(value) else ""


@attrs.frozen(kw_only=True)
class ChoiceCheck(Check):
    """Accepts one of a few words; see one_of()."""

    words: tuple[str, ...] = ()

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        return f"one of {', '.join(self.words)}"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is one of them."""
        return isinstance(value, str) and value in self.words

    def hint(self, value: Any) -> str:
        """The word that was most likely meant."""
        return did_you_mean(value, self.words) if isinstance(value, str) else ""

    @property
    def json_schema(self) -> dict[str, Any]:
        """The keyword that lists them."""
        return {"enum": list(self.words)}


@attrs.frozen(kw_only=True)
class RisingSharesCheck(Check):
    """Accepts shares between 0 and 1, each larger than the one before."""

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        return "rising numbers above 0 and below 1, such as (0.1, 0.25, 0.5)"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a tuple of them, with at least one."""
        return (isinstance(value, tuple) and bool(value) and all(map(is_number, value))
                and list(value) == sorted(set(value)) and 0 < value[0] <= value[-1] < 1)

    def kept(self, value: Any) -> Any:
        """The numbers alone."""
        return bare_numbers(value)

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
        """The keywords for the list and for each share."""
        return {"minItems": 1, "uniqueItems": True, "items": {"exclusiveMinimum": 0, "exclusiveMaximum": 1}}


@attrs.frozen(kw_only=True)
class ExceptionsCheck(Check):
    """Accepts Exception classes; what ends a task or the process is none of a policy's business."""

    @property
    def wanted(self) -> str:
        """The words for what is accepted, which follow "must be" in a message."""
        return "an Exception class or a tuple of Exception classes"

    def accepts(self, value: Any) -> bool:
        """Whether *value* is a tuple of them."""
        return isinstance(value, tuple) and all(
            isinstance(each, type) and issubclass(each, Exception) for each in value)

    def hint(self, value: Any) -> str:
        """What to write instead of a list, an instance, or a class that no policy ever sees, such as a cancellation."""
        if isinstance(value, (list, set, frozenset)):
            return f"write a tuple, not a {type(value).__name__}"
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, type) and issubclass(each, BaseException) and not issubclass(each, Exception):
                return f"{each.__name__} always passes through every policy: leave it out"
            if isinstance(each, Exception):
                return f"write the class, {type(each).__name__}"
        return ""


flag: Final = FlagCheck()
callable_or_none: Final = CallableCheck(optional=True)
rising_shares: Final = RisingSharesCheck()
ordinary_exceptions: Final = ExceptionsCheck()


def shown_value(value: Any) -> str:
    """A value as messages show it: a policy by its class only, whose settings would fill the page."""
    return f"a value of type {type(value).__name__}" if attrs.has(type(value)) else repr(value)


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


def one_of(*words: str) -> ChoiceCheck:
    """A validator for one of a few *words*."""
    return ChoiceCheck(words=words)


def as_classes(value: Any) -> Any:
    """A converter: one class is as good as a tuple of it."""
    return (value,) if isinstance(value, type) else value


def as_tuple(value: Any) -> Any:
    """A converter: a list, as a file has it, is as good as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def settings_for(cls: type[Any], value: Any) -> str | None:
    """How to write a *cls* whose settings somebody gave as a plain *value*: "Retry(attempts=3)" for 3.

    Args:
        cls: An attrs class.
        value: A number, a mapping of settings, or *cls* itself.

    Returns:
        The text of an expression that makes a *cls*; None if no setting of *cls* suits the value.
    """
    if not attrs.has(cls):  # a policy of a user's own
        return None
    fields = [field for field in attrs.fields(cls) if field.init]
    must: dict[str, Any] = {field.name: True for field in fields if field.metadata.get("must_be_true")}
    if value is cls or value is True:
        tries: list[dict[str, Any]] = [{}]
    elif isinstance(value, Mapping):
        tries = [dict(value)]
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        tries = [{field.name: value} for field in fields
                 if isinstance(field.validator, NumberCheck) and field.validator.accepts(value)]
    else:
        return None
    for settings in tries:
        said = {**must, **settings}
        try:
            cls(**said)
        except (TypeError, ValueError):  # ConfigError is a ValueError
            continue
        positional = next((field.name for field in fields if not field.kw_only), None)
        return f"{cls.__name__}({', '.join(_argument(name, each, positional) for name, each in said.items())})"
    return None


def _argument(name: str, value: Any, positional: str | None) -> str:
    return repr(value) if name == positional else f"{name}={value!r}"


def wrong_kind(name: str, cls: type[Any], value: Any) -> ConfigError:
    """The error for a setting that must be a *cls* or None, and was given something else.

    Args:
        name: The setting.
        cls: The attrs class of its values.
        value: What it was given.
    """
    kind = cls.__name__
    article = "an" if kind[0] in "AEIOU" else "a"
    written = settings_for(cls, value)
    hint = f"did you mean {written}?" if written else \
        "write None to switch it off" if value is False else f"write {kind}(...)"
    return ConfigError(f"{name} must be {article} {kind} or None, not {shown_value(value)}; {hint}", name)


def strict(cls: _Class) -> _Class:
    """Make an attrs class answer an unknown keyword with a ConfigError instead of a TypeError.

    It has to stand around ``__init__``: attrs has no hook that sees the keywords before Python refuses them, and
    ``__new__`` or a metaclass would hide the signature from help().
    """
    plain: Callable[..., None] = vars(cls)["__init__"]
    known = [field.alias or field.name for field in attrs.fields(cls) if field.init]
    positional = sum(field.init and not field.kw_only for field in attrs.fields(cls))

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        check_names(kwargs, known, cls.__name__)
        if len(args) > positional:
            raise _too_many(cls, positional, args)
        plain(self, *args, **kwargs)

    type.__setattr__(cls, "__init__", init)
    return cls


def _too_many(cls: type[Any], positional: int, args: tuple[Any, ...]) -> TypeError:
    """The error for more arguments without a name than *cls* takes."""
    name, surplus = cls.__name__, args[positional]
    first = "its settings by name" if not positional else "one setting without a name" if positional == 1 else \
        f"{positional} settings without a name"
    written = None if positional else settings_for(cls, surplus)
    example = written or f"{name}({', '.join([*map(repr, args[:positional]), 'name=value'])})"
    return TypeError(f"{name} takes {first}, as in {example}, not {surplus!r}")
