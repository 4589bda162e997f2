"""Policies of users' own: how a class becomes a kit.

A policy of your own has two parts, as the library's have. Its *value* is a frozen attrs class that says what is wanted
and can be written in a configuration file. Its *machine*, one for each command, decides: ``acquire(now, call)`` lets a
call begin and returns a permit, or raises a RejectedError; ``settle(permit, outcome, started, now)`` hears exactly once
how that call ended. Both are told the time. ``custom_policy`` makes a kit of the two, with which the policy stands in
pipelines, stacks, ``command``, files, statistics and exporters like any other.

A gate of a user's stands between the circuit breaker and the bulkhead: above the breaker it would hear of calls that
never came near the target, and below the bulkhead a call that it refuses would hold a slot that another could use. It
is run the plain way, by its methods; see plain_gate.
"""

from __future__ import annotations

import functools
import keyword
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import attrs

from ..core.outcome import EVENT_NAMES
from ..errors import ConfigError
from . import order
from .plain_gate import PolicyMachine, plain_gate_kit
from .settings import Settings

_Class = TypeVar("_Class", bound=type)
_PLACES: Final = ("breaker", "throttle", "rate_limit", "max_concurrent", "adaptive_limit")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
#: What decorators, handles and files call something else, beside the attributes of Settings.
RESERVED: Final = frozenset({"key", "group", "max_keys", "idle", "ignore", "registry", "policies", "raise_as"})


class CustomPolicy(Protocol):
    """The value of a policy of a user's own; see custom_policy.

    One more method is called if it is there: ``worst_case(below)``, for explain(), is given the WorstCase of all that
    stands below and returns that of both. A policy that may let a call wait returns ``below.after(seconds)``.
    """

    def machine(self, key: str, now: float, /) -> PolicyMachine:
        """Make the machine that decides about the calls of one command.

        Args:
            key: Key of the command.
            now: The present time, seconds on the registry's clock.
        """
        ...


def custom_policy(name: str, *, about: str, below: Mapping[str, str] | None = None,
                  above: Mapping[str, str] | None = None, shadow: bool = True) -> Callable[[_Class], _Class]:
    """Make a policy of a frozen attrs class that has a method ``machine(key, now)``; put it on the class, topmost.

    Args:
        name: Of its setting, in files and on handles, such as "spending_cap": small letters, digits and underscores.
            Its refusals are counted as the event ``NAME_rejected``.
        about: What it does, in one sentence, for people.
        below: Names of the policies that must stand above it, each with the reason why: "breaker", "throttle",
            "rate_limit". Without above and below it stands right above the bulkhead.
        above: Names of the policies that must stand below it: "throttle", "rate_limit", "max_concurrent",
            "adaptive_limit".
        shadow: Whether it may be in shadow mode.

    Raises:
        ConfigError: The name is taken or cannot be one, or there is no place that suits both above and below.
        TypeError: The class is none of attrs', is not frozen, has a private field, or has no method ``machine``.
    """
    _check_name(name)
    reasons = {"below": dict(below or {}), "above": dict(above or {})}
    for side, named in reasons.items():
        for other in named:
            if other not in _PLACES:
                raise ConfigError(f"{side}: a policy of your own stands among {', '.join(_PLACES)}; there is no "
                                  f"{other!r} there", side)

    def register(cls: _Class) -> _Class:
        _check_class(cls)
        order.add(plain_gate_kit(cls, name, about=about, below=reasons["below"], above=reasons["above"], shadow=shadow))
        # a class that is pickled by value, as those of __main__ are, is made anew elsewhere without its decorators
        cls.__resilience_policy__ = functools.partial(  # type: ignore[attr-defined]
            custom_policy, name, about=about, below=reasons["below"], above=reasons["above"], shadow=shadow)
        return cls

    return register


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError("name must be an identifier of small letters, digits and underscores, such as "
                          f"'spending_cap', not {name!r}", "name")
    if order.kit_named(name) is None and (name in RESERVED or hasattr(Settings, name)
                                          or name in attrs.fields_dict(Settings)):
        raise ConfigError(f"name: decorators, handles or files mean something else by {name!r}; choose another name",
                          "name")
    if f"{name}_rejected" in EVENT_NAMES:
        raise ConfigError(f"name: its refusals would be counted as {name}_rejected, which counts something else; "
                          "choose another name", "name")


def _check_class(cls: type[Any]) -> None:
    if not attrs.has(cls):
        raise TypeError(f"{cls.__qualname__} must be an attrs class, so that its fields can be checked, compared "
                        "and written in a file: put @attrs.frozen below @custom_policy")
    if cls.__hash__ is None:
        raise TypeError(f"{cls.__qualname__} must be frozen, for commands share it and compare it with later ones: "
                        "put @attrs.frozen below @custom_policy")
    private = [field.name for field in attrs.fields(cls) if field.name.startswith("_")]
    if private:
        raise TypeError(f"{cls.__qualname__}.{private[0]}: the fields of a policy are settings, in files too, and need "
                        "public names")
    if not callable(getattr(cls, "machine", None)):
        raise TypeError(f"{cls.__qualname__} needs a method machine(self, key, now) that returns what decides")
