"""Inheritance: a guarded method that nobody gave a key is a command of its own for each class that inherits it.

Two subclasses of one client call different targets, as closures of one factory do, and one must not close the way to
the other. Hystrix names a command by its class, too. So a class in whose body a method is guarded hands a guard of
the same kind down to each subclass, under the subclass's own name, when that is made: no call pays for it. A method
with a key is shared by all classes, as is what somebody else's decorator wraps.

What a class is handed down stands in its dict, where Python looks before it looks at the classes behind it. If one of
those has a method of its own of that name, which is what a further subclass of both is to inherit, a StandsAside takes
the place of what was handed down: it is there for all classes but such.

A decorator does not know the class in whose body it stands. It leaves a Notice there, which Python tells of the class
(``__set_name__``), and which goes then; the class gets an ``__init_subclass__`` in its place, which calls the one that
was there, or the next class's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any, Final

import attrs

from ..engine.callables import GUARD, layers, look_like, name_of
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
        type.__setattr__(cls, _HOOK, classmethod(_Heirs(said, guarding)))


@attrs.frozen(eq=False)
class _Heirs:
    """Hands guarded methods down to each subclass of a class, whose ``__init_subclass__`` it is.

    Attributes:
        said: That which the class itself defines; None: none.
        guarding: Guards what is handed down.
    """

    said: Any
    guarding: Guarding

    @property
    def __wrapped__(self) -> Any:
        """The function of the class itself."""
        return getattr(self.said, "__func__", None)

    @property
    def __closure__(self) -> Any:
        """Its cells: attrs makes a class with slots anew, and changes the class in them."""
        return getattr(self.__wrapped__, "__closure__", None)

    def __call__(self, cls: Any, /, **kwargs: Any) -> None:
        """Hand down, then do what the class itself does, or the next one."""
        _inherit(cls, self.guarding)
        if self.said is not None:
            self.said.__get__(None, cls)(**kwargs)
        else:
            here: Any = next(each for each in cls.__mro__ if _heirs_of(vars(each).get(_HOOK)) is self)
            super(here, cls).__init_subclass__(**kwargs)


def _heirs_of(hook: Any) -> _Heirs | None:
    """What stands behind a *hook*, if it is one of ours, or somebody's wrapper of one."""
    return next((each for each in layers(getattr(hook, "__func__", None)) if isinstance(each, _Heirs)), None)


@attrs.frozen(eq=False)
class _StandsAside:
    """In the place of a method that a class was handed down, and which some subclass of it is not to have.

    Attributes:
        handed: The method.
        place: The class.
        name: Name of the method.
    """

    handed: Any
    place: type
    name: str

    @property
    def __wrapped__(self) -> Any:
        return self.handed

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if _is_overridden(self.handed, self.place, self.name, owner or type(instance)):
            of: Any = owner if instance is None else instance
            return getattr(super(self.place, of), self.name)
        return self.handed.__get__(instance, owner)


def _inherit(cls: type, guarding: Guarding) -> None:
    """Give *cls* guards of its own in the place of those that it inherits."""
    bases, made = cls.__mro__[1:], dict[int, Any]()  # a method may have several names
    for name in dict.fromkeys(name for base in bases for name, value in vars(base).items() if _guard_in(value)):
        found = []
        for place in (base for base in bases if name in vars(base)):
            value = _handed(vars(place)[name])
            if not _is_overridden(value, place, name, cls):
                found.append(value)
            elif vars(place)[name] is value:
                type.__setattr__(place, name, _StandsAside(value, place, name))
        known = _guard_in(found[0])
        if known is not None and name not in vars(cls):
            if id(found[0]) not in made:
                made[id(found[0])] = _anew(cls, found[0], known, guarding)
            type.__setattr__(cls, name, made[id(found[0])])


def _handed(value: Any) -> Any:
    return value.handed if isinstance(value, _StandsAside) else value


def _is_overridden(value: Any, place: type, name: str, cls: type) -> bool:
    """Whether a *value* was handed down to *place*, and *cls* has another method of that *name* from behind it."""
    known = _guard_in(value)
    if known is None or not known.declaration.templates:
        return False
    mro = cls.__mro__
    for base in mro[mro.index(place) + 1:]:
        other = _guard_in(vars(base).get(name))
        if name in vars(base) and (other is None or not other.declaration.templates):
            return other is None or _of(other) != _of(known)
    return False


def _of(known: Guard) -> tuple[Any, ...]:
    """What a guard has in common with those that are handed down of it."""
    fn: Any = known.fn
    return fn.__code__, fn.__closure__, known.declaration.policies


def _guard_in(value: Any) -> Guard | None:
    """The guard of a method under which subclasses have commands of their own."""
    value = _handed(value)
    function = value.__func__ if type(value) in (classmethod, staticmethod) else value
    if not isinstance(function, FunctionType) or vars(function).get("__isabstractmethod__"):
        return None
    known = guard_of(function) if GUARD in vars(function) else None
    is_named = known is not None and (known.declaration.key is not None or not isinstance(known.fn, FunctionType))
    return None if is_named else known


def _anew(cls: type, value: Any, known: Guard, guarding: Guarding) -> Any:
    """The method *value* for *cls*: the same function, under a guard of its own."""
    fn: Any = known.fn
    own: Any = FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    look_like(own, fn)
    del own.__wrapped__
    _marked_like(own, fn)
    own.__kwdefaults__ = fn.__kwdefaults__
    own.__module__, own.__qualname__ = cls.__module__, f"{cls.__qualname__}.{fn.__name__}"
    templates = (*known.declaration.templates, ".".join(name_of(fn)))
    guarded = guarding(own, attrs.evolve(known.declaration, templates=templates))
    if isinstance(value, FunctionType):
        return _marked_like(guarded, value)
    return _marked_like(type(value)(_marked_like(guarded, value.__func__)), value)


def _marked_like(copy: Any, original: Any) -> Any:
    """Give a *copy* the attributes that decorators have set."""
    vars(copy).update({name: value for name, value in vars(original).items() if name not in vars(copy)})
    return copy
