"""Fallback: what to answer instead of an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from .checks import by_identity, number, ordinary_exceptions, strict
from .parameters import signature_of

DEFAULT_FALLBACK_CONCURRENCY: Final = 10  # Hystrix: fallback.isolation.semaphore.maxConcurrentRequests


def takes_error(function: Callable[..., Any]) -> bool:
    """Whether a keyword argument ``error`` would go to a parameter of that name."""
    signature = signature_of(function)
    parameter = None if signature is None else signature.parameters.get("error")
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _fallback_types(value: Any) -> Any:
    return (value,) if isinstance(value, type) else value


def _callable(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value):
        raise TypeError(f"{attribute.name} of a fallback must be callable, not {value!r}")


@strict
@attrs.frozen
class Fallback:
    """What to answer instead of an error.

    Attributes:
        function: Called with the call's own arguments; a parameter named ``error`` gets the exception.
        on: Exceptions it answers for; every other passes through.
        max_concurrent: How many may run at once; one more is refused with FallbackRejectedError.
    """

    function: Callable[..., Any] = attrs.field(validator=_callable, eq=by_identity)
    on: tuple[type[Exception], ...] = attrs.field(
        default=(Exception,), kw_only=True, converter=_fallback_types, validator=ordinary_exceptions
    )
    max_concurrent: int = attrs.field(
        default=DEFAULT_FALLBACK_CONCURRENCY, kw_only=True, validator=number(least=1, most=1_000_000, whole=True)
    )

    def wants_error(self) -> bool:
        """Whether the function has a parameter named ``error``."""
        return takes_error(self.function)
