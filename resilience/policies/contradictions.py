"""Contradictions: what a policy says of an exception that the judge says the opposite of, so that it never happens.

Only what is certain is refused: two sides that name one class, or one of them a class whose exceptions the other side
takes away before it is asked. What a function says (``judge``, or a predicate) nobody knows before a call ends; our own
timeouts and refusals are not judged, and reach a policy whatever the rules say of their classes. So do groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from ..core.cache import Cache
from ..core.failure_rules import FailureRules
from ..core.fallback import Fallback
from ..core.retry import Retry
from ..engine.failure_judge import imported
from ..errors import CallTimeoutError, ConfigError, ResilienceError

#: The options that a ConfigError of check_agreement() is about.
CONTRADICTED: Final = ("on", "ignore", "cache_exceptions")
_JUDGED: Final = ("failures", "retry", "fallback", "cache")
_Kind = type[BaseException]
_UNJUDGED: Final = (ResilienceError, BaseExceptionGroup)
_SILENT: Final = FailureRules()  # with a judge, who is asked first, the other rules may never be asked


def check_agreement(key: str, declaration: Any, changes: Mapping[str, Any]) -> None:
    """Raise ConfigError if two policies of a function contradict each other with certainty.

    Args:
        key: For the message.
        declaration: The function's Declaration.
        changes: What is to be in force in the place of what it says, by name.
    """
    failures, retry, fallback, cache = (
        own and changes.get(name, own) for name in _JUDGED for own in (declaration.named(name),))
    _check(key, declaration.ignore, failures or _SILENT, retry, fallback)
    if cache is not None:
        _check_cache(key, declaration.ignore, failures or _SILENT, cache)


def _certain(rules: FailureRules) -> FailureRules:
    """The rules of which it is known that they are asked."""
    return rules if rules.judge is None else _SILENT


def _check(key: str, ignore: tuple[type[Exception], ...], rules: FailureRules, retry: Retry | None,
           fallback: Fallback | None) -> None:
    for name in ("exceptions", "busy", "refused"):  # said in code: a ready judge of ours names classes as "module:Name"
        both = _within([each for each in getattr(rules, name) or () if isinstance(each, type)], ignore)
        _refuse(key, both, f"failures=FailureRules({name}={{}})", "ignore={}",
                "what is ignored is the caller's fault before a rule is asked", "ignore")
    certain = _certain(rules)
    faults = list(_kinds(certain.caller_faults))
    for policy, said, cannot in ((retry, "Retry(on={})", "the caller's fault is never repeated"),
                                 (fallback, "Fallback(on={})", "no fallback answers for the caller's fault")):
        if policy is not None:
            for kinds, by in ((ignore, "ignore={}"), (faults, "failures=FailureRules(caller_faults={})")):
                _refuse(key, _within(_judged(policy.on), kinds), said, by, cannot, "on")
    if retry is not None and not retry.retry_rejections:
        _refuse(key, _within(_judged(retry.on), _kinds(certain.refused)), "Retry(on={})",
                "failures=FailureRules(refused={})", "what a limit of the caller's own refuses is not repeated", "on")


def _check_cache(key: str, ignore: tuple[type[Exception], ...], rules: FailureRules, cache: Cache) -> None:
    certain = _certain(rules)
    spared = [*ignore, *_kinds(certain.caller_faults, unknown=Exception), *_kinds(certain.refused, unknown=Exception)]
    kept = [kind for kind in cache.cache_exceptions
            if not any(issubclass(kind, each) or issubclass(each, kind) for each in spared)]
    for name in ("exceptions", "busy"):
        _refuse(key, _within(kept, _kinds(getattr(certain, name) or ())), "Cache(cache_exceptions={})",
                f"failures=FailureRules({name}={{}})", "what fails now would be the answer for the whole ttl",
                "cache_exceptions")


def _kinds(rules: Iterable[Any], unknown: _Kind | None = None) -> Iterator[_Kind]:
    """The classes that *rules* name; *unknown* for each of which nobody can tell yet what it means."""
    for rule in rules:
        meant = rule
        if isinstance(rule, str):
            try:
                meant = imported(rule)
            except AttributeError:  # there is no such name; it is said when a call fails
                meant = None
        if isinstance(meant, type):
            yield meant
        elif unknown is not None and (callable(rule) or isinstance(rule, str)):
            yield unknown


def _judged(on: Iterable[type[Exception]]) -> list[type[Exception]]:
    """Those classes *on* which a policy acts of whose exceptions all are judged."""
    return [kind for kind in on if not issubclass(kind, _UNJUDGED)
            and not issubclass(CallTimeoutError, kind) and not issubclass(ExceptionGroup, kind)]


def _within(kinds: Iterable[_Kind], others: Iterable[_Kind]) -> tuple[_Kind, _Kind] | None:
    """The first of *kinds* of which each exception is one of *others*, and which that is."""
    wholes = tuple(others)
    return next(((kind, whole) for kind in kinds for whole in wholes if issubclass(kind, whole)), None)


def _refuse(key: str, both: tuple[_Kind, _Kind] | None, said: str, against: str, why: str, option: str) -> None:
    if both is not None:
        one, other = (kind.__name__ for kind in both)
        raise ConfigError(f"{key}: {said.format(one)} and {against.format(other)} contradict each other, for {why}; "
                          "drop one of the two", option)
