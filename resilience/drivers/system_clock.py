"""System clock: the clock on which a thread's waits really pass.

``lock.acquire(timeout=...)``, ``queue.SimpleQueue.get(timeout=...)`` and a selector wait
by the system's monotonic clock, inside the interpreter, whatever a test has done to
the ``time`` module. Who measures how long such a wait took must read that clock
too: by a frozen one a second's wait takes no time, and is begun again for ever.

Tools that freeze time (freezegun) put other functions into the time module, and
into every module that has imported one by name. So waited_clock() keeps the genuine
one where they do not look, in a default argument. When this file is first imported
within a freeze, a fresh copy of the builtin module has it.

Policies decide by the clock of their registry, which is this one by default, and
async timeouts pass on ``loop.time()``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import module_from_spec
from types import BuiltinFunctionType
from typing import Final


def _genuine() -> Callable[[], float]:
    spec = time.__spec__
    if isinstance(time.monotonic, BuiltinFunctionType) or spec is None or spec.loader is None:
        return time.monotonic
    fresh = module_from_spec(spec)
    spec.loader.exec_module(fresh)
    found: Callable[[], float] = fresh.monotonic
    return found


#: For default arguments only: a tool that freezes time replaces it here while it does.
monotonic: Final[Callable[[], float]] = _genuine()


def wall_clock() -> float:
    """Seconds since 1970, to read dates by that other machines write."""
    return time.time()


def waited_clock(_read: Callable[[], float] = monotonic) -> float:
    """Seconds on the clock that blocking waits pass on."""
    return _read()
