"""Setting names: what somebody most likely meant who wrote a setting that does not exist."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from ..errors import ConfigError

_P = ParamSpec("_P")
_T = TypeVar("_T")
#: What other libraries call a setting, and what it is here.
_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {
    "bulkhead": ("max_concurrent",), "circuit_breaker": ("breaker",), "circuitbreaker": ("breaker",),
    "max_concurrency": ("max_concurrent",), "concurrency": ("max_concurrent",), "retries": ("retry", "attempts"),
    "max_retries": ("retry", "attempts"), "max_attempts": ("attempts",), "stop_after_attempt": ("attempts",),
    "tries": ("attempts",), "max_tries": ("attempts",), "stop": ("attempts",), "wait": ("base",),
    "backoff": ("factor",), "exceptions": ("on",), "exception": ("on",), "retry_on": ("on",), "exclude": ("ignore",),
    "period": ("per",), "name": ("key",), "command_key": ("key",), "commandkey": ("key",),
    "fail_max": ("consecutive",), "failure_threshold": ("consecutive",), "failure_rate_threshold": ("failure_rate",),
    "reset_timeout": ("open_for",), "recovery_timeout": ("open_for",), "wait_duration_in_open_state": ("open_for",),
    "ratelimit": ("rate_limit",), "ratelimiter": ("rate_limit",), "rate_limiter": ("rate_limit",),
    "time_limiter": ("timeout",), "timelimiter": ("timeout",), "limiter": ("rate_limit",), "hedging": ("hedge",)}
#: Names that count the retries without the first call, and so one less than ``attempts``.
_RETRIES_ONLY: Final = frozenset({"retries", "max_retries"})
#: Names of libraries that count failures in a row, and know no rate of failures.
_ONLY_IN_A_ROW: Final = frozenset({"fail_max", "failure_threshold"})


def renamed(name: str, known: Iterable[str]) -> str | None:
    """The name among *known* of what another library calls *name*; None if there is none."""
    return next((elsewhere for elsewhere in _ELSEWHERE.get(_plain(name), ()) if elsewhere in known), None)


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name among *known* that somebody who wrote *name* most likely means; None if none is near."""
    names, plain = sorted(known), _plain(name)
    elsewhere = renamed(name, names)
    if elsewhere is not None:
        return elsewhere
    near = difflib.get_close_matches(name, names, 1) or difflib.get_close_matches(plain, names, 1)
    if near:
        return near[0]
    sharing = [each for each in names if not _words(plain).isdisjoint(_words(each))]
    return sharing[0] if len(sharing) == 1 else None


def _words(name: str) -> set[str]:
    return {word for word in name.split("_") if len(word) > 2}


def did_you_mean(name: str, known: Iterable[str], before: str = "") -> str:
    """The question whether the nearest of the *known* names is meant, behind *before*; "" if none is near."""
    near = nearest(name, known)
    return f"{before}did you mean {near}?" if near else ""


def unknown_option(name: str, known: Iterable[str], where: str, value: Any = None) -> ConfigError:
    """The error for a setting that does not exist, with the nearest one that does.

    Args:
        name: The setting that does not exist.
        known: The names of the settings that exist.
        where: What has these settings, as the message names it.
        value: What the setting was given. A number is repeated in the message, translated where another library
            counts differently.
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean {as_written(name, near, names, value)}?" if near else f"it has {', '.join(names)}"
    return ConfigError(f"{where} has no setting {name!r}; {hint}", name)


def check_names(settings: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Check that *where*, as messages name it, has these *settings*.

    Raises:
        ConfigError: One is not *known*.
    """
    for name, value in settings.items():
        if name not in known:
            raise unknown_option(name, known, where, value)


def strict_function(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make a function that takes a policy's settings answer an unknown keyword as the policy itself does."""
    known = inspect.signature(function).parameters

    @functools.wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        check_names(kwargs, known, function.__name__)
        return function(*args, **kwargs)

    return checked


def as_written(name: str, near: str, names: list[str], value: Any) -> str:
    """The setting *near* with the *value* that means what another library's *name* means by it.

    Args:
        name: What was written.
        near: The setting that it means.
        names: All settings there are.
        value: What *name* was given; what is no number is left out.
    """
    if renamed(name, names) != near or isinstance(value, bool) or not isinstance(value, (int, float)):
        return near
    plain = _plain(name)
    if near == "attempts" and plain in _RETRIES_ONLY:
        value += 1  # attempts count the first call too
    if near == "failure_rate" and plain == "failure_rate_threshold" and value > 1:
        value /= 100  # Resilience4j gives a percentage
    whole = f"{near}={value:.12g}"
    alone = near == "consecutive" and plain in _ONLY_IN_A_ROW and "failure_rate" in names
    return f"{whole}, failure_rate=None" if alone else whole
