"""Dispatch: the wrapper of a function whose key is a callable, for every flavour of function from one text.

It finds the cell of the call's key, pins it, and hands the call on to the cell's
compiled wrapper. See commands.keyspace for why the pin comes before the look at ``gone``.
Between a pin and the note that it is held stands nothing that a signal handler's
exception could follow (core.bulkhead), so that none is left behind.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, Final

from ..core.bulkhead import TOKEN
from ..engine.compiled_text import CompiledText, in_flavour, lease
from ..engine.fragments import relayed
from ..engine.wrapper_spec import Flavour
from .keyspace import MISSING, Keyspace

_TEXT: Final = """\
{async_}def guarded(*args, **kwargs):
    key = by(*args, **kwargs)
    if key.__class__ is not str:
        key = spelt(key)
    held = None
    {lease}
    try:
        cell = find(key, MISSING)
        while True:
            pins = cell.pins
            pins += TOKEN
            held = pins
            if not cell.gone:
                break
            held = None
            del pins[-1]
            cell = admit(key)
        cell.used = clock()
        {call}
    except BaseException:
        {ended}
        if held is not None:
            del held[-1]
        raise
    {ended}
    del held[-1]
    {return_result}
"""

CALLS: Final = {
    Flavour.SYNC: "result = cell.call(*args, **kwargs)",
    Flavour.THREAD: "result = cell.call(*args, **kwargs)",
    Flavour.ASYNC: "result = await cell.call(*args, **kwargs)",
    Flavour.GENERATOR: "result = yield from cell.call(*args, **kwargs)",
    Flavour.ASYNC_GENERATOR: relayed("cell.call(*args, **kwargs)", "pass"),
}

_DROPPED: Final = """\
def dropped():
    if held is not None:
        del held[-1]"""


@functools.cache
def _text(flavour: Flavour) -> CompiledText:
    return CompiledText(in_flavour(_TEXT, flavour, call=CALLS[flavour], **lease(flavour, _DROPPED)),
                        f"{flavour.value} by key")


def dispatcher(keyspace: Keyspace, by: Callable[..., str], flavour: Flavour) -> Callable[..., Any]:
    """A function that runs each call under the command of its key, ``by(*args, **kwargs)``."""
    guarded: Callable[..., Any] = _text(flavour).bind({
        "by": by, "spelt": functools.partial(_spelt, keyspace), "find": keyspace.table.get, "admit": keyspace.admit,
        "clock": keyspace.clock, "MISSING": MISSING, "TOKEN": TOKEN})
    return guarded


def opener(keyspace: Keyspace, by: Callable[[Any], Any]) -> Callable[..., Any]:
    """A function that opens a guarded stream under the command of its key, ``by(first argument)``.

    It returns the generator of the cell's wrapper itself, so that items do not pass through one more frame. The key is
    looked for at once, not with the first item; its cell stays while that generator is alive, even if it has ended.
    """
    find, admit, clock = keyspace.table.get, keyspace.admit, keyspace.clock

    def opened(*args: Any) -> Any:
        key = by(args[0])
        if key.__class__ is not str:
            key = _spelt(keyspace, key)
        cell = find(key) or admit(key)
        while True:
            stream = cell.call(*args)
            streams = cell.streams
            streams.add(weakref.ref(stream, streams.discard))
            if not cell.gone:
                cell.used = clock()
                return stream
            cell = admit(key)

    return opened


def _spelt(keyspace: Keyspace, key: object) -> str:
    """A key that is no plain str: a StrEnum's member, or a mistake."""
    if isinstance(key, str):
        return str.__str__(key)
    raise TypeError(f"the key of a call of {keyspace.template.key} must be a str, not {key!r}")
