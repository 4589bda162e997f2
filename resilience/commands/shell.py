"""Shell: the function that a pickler has made of a wrapper, with code that hands every call on to another wrapper.

A pickler that sends functions by value makes a function first, and fills it later. Its closure and its identity are the
pickler's, so that only its code can say where calls go.
"""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable
from typing import Any, Final

from ..engine.callables import flavour_of
from ..engine.compiled_text import CompiledText, in_flavour
from ..engine.wrapper_spec import Flavour
from .dispatch import CALLS

_MARK: Final = "the link"
_TEXT: Final = """\
{async_}def guarded(*args, **kwargs):
    cell = "the link"
    if 0:
        {cells}
    {call}
    {return_result}
"""


class Link:
    """Where a shell finds its wrapper; among its code's constants, for everything else of it is the pickler's.

    Weakly, for the garbage collector does not look into code: a wrapper that calls itself would never go.
    """

    __slots__ = ("_made",)

    def __init__(self, wrapper: Callable[..., Any]) -> None:
        self._made = weakref.ref(wrapper)

    @property
    def call(self) -> Any:
        """The wrapper."""
        return self._made()


@functools.cache
def _forwarder(flavour: Flavour, cells: int) -> types.CodeType:
    """The code of a function of this *flavour* that has so many *cells*, and hands its calls on."""
    names = f"({''.join(f'cell_{number}, ' for number in range(cells))})"
    text = CompiledText(in_flavour(_TEXT, flavour, call=CALLS[flavour], cells=names),
                        f"copy of {flavour.value} with {cells} cells")
    shell: Any = text.bind(dict.fromkeys(text.wanted))
    code: types.CodeType = shell.__code__
    return code


def link(shell: Any, wrapper: Callable[..., Any]) -> None:
    """Let *shell* hand every call on to *wrapper*."""
    code = _forwarder(flavour_of(wrapper), len(shell.__code__.co_freevars))
    link = Link(wrapper)
    shell.__code__ = code.replace(
        co_consts=tuple(link if constant == _MARK else constant for constant in code.co_consts),
        co_name=shell.__code__.co_name, co_qualname=shell.__code__.co_qualname)
