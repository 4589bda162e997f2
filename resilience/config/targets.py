"""Targets: the callables that a file names, as "module:qualified.name".

A target's module is never imported for the target's sake. If it has been
imported, the target can be looked up; if not, all that can be said is whether
there is such a module, for which its spec is enough: a spec is found without
running the module, nor the packages around it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import inspect
import re
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import attrs
import wrapt

from ..core.references import looked_up, lost
from ..errors import ConfigError

_NAME: Final = r"[^\W\d]\w*"
_DOTTED: Final = rf"{_NAME}(\.{_NAME})*"

#: Of a type that Python lets nobody change: Py_TPFLAGS_IMMUTABLETYPE, and of one that is not on the heap.
_IMMUTABLE, _HEAP = 1 << 8, 1 << 9


@attrs.frozen
class Matches:
    """A validator for a string of one form.

    Attributes:
        pattern: A regular expression that means the same to Python and to JSON Schema.
        what: The form, for messages.
    """

    pattern: str
    what: str

    @property
    def json_schema(self) -> dict[str, str]:
        """The keywords of JSON Schema for what is accepted; see config.constraints."""
        return {"pattern": self.pattern}

    def __call__(self, _: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        """Raise ConfigError for anything else."""
        if not isinstance(value, str) or not re.search(self.pattern, value):
            raise ConfigError(f"must be {self.what}, not {value!r}", attribute.name)


TARGET_PATTERN: Final = rf"^{_DOTTED}:{_DOTTED}$"
REFERENCE: Final = Matches(TARGET_PATTERN, '"module:name"')
exception_reference: Final = Matches(rf"^({_DOTTED}:)?{_DOTTED}$", 'a built-in exception or "module:name"')


class TargetError(Exception):
    """A target cannot be guarded; says why."""


class Found(NamedTuple):
    """Where a target is.

    Attributes:
        parent: The module or class whose attribute it is, or becomes if it is inherited.
        attribute: Its name there.
        raw: What stands there, unbound: a function, a staticmethod, a classmethod.
    """

    parent: Any
    attribute: str
    raw: Any


def parts(target: str) -> tuple[str, str]:
    """The module and the name in it."""
    module, _, name = target.partition(":")
    return module, name


def is_imported(target: str) -> bool:
    """Whether the target's module is there to be looked into."""
    return sys.modules.get(parts(target)[0]) is not None


def is_being_imported(target: str) -> bool:
    """Whether somebody is at the import of the target's module."""
    return bool(getattr(getattr(sys.modules[parts(target)[0]], "__spec__", None), "_initializing", False))


def find(target: str) -> Found:
    """The target, in a module that has been imported.

    Raises:
        TargetError: There is no such attribute, or it cannot be replaced.
    """
    module, name = parts(target)
    try:
        if is_being_imported(target):
            importlib.import_module(module)  # another thread is at it; this waits for that, and runs nothing
        found = Found(*wrapt.resolve_path(sys.modules[module], name))
    except AttributeError:  # PathResolutionError is one
        raise TargetError(f"module {module} has no {name}{_near(module, name)}") from None
    except Exception as error:  # of a module that makes its attributes when they are asked for
        raise TargetError(f"{name} of module {module} cannot be looked up: {error!r}") from error
    flags = found.parent.__flags__ if inspect.isclass(found.parent) else _HEAP
    if flags & _IMMUTABLE or not flags & _HEAP:
        raise TargetError(f"{found.parent.__qualname__} is a type of C, whose methods cannot be replaced")
    root = module.partition(".")[0]
    if root in ("builtins", __name__.partition(".")[0]):
        raise TargetError(f"guards are made of {root} themselves, and would guard themselves")
    return found


def _near(module: str, name: str) -> str:
    import difflib

    parent: Any = sys.modules[module]
    *path, last = name.split(".")
    known: list[str] = []
    with contextlib.suppress(Exception):  # it is a hint
        for step in path:
            parent = getattr(parent, step, None)
        known = dir(parent)
    near = difflib.get_close_matches(last, known, 1)
    return f"; did you mean {'.'.join([*path, near[0]])}?" if near and near[0] != last else ""


def check_exists(target: str) -> None:
    """Raise TargetError if *target* does not exist; of a module that is not imported yet, only the module is sought."""
    if is_imported(target):
        find(target)
        return
    module, _ = parts(target)
    where: Sequence[str] | None = None
    names = module.split(".")
    for depth in range(1, len(names) + 1):
        name = ".".join(names[:depth])
        known = sys.modules.get(name)
        if known is not None:
            where = getattr(known, "__path__", None)
        else:
            spec = _spec(name, where)
            if spec is None:
                raise TargetError(f"there is no module {name}")
            where = spec.submodule_search_locations
        if where is None and depth < len(names):
            raise TargetError(f"there is no module {module}: {name} is no package")


def _spec(name: str, where: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    """What importlib.util.find_spec does, but without importing the packages around."""
    for finder in sys.meta_path:
        with contextlib.suppress(Exception):  # of somebody's finder: then another finds it, or none
            spec = finder.find_spec(name, where)
            if spec is not None:
                return spec
    return None


def named(reference: str) -> Any:
    """What "module:name", or the name of a built-in, stands for; imports the module.

    Raises:
        TargetError: There is no such thing.
    """
    try:
        return looked_up(reference)
    except Exception as error:
        raise TargetError(f"{reference} cannot be found: {lost(error)}") from error
