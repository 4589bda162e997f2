"""Inheritance: a guarded method that nobody gave a key is a command of its own for each class that inherits it.

Two subclasses of one client call different targets, as closures of one factory do, and one must not close the way to
the other. Hystrix names a command by its class, too. So a class in whose body a method is guarded hands a guard of
the same kind down to each subclass, under the subclass's own name, when that is made: no call pays for it. A method
with a key is shared by all classes, as is what somebody else's decorator wraps.

A decorator does not know the class in whose body it stands. It leaves a Notice there, which Python tells of the class
(``__set_name__``), and which goes then; the class gets an ``__init_subclass__`` in its place, which calls the one that
was there, or the next class's.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any, Final

import attrs

from ..engine.callables import GUARD, name_of
from .declaration import Declaration
from .wrapper_stack import Guard, guard_of

#: Guards a function as a declaration says; see decoration.guard().
Guarding = Callable[[Any, Declaration], Any]

_NOTICE: Final = "__resilience_notice__"
_HOOK: Final = "__init_subclass__"
_FURTHEST: Final = 16  # frames between a class body and guard(): decorators of others, which call ours


class _Notice:
    """Stands in the body of a class until it is made."""

    def __init__(self, guarding: Guarding) -> None:
        self._guarding = guarding

    def __set_name__(self, owner: type, name: str) -> None:
        type.__delattr__(owner, name)
        hand_down(owner, self._guarding)


def notice(fn: Callable[..., Any], guarding: Guarding) -> None:
    """Let the class in whose body *fn* is being guarded hand it down, if that is where it is."""
    place = name_of(fn)[1].rpartition(".")[0]
    name = place.rpartition(".")[2]
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FURTHEST if name.isidentifier() else 0):
        if frame is None:
            return
        if frame.f_code.co_name == name and frame.f_locals.get("__qualname__") == place:
            frame.f_locals[_NOTICE] = _Notice(guarding)
            return
        frame = frame.f_back


def hand_down(cls: type, guarding: Guarding) -> None:
    """Let each subclass of *cls* that is made from now on have commands of its own for what it inherits."""
    said = vars(cls).get(_HOOK)
    if _heirs_of(said) is None:
        heirs = _Heirs(said, guarding)
        type.__setattr__(cls, _HOOK, classmethod(functools.partial(_init_subclass, heirs)))


@attrs.frozen(eq=False)
class _Heirs:
    """What stands behind the ``__init_subclass__`` of one class.

    Attributes:
        said: That which the class itself defines; None: none.
        guarding: Guards what is handed down.
    """

    said: Any
    guarding: Guarding


def _heirs_of(hook: Any) -> _Heirs | None:
    """What stands behind a *hook*, if it is one of ours."""
    function = getattr(hook, "__func__", None)
    return function.args[0] if isinstance(function, functools.partial) and function.func is _init_subclass else None


def _init_subclass(heirs: _Heirs, cls: type, /, **kwargs: Any) -> None:
    _inherit(cls, heirs.guarding)
    if heirs.said is not None:
        heirs.said.__get__(None, cls)(**kwargs)
    else:
        here: Any = next(each for each in cls.__mro__ if _heirs_of(vars(each).get(_HOOK)) is heirs)
        super(here, cls).__init_subclass__(**kwargs)


def _inherit(cls: type, guarding: Guarding) -> None:
    """Give *cls* guards of its own in the place of those that it inherits."""
    names = dict.fromkeys(name for base in cls.__mro__[1:] for name, value in vars(base).items() if _guard_in(value))
    for name in names:
        value = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
        known = _guard_in(value)
        if known is not None and name not in vars(cls):
            guarded = _anew(cls, known, guarding)
            type.__setattr__(cls, name, guarded if isinstance(value, FunctionType) else type(value)(guarded))


def _guard_in(value: Any) -> Guard | None:
    """The guard of a method under which subclasses have commands of their own."""
    function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
    if not isinstance(function, FunctionType) or vars(function).get("__isabstractmethod__"):
        return None
    known = guard_of(function) if GUARD in vars(function) else None
    is_named = known is not None and (known.declaration.key is not None or not isinstance(known.fn, FunctionType))
    return None if is_named else known


def _anew(cls: type, known: Guard, guarding: Guarding) -> Any:
    fn: Any = known.fn
    own: Any = FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    functools.update_wrapper(own, fn)
    del own.__wrapped__
    own.__kwdefaults__ = fn.__kwdefaults__
    own.__module__, own.__qualname__ = cls.__module__, f"{cls.__qualname__}.{fn.__name__}"
    templates = (*known.declaration.templates, ".".join(name_of(fn)))
    return guarding(own, attrs.evolve(known.declaration, templates=templates))
