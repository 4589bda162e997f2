"""Parameters: the names that a function's callers use, read without its annotations.

Nobody here needs an annotation, and to ask for one may run code that fails. On Python
3.14 (PEP 649) annotations are evaluated when they are asked for, and may name what is
defined further down, the class that the function stands in, or what was imported under
TYPE_CHECKING only. So there they are asked for as text. What cannot be had as text
either (``x: 1 / 0``, an object with a broken ``__signature__``) is read without them.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

_AS_TEXT: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    import annotationlib

    _AS_TEXT["annotation_format"] = annotationlib.Format.STRING


def signature_of(fn: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of *fn*, its annotations text at most; None: it has none, as some builtins."""
    try:
        return inspect.signature(fn, **_AS_TEXT)
    except Exception:  # noqa: BLE001, S110 - TypeError, ValueError: none; any other: what an annotation raises
        pass
    try:
        return inspect.signature(_bare(fn))
    except Exception:  # noqa: BLE001 - whatever an object's own attributes raise
        return None


def parameters_called(fn: Callable[..., Any]) -> inspect.Signature | None:
    """The parameters that Python checks when *fn* itself is called; None: they cannot be told.

    What ``__wrapped__`` and ``__signature__`` say is left aside: a decorator may pass more than it takes.

    Args:
        fn: A function, a bound method, a partial, a plain class or a callable object.
    """
    try:
        target = _called(fn)
        return None if target is None else inspect.signature(target)
    except Exception:  # noqa: BLE001 - a builtin without a signature, or whatever an object's own attributes raise
        return None


def _called(fn: Any) -> Any:
    """Something whose signature is what a call of *fn* is checked against; None: not known."""
    kind = type(fn)
    if kind is types.FunctionType:
        return _copy(fn)
    if kind is types.BuiltinFunctionType:
        return fn
    if kind is types.MethodType:
        inner = _called(fn.__func__)
        return None if inner is None else types.MethodType(inner, fn.__self__)
    if kind is functools.partial:
        inner = _called(fn.func)
        return None if inner is None else functools.partial(inner, *fn.args, **fn.keywords)
    if isinstance(fn, type):
        plain = kind is type and inspect.getattr_static(fn, "__new__", None) is vars(object)["__new__"]
        init = inspect.getattr_static(fn, "__init__", None) if plain else None
        return types.MethodType(_copy(init), fn) if type(init) is types.FunctionType else None
    call = inspect.getattr_static(kind, "__call__", None)
    return types.MethodType(_copy(call), fn) if type(call) is types.FunctionType else None


def can_share_a_call(one: inspect.Signature, other: inspect.Signature, beside: str | None = None) -> bool:
    """Whether there are arguments that both signatures accept.

    Args:
        one: The parameters of a function.
        other: The parameters of what is called with the same arguments.
        beside: The name of a keyword argument that the other gets in addition.
    """
    most = max(len(_positional(one)), len(_positional(other)))
    for count in range(most + 1):
        first, second = _by_keyword(one, count), _by_keyword(other, count)
        if first is None or second is None:
            continue
        needed = first.needed | (second.needed - {beside})
        if all(first.takes(name) and second.takes(name) for name in needed) \
                and (beside is None or second.takes(beside)):
            return True
    return False


class _Keywords(NamedTuple):
    """The keyword arguments of a call whose first parameters are filled by position."""

    needed: frozenset[str]
    known: frozenset[str]
    filled: frozenset[str]
    any: bool

    def takes(self, name: str) -> bool:
        """Whether the call may have a keyword argument of this *name*."""
        return name in self.known or (self.any and name not in self.filled)


def _positional(signature: inspect.Signature) -> list[inspect.Parameter]:
    return [each for each in signature.parameters.values()
            if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]


def _by_keyword(signature: inspect.Signature, count: int) -> _Keywords | None:
    """What a call with *count* positional arguments needs and takes by keyword; None: there is no such call."""
    parameters, positional = signature.parameters.values(), _positional(signature)
    kinds = {each.kind for each in parameters}
    if count > len(positional) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        return None
    if any(each.kind is each.POSITIONAL_ONLY and each.default is each.empty for each in positional[count:]):
        return None
    open_ = [each for each in (*positional[count:], *(each for each in parameters if each.kind is each.KEYWORD_ONLY))
             if each.kind is not each.POSITIONAL_ONLY]
    filled = [each.name for each in positional[:count] if each.kind is not each.POSITIONAL_ONLY]
    return _Keywords(frozenset(each.name for each in open_ if each.default is each.empty),
                     frozenset(each.name for each in open_), frozenset(filled),
                     inspect.Parameter.VAR_KEYWORD in kinds)


def _bare(fn: Any) -> Any:
    """Something that has the parameters of *fn*, and no annotations."""
    if isinstance(fn, functools.partial):
        return functools.partial(_bare(fn.func), *fn.args, **fn.keywords)
    if isinstance(fn, types.MethodType):
        return types.MethodType(_bare(fn.__func__), fn.__self__)
    if not isinstance(fn, types.FunctionType):
        call = inspect.getattr_static(type(fn), "__call__", None)
        return types.MethodType(_bare(call), fn) if isinstance(call, types.FunctionType) else fn
    if "__wrapped__" in fn.__dict__:
        return _bare(inspect.unwrap(fn))
    return _copy(fn)


def _copy(fn: types.FunctionType) -> types.FunctionType:
    """A function with the parameters of *fn* and nothing that was written on it."""
    copy = types.FunctionType(fn.__code__, {}, fn.__name__, fn.__defaults__, fn.__closure__)
    copy.__kwdefaults__ = fn.__kwdefaults__
    return copy
