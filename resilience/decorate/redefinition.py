"""Redefinition: whether a function takes the place of an older self, as in a reloaded module or a notebook."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..commands.command import Command, internals_of
from ..engine.callables import innermost, layers, name_of, said
from .declaration import Declaration
from .wrapper_stack import Guard


def is_redefinition(command: Command, fn: Callable[..., Any], declaration: Declaration, below: Guard | None) -> bool:
    """Whether *fn* takes the place of the command's only function: a reloaded module, a notebook's cell run anew.

    It may say something new, then. Two lambdas, or a property's getter and setter, have one name too, but
    neither stands under it when the other is made; or it does so still, but has been replaced already.
    """
    name = name_of(fn)
    others = [each for each in internals_of(command).functions if below is None or each is not _function_of(below)]
    if not others:
        return (declaration.key is None or declaration.is_derived) and internals_of(command).was_guarded
    if name[1].rpartition(".")[2] == "_":  # what functools.singledispatch registers: all in use at once
        return False
    if "<locals>" in name[1] or any(name_of(each) != name or each.__wrapped__ is fn for each in others):  # type: ignore[attr-defined]
        return False
    there = [getattr(each, "_self_guarded", each) for each in now_under(fn, name[1])]
    # If a newer one took its place already, both are of one definition. What is there may be equal to anything.
    return any(each is others[-1] for each in there)


def _function_of(below: Guard) -> Callable[..., Any] | None:
    wrapper: Any = below.wrapper()
    function: Callable[..., Any] | None = getattr(wrapper, "_self_guarded", wrapper)
    return function  # under a proxy, the compiled one


def now_under(fn: Callable[..., Any], qualname: str) -> Iterator[Any]:
    """What stands under *qualname* in the module of *fn* until *fn* does, and all that it wraps."""
    first, *rest = qualname.split(".")
    names: dict[str, Any] = said(innermost(fn), "__globals__", dict) or {}
    module = sys.modules.get(name_of(fn)[0])
    if module is not None and names.get("__name__") != module.__name__:  # of a method that a class elsewhere inherits
        names = vars(module)
    found = names.get(first)
    for name in rest:
        found = inspect.getattr_static(found, name, None)
    found = found.fget if isinstance(found, property) else found
    yield from layers(found)
