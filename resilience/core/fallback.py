"""Fallback: what to answer instead of an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from .callable_identity import by_identity
from .checks import as_classes, number, ordinary_exceptions, strict
from .parameters import signature_of

DEFAULT_FALLBACK_CONCURRENCY: Final = 10  # Hystrix: fallback.isolation.semaphore.maxConcurrentRequests


def takes_error(function: Callable[..., Any]) -> bool:
    """Whether a keyword argument ``error`` would go to a parameter of that name."""
    signature = signature_of(function)
    parameter = None if signature is None else signature.parameters.get("error")
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _callable(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{attribute.name} of a fallback must be callable, not {value!r}; to answer with that, write "
                        f"lambda *args, **kwargs: {value!r}")


@strict
@attrs.frozen
class Fallback:
    """Fallback policy: returns the result of another function when the call fails or is refused.

    Immutable: any number of functions and threads may share one.

    Attributes:
        function: Function that is called with the arguments of the failed call. If it has a parameter named ``error``,
            it gets the exception there.
        on: Classes of exceptions for which the fallback runs. All others reach the caller.
        max_concurrent: Largest number of fallbacks that run at once. Further calls fail with FallbackRejectedError.
    """

    function: Callable[..., Any] = attrs.field(validator=_callable, eq=by_identity)
    on: tuple[type[Exception], ...] = attrs.field(
        default=(Exception,), kw_only=True, converter=as_classes, validator=ordinary_exceptions
    )
    max_concurrent: int = attrs.field(
        default=DEFAULT_FALLBACK_CONCURRENCY, kw_only=True, validator=number(least=1, most=1_000_000, whole=True)
    )
