"""Compiles a shape once and binds it to each function that has it.

The text is registered with linecache, so tracebacks and pdb show it.
"""

from __future__ import annotations

import functools
import linecache
from collections.abc import Callable
from typing import Any

import attrs

from ..drivers.time_left import wrapper_globals
from .shape import Shape
from .template import NAMES, source


@functools.cache
def _maker(shape: Shape) -> Callable[..., Callable[..., Any]]:
    text = source(shape)
    parts = [field.name for field in attrs.fields(Shape) if getattr(shape, field.name) is True]
    return made(text, f"<resilience {' '.join([shape.flavour.value, *parts])}>")


def made(text: str, filename: str) -> Callable[..., Callable[..., Any]]:
    """The function ``make`` that *text* defines."""
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    scope: dict[str, Any] = {}
    exec(compile(text, filename, "exec"), wrapper_globals, scope)
    make: Callable[..., Callable[..., Any]] = scope["make"]
    return make


def compiled(shape: Shape, **bound: Any) -> Callable[..., Any]:
    """The wrapper of *shape*, with the names of its text bound; a name it does not use may be left out."""
    return _maker(shape)(*(bound.get(name) for name in NAMES))
