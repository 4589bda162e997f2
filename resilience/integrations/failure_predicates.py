"""What circuitbreaker's ``expected_exception`` may be, and the function that says which exceptions are failures."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ..core.callbacks import is_plain


def build_failure_predicate(expected_exception: Any) -> Callable[[type[BaseException], BaseException], object]:
    """What says whether an exception is a failure.

    Args:
        expected_exception: An exception type, several, or a function of type and exception.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(expected_exception, (str, bytes)):
        raise ValueError("expected_exception cannot be a string; it must be exceptions or a function. Is "
                         f"{expected_exception!r} meant as the name?")
    types = (expected_exception,) if isinstance(expected_exception, type) else expected_exception
    if isinstance(types, Iterable):
        types = tuple(types)
        if all(isinstance(each, type) and issubclass(each, Exception) for each in types):
            return in_exception_list(*types)
    elif callable(expected_exception) and is_plain(expected_exception):
        return expected_exception  # type: ignore[no-any-return]
    raise ValueError("expected_exception does not look like a predicate: it must be an exception type, several, or a "
                     f"plain function of type and exception, not {expected_exception!r}")


def in_exception_list(*exc_types: type[Exception]) -> Callable[[type[BaseException], BaseException], bool]:
    """A function that says whether an exception is one of these types."""
    return functools.partial(_is_listed, exc_types)  # which can be pickled


def _is_listed(listed: tuple[type[Exception], ...], kind: type[BaseException], _: BaseException) -> bool:
    return issubclass(kind, listed)
