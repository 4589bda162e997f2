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
from typing import Any

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
    copy = types.FunctionType(fn.__code__, {}, fn.__name__, fn.__defaults__, fn.__closure__)
    copy.__kwdefaults__ = fn.__kwdefaults__
    return copy
