"""Failure rules: what a call amounts to, said once for all policies of a command.

An exception is failed unless a rule or the command's ``ignore`` says otherwise; a result is good
unless a rule says otherwise. The rules are asked in this order, and the first that has an opinion decides:
``judge``, ``caller_faults``, ``refused``, ``busy``, ``exceptions``, ``status``; of results ``judge``, ``results``,
``status``.

A rule speaks of exceptions by class or by predicate, a function that is given the exception. In
files, and wherever the class is not to be imported yet, "module:Name" stands for either. It is looked up
when a call has failed and the module is there.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .callable_identity import by_identity
from .callbacks import GIVE_PLAIN, is_plain
from .checks import flag, strict
from .http_status import HttpStatus, as_codes, codes_of, http_status, is_code
from .references import (
    EXCEPTIONS,
    EXCEPTIONS_OR_CODES,
    FUNCTION,
    STATUSES,
    as_function,
    found,
    function_or_none,
    in_file,
)
from .verdict import Ending, Verdict

#: A class of exceptions, a function that is given one, or "module:Name" of either.
ExceptionRule = type[Exception] | Callable[[Exception], object] | str
Judge = Callable[[Ending], Verdict | bool | None]
#: What may stand in the place of FailureRules, alone or in a list.
Rule = HttpStatus | type[Exception] | Judge

_WANTED: Final = 'Exception classes, functions of an exception, or "module:Name" of either'


def _several(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (type, str)) or callable(value) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def _as_rules(value: Any) -> Any:
    """A converter: one rule is as good as a tuple of it, and names of built-in exceptions stand for these."""
    return None if value is None else tuple(
        getattr(builtins, each, each) if isinstance(each, str) else each for each in _several(value))


def _rules(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    name, codes = attribute.name, attribute.metadata["in_file_check"].codes
    for rule in value or ():
        if codes and is_code(rule):
            codes_of(name, (rule,))
        elif isinstance(rule, str):
            if ":" not in rule:  # else its module may never be imported, and then nothing of it is raised either
                found(rule, name)
        elif not callable(rule) or not is_plain(rule) or (isinstance(rule, type) and not issubclass(rule, Exception)):
            hint = "" if not callable(rule) else f"; {GIVE_PLAIN}" if not isinstance(rule, type) else \
                f"; {rule.__name__} always passes through every policy: leave it out" \
                if issubclass(rule, BaseException) else ""
            raise ConfigError(f"{name} must be {'status codes, ' if codes else ''}{_WANTED}, not {rule!r}{hint}", name)


def _status(value: Any) -> Any:
    if value is None or isinstance(value, HttpStatus):
        return value
    if isinstance(value, (int, str, list, tuple)):
        codes_of("status", as_codes(value))
        return HttpStatus(value)
    raise ConfigError(f'status must be http_status(...), codes such as 503 or "5xx", or None, not {value!r}', "status")


def _by_identities(value: Any) -> Any:
    return value if value is None else tuple(map(by_identity, value))


def _codes_in(rules: tuple[Any, ...]) -> tuple[int | str, ...]:
    return tuple(rule for rule in rules if is_code(rule))


_FUNCTION: Final = in_file(str | None, FUNCTION)
_EXCEPTIONS: Final = in_file(tuple[str, ...] | None, EXCEPTIONS)
_REFUSED: Final = in_file(tuple[str, ...], EXCEPTIONS)
_EXCEPTIONS_OR_CODES: Final = in_file(tuple[int | str, ...], EXCEPTIONS_OR_CODES)
_STATUSES: Final = in_file(tuple[int | str, ...] | None, STATUSES)


@strict
@attrs.frozen
class FailureRules:
    """Rules that say what a call amounts to: good, failed, busy, refused, or the caller's fault.

    Immutable: any number of commands and threads may share one. All policies of the command act on the same verdict.

    Attributes:
        judge: Function that is given an Ending and returns a Verdict, True for failed, False for good, or None to let
            the other rules decide.
        exceptions: Exceptions that are failures, by class or by predicate; all others are the caller's fault. None:
            every exception is a failure of which no other rule says otherwise.
        results: Function that is given a result and returns whether it is a failure.
        items: Function that is given an item of a stream and returns whether it is a failure.
        status: Rule for HTTP statuses and gRPC codes, such as http_status(), or the codes that say the target is
            unhealthy.
        busy: What says that the target is healthy and refuses for now: exceptions by class or by predicate, and status
            codes.
        refused: What says that a limit on the caller's own side refused, such as a client's full connection pool:
            exceptions by class or by predicate. If the timeout of a coroutine function or an async generator has ended
            a call, it is asked about the cancellation: its traceback says where the call waited.
        caller_faults: What is the caller's fault: exceptions by class or by predicate, and status codes.
        halts: Whether a call that is judged busy and says Retry-After opens the circuit until then, a day at most.
        raise_failures: Whether a result that is judged failed or busy is raised as FailedResultError. False: it is
            returned all the same, unless a fallback answers.
    """

    judge: Judge | None = attrs.field(
        default=None, converter=as_function, validator=function_or_none, eq=by_identity, metadata=_FUNCTION)
    exceptions: tuple[ExceptionRule, ...] | None = attrs.field(
        default=None, kw_only=True, converter=_as_rules, validator=_rules, eq=_by_identities, metadata=_EXCEPTIONS)
    results: Callable[[Any], object] | None = attrs.field(
        default=None, kw_only=True, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=_FUNCTION)
    items: Callable[[Any], object] | None = attrs.field(
        default=None, kw_only=True, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=_FUNCTION)
    status: HttpStatus | None = attrs.field(
        default=None, kw_only=True, converter=_status, metadata=_STATUSES)
    busy: tuple[ExceptionRule | int, ...] = attrs.field(
        default=(), kw_only=True, converter=_as_rules, validator=_rules, eq=_by_identities,
        metadata=_EXCEPTIONS_OR_CODES)
    refused: tuple[ExceptionRule, ...] = attrs.field(
        default=(), kw_only=True, converter=_as_rules, validator=_rules, eq=_by_identities, metadata=_REFUSED)
    caller_faults: tuple[ExceptionRule | int, ...] = attrs.field(
        default=(), kw_only=True, converter=_as_rules, validator=_rules, eq=_by_identities,
        metadata=_EXCEPTIONS_OR_CODES)
    halts: bool = attrs.field(default=False, kw_only=True, validator=flag)
    raise_failures: bool = attrs.field(default=False, kw_only=True, validator=flag)

def rules_meant(value: Any) -> FailureRules:
    """Return the rules that a value stands for.

    Args:
        value: A rule for statuses, a judge, classes of exceptions, or several of these.

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
        elif callable(each) and not isinstance(each, type) and each is not http_status:
            judges.append(each)
        else:
            hint = f"; did you mean http_status({each!r})?" if is_code(each) else \
                f"; write {each.__name__}(...)" if each in (http_status, HttpStatus, FailureRules) else ""
            raise ConfigError(f"failures must be http_status(...), Exception classes, a function of an Ending, or "
                              f"FailureRules(...), not {each!r}{hint}", "failures")
    if len(statuses) > 1 or len(judges) > 1:
        raise ConfigError("failures takes one http_status(...) and one function; write FailureRules(...) for more",
                          "failures")
    return FailureRules(*judges, exceptions=tuple(exceptions) or None, status=statuses[0] if statuses else None)


def judges_items(rules: FailureRules) -> bool:
    """Whether any rule has an opinion on items of a stream."""
    return rules.judge is not None or rules.items is not None


def status_rule(rules: FailureRules) -> HttpStatus | None:
    """All that is said of status codes, as one rule; None: nothing is."""
    busy, caller_faults = _codes_in(rules.busy), _codes_in(rules.caller_faults)
    if not busy and not caller_faults:
        return rules.status
    status = HttpStatus(()) if rules.status is None else rules.status
    return attrs.evolve(status, busy=(*status.busy, *busy), caller_fault=(*status.caller_fault, *caller_faults))
