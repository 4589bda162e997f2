"""CompiledText: a function that is written as text, once for every flavour, and given its names later.

The text is registered with linecache, so tracebacks and pdb show it. A name that the text uses and nobody binds is
an error when it is bound, not when the function is called.
"""

from __future__ import annotations

import builtins
import linecache
import symtable
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Final

from ..drivers.deadline_context import wrapper_globals
from ..drivers.stream_leases import StreamLease, close, own
from .wrapper_spec import Flavour

#: Since Python 3.14 the annotations of a module have a scope of their own beside its functions.
_ANNOTATIONS: Final = "__annotate__"

wrapper_globals.update(Lease=StreamLease, close=close, own=own)


class CompiledText:
    """One function's text, compiled. It may be bound any number of times; all that come of it share their code.

    Attributes:
        wanted: The names that the function uses and does not set, in the order of the alphabet.
    """

    __slots__ = ("_make", "_variables", "wanted")

    def __init__(self, text: str, label: str) -> None:
        """Compile the *text* of one function; tracebacks know it by its *label*."""
        symbols = next(scope for scope in symtable.symtable(text, label, "exec").get_children()
                       if scope.get_name() != _ANNOTATIONS)
        self.wanted = tuple(sorted(
            symbol.get_name() for symbol in symbols.get_symbols()
            if symbol.is_global() and symbol.get_name() not in wrapper_globals
            and not hasattr(builtins, symbol.get_name())))
        self._variables = frozenset(symbol.get_name() for symbol in symbols.get_symbols() if symbol.is_local())
        filename = f"<resilience {label}>"
        text = (f"def make({', '.join(self.wanted)}):\n{textwrap.indent(text, '    ')}"
                f"    return {symbols.get_name()}\n")
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        scope: dict[str, Any] = {}
        exec(compile(text, filename, "exec"), wrapper_globals, scope)
        self._make: Callable[..., Any] = scope["make"]

    def bind(self, names: Mapping[str, Any]) -> Any:
        """The function, with those of the *names* that it wants.

        Raises:
            LookupError: One of them is not there, or one of the text's variables hides another.
        """
        missing = [name for name in self.wanted if name not in names]
        if missing:
            raise LookupError(f"the text of a wrapper uses {', '.join(missing)}, which no kit binds")
        hidden = [name for name in self._variables if name in names]
        if hidden:
            raise LookupError(f"the text of a wrapper has variables called {', '.join(hidden)}, which a kit binds")
        return self._make(**{name: names[name] for name in self.wanted})


def in_flavour(text: str, flavour: Flavour, **pieces: str) -> str:
    """*text* as a function of this *flavour* has it.

    Its marks ``{async_}`` and ``{await_}`` become that or nothing, and ``{return_result}`` what it says, unless nothing
    can be returned. A mark of another name stands on a line of its own, and becomes the piece of that name, as far
    indented; an empty one leaves no line.
    """
    marks = {f"{{{name}}}": piece for name, piece in pieces.items()}
    marks["{return_result}"] = "return" if flavour is Flavour.ASYNC_GENERATOR else "return result"
    written = ""
    for line in text.splitlines():
        mark = line.lstrip()
        piece = marks.get(mark, mark)
        if piece:
            written += textwrap.indent(piece, line[:len(line) - len(mark)]) + "\n"
    for mark in ("async", "await"):
        written = written.replace(f"{{{mark}_}}", f"{mark} " if flavour.is_async else "")
    return written


def lease(flavour: Flavour, dropped: str) -> dict[str, str]:
    """The pieces of a text that holds something: *dropped* defines a function of that name, which gives it back.

    Only an async generator needs it; see drivers.stream_leases.
    """
    if flavour is not Flavour.ASYNC_GENERATOR:
        return {"lease": "", "ended": ""}
    return {"lease": f"{dropped}\nlease = Lease()\nlease.give_back = dropped", "ended": "lease.give_back = None"}
