"""Cache keys: what equal calls of a function have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Final

from ..core.parameters import signature_of

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]
_NAMED: Final = object()  # in a key, what follows it was given by name


class CacheKeys:
    """Makes the keys of one function's calls.

    ``plain`` says that of a call without keyword arguments the key is the tuple of its arguments, which callers
    therefore need not ask for.
    """

    __slots__ = ("_apart", "_by", "_fn", "_names", "plain")

    def __init__(self, fn: Callable[..., Any], by: Callable[..., Hashable] | None,
                 apart: Callable[..., Hashable] | None) -> None:
        """Go by the arguments, or by what *by* makes of them; *apart* tells calls apart that are else equal."""
        self._fn, self._by, self._apart = fn, by, apart
        self._names = _names_of(fn)
        self.plain = by is None and apart is None

    def of(self, args: _Args, kwargs: _Kwargs) -> Hashable:
        """The key of a call; None: it is not to be cached."""
        key = self._arguments(args, kwargs) if self._by is None else self._by(*args, **kwargs)
        return key if self._apart is None or key is None else (self._apart(*args, **kwargs), key)

    def _arguments(self, args: _Args, kwargs: _Kwargs) -> Hashable:
        """The arguments, by position as far as they go."""
        given, rest = list(args), dict(kwargs)
        for name in self._names[len(args):]:
            if name not in rest:
                break
            given.append(rest.pop(name))
        if rest:
            given += (_NAMED, *sorted(rest.items()))
        return tuple(given)

    def check(self, key: Hashable, args: _Args, kwargs: _Kwargs) -> None:
        """Raise a TypeError that says what is wrong with *key*, if it is that it cannot be hashed."""
        where = getattr(self._fn, "__qualname__", repr(self._fn))
        if self._by is not None:
            parts = {"what by= returned": key}
        else:
            parts = {f"the argument {name!r}": value for name, value in _by_name(self._fn, args, kwargs)}
        for what, value in parts.items():
            try:
                hash(value)
            except TypeError as error:
                raise TypeError(f"{where} is cached, and {what} ({type(value).__name__}) cannot be hashed; give Cache "
                                "a by= that makes something hashable of the arguments") from error


def _names_of(fn: Callable[..., Any]) -> tuple[str | None, ...]:
    """Parameters by position; None: it has no name to the caller."""
    signature = signature_of(fn)
    if signature is None:
        return ()
    return tuple(None if each.kind is each.POSITIONAL_ONLY else each.name for each in signature.parameters.values()
                 if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD))


def _by_name(fn: Callable[..., Any], args: _Args, kwargs: _Kwargs) -> Iterator[tuple[str, Any]]:
    signature = signature_of(fn)
    try:
        bound = None if signature is None else signature.bind(*args, **kwargs)
    except TypeError:  # the arguments do not fit
        bound = None
    if signature is None or bound is None:
        yield from ((str(position), value) for position, value in enumerate(args))
        yield from kwargs.items()
        return
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value
