"""Failure rules: what a call amounts to, said once for all policies of a command.

An exception is failed unless a rule or the command's ``ignore`` says otherwise; a result is good
unless a rule says otherwise. The rules are asked in this order, and the first that has an opinion decides:
``judge``, ``caller_faults``, ``busy``, ``exceptions``, ``status``; of results ``judge``, ``results``, ``status``.

A rule speaks of exceptions by class or by predicate, a function that is given the exception. In
files, and wherever the class is not to be imported yet, "module:Name" stands for either.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .checks import by_identity, flag, strict
from .http_status import HttpStatus
from .verdict import Ending, Verdict

#: A class of exceptions, a function that is given one, or "module:Name" of either.
ExceptionRule = type[Exception] | Callable[[Exception], object] | str
Judge = Callable[[Ending], Verdict | bool | None]

_WANTED: Final = 'Exception classes, functions of an exception, or "module:Name" of either'


def found(reference: str, name: str) -> Any:
    """What "module:Name", or the name of something built in, stands for; imports the module.

    Raises:
        ConfigError: There is no such thing; *name* says where it was written.
    """
    module, _, path = reference.rpartition(":")
    try:
        thing: Any = importlib.import_module(module or "builtins")
        for step in path.split("."):
            thing = getattr(thing, step)
    except Exception as error:
        raise ConfigError(f"{name}: {reference!r} cannot be found: {error}", name) from error
    return thing


def _several(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (type, str)) or callable(value) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def _exceptions(name: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        if value is None:
            return None
        rules = tuple(found(each, name) if isinstance(each, str) else each for each in _several(value))
        for rule in rules:
            if isinstance(rule, type) and not issubclass(rule, Exception) or not callable(rule):
                hint = f"; {rule.__name__} always passes through every policy: leave it out" \
                    if isinstance(rule, type) and issubclass(rule, BaseException) else ""
                raise ConfigError(f"{name} must be {_WANTED}, not {rule!r}{hint}", name)
        return rules

    return convert


def _function(name: str) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        thing = found(value, name) if isinstance(value, str) else value
        if thing is not None and not callable(thing):
            raise ConfigError(f"{name} must be callable or None, not {thing!r}", name)
        return thing

    return convert


def _status(value: Any) -> Any:
    if value is None or isinstance(value, HttpStatus):
        return value
    if isinstance(value, dict):
        return HttpStatus(**value)
    if isinstance(value, (int, str, list, tuple)):
        return HttpStatus(value)
    raise ConfigError(f"status must be http_status(...) or None, not {value!r}; write http_status()", "status")


def _by_identities(value: Any) -> Any:
    return value if value is None else tuple(map(by_identity, value))


_IN_FILE: Final = {"in_file": tuple[str, ...], "one_is_enough": True}


@strict
@attrs.frozen
class FailureRules:
    """Rules that say what a call amounts to: good, failed, busy, or the caller's fault.

    Immutable: any number of commands and threads may share one. All policies of the command act on the same verdict.

    Attributes:
        judge: Function that is given an Ending and returns a Verdict, True for failed, False for good, or None to let
            the other rules decide.
        exceptions: Exceptions that are failures, by class or by predicate; all others are the caller's fault. None:
            every exception is a failure of which no other rule says otherwise.
        results: Function that is given a result and returns whether it is a failure.
        items: Function that is given an item of a stream and returns whether it is a failure.
        status: Rule for HTTP statuses and gRPC codes, such as http_status().
        busy: Exceptions that say the target is well and refuses for now, by class or by predicate.
        caller_faults: Exceptions that are the caller's fault, by class or by predicate.
        raise_failures: Whether a result that is judged failed or busy is raised as FailedResultError. False: it is
            returned all the same, unless a fallback answers.
    """

    judge: Judge | None = attrs.field(default=None, converter=_function("judge"), eq=by_identity,
                                      metadata={"in_file": str})
    exceptions: tuple[ExceptionRule, ...] | None = attrs.field(
        default=None, kw_only=True, converter=_exceptions("exceptions"), eq=_by_identities, metadata=_IN_FILE)
    results: Callable[[Any], object] | None = attrs.field(
        default=None, kw_only=True, converter=_function("results"), eq=by_identity, metadata={"in_file": str})
    items: Callable[[Any], object] | None = attrs.field(
        default=None, kw_only=True, converter=_function("items"), eq=by_identity, metadata={"in_file": str})
    status: HttpStatus | None = attrs.field(default=None, kw_only=True, converter=_status, metadata={
        "in_file": HttpStatus})
    busy: tuple[ExceptionRule, ...] = attrs.field(
        default=(), kw_only=True, converter=_exceptions("busy"), eq=_by_identities, metadata=_IN_FILE)
    caller_faults: tuple[ExceptionRule, ...] = attrs.field(
        default=(), kw_only=True, converter=_exceptions("caller_faults"), eq=_by_identities, metadata=_IN_FILE)
    raise_failures: bool = attrs.field(default=False, kw_only=True, validator=flag)

    @classmethod
    def meant(cls, value: Any) -> FailureRules:
        """The rules that *value* stands for: a rule for statuses, a judge, classes of exceptions, or several of these.

        Raises:
            ConfigError: It stands for none.
        """
        if isinstance(value, FailureRules):
            return value
        statuses: list[HttpStatus] = []
        exceptions: list[Any] = []
        judges: list[Any] = []
        for each in _several(value):
            if isinstance(each, HttpStatus):
                statuses.append(each)
            elif isinstance(each, type) and issubclass(each, Exception):
                exceptions.append(each)
            elif callable(each) and not isinstance(each, type):
                judges.append(each)
            else:
                raise ConfigError(f"failures must be http_status(...), Exception classes, a function of an Ending, or "
                                  f"FailureRules(...), not {each!r}", "failures")
        if len(statuses) > 1 or len(judges) > 1:
            raise ConfigError("failures takes one http_status(...) and one function; write FailureRules(...) for more",
                              "failures")
        return cls(*judges, exceptions=tuple(exceptions) or None, status=statuses[0] if statuses else None)

    @property
    def judges_results(self) -> bool:
        """Whether any rule has an opinion on results."""
        return self.judge is not None or self.results is not None or self.status is not None

    @property
    def judges_items(self) -> bool:
        """Whether any rule has an opinion on items of a stream."""
        return self.judge is not None or self.items is not None
