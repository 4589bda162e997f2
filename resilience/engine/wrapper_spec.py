"""Flavour and WrapperSpec: all that the text of a wrapper depends on."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from .kit import GateText


class Flavour(enum.Enum):
    """How a function runs."""

    SYNC = "sync"
    THREAD = "thread"  # sync, isolated on a worker
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"
    BLOCK = "block"  # of a with statement: its wrapper is a generator that stops once, where the block runs
    ASYNC_BLOCK = "async block"  # of an async with statement: a coroutine that does

    @property
    def is_async(self) -> bool:
        """Whether its wrapper is an ``async def``."""
        return self in (Flavour.ASYNC, Flavour.ASYNC_GENERATOR, Flavour.ASYNC_BLOCK)

    @property
    def is_generator(self) -> bool:
        """Whether its wrapper yields items."""
        return self in (Flavour.GENERATOR, Flavour.ASYNC_GENERATOR)

    @property
    def is_block(self) -> bool:
        """Whether it is no function, but the block of a ``with`` statement; see engine.block_body."""
        return self in (Flavour.BLOCK, Flavour.ASYNC_BLOCK)


@attrs.frozen
class WrapperSpec:
    """What a wrapper is made of.

    Attributes:
        flavour: How the function runs.
        gates: The texts of its gates, outermost first.
        label: Their names, for tracebacks.
        deadline: Timers of the event loop bound it.
        clocks: Of a generator: how it tells its clocks of each item: "plain", by calling their methods, or "inline",
            written out; "": it has none.
        fallback: Something may answer instead of an error.
        retry: It may be tried again.
        failover: Of a failover: "first": the wrapper that callers call, of the first target; "target": that of any
            target, which its loop calls; "": there is none. See engine.failover_calls.
        retry_results: Results may be a reason to.
        marks: Its retry tells tasks and threads that are begun inside that it repeats them; else it is found on the
            stack. See drivers.retry_layers.
        holds: Of a generator: its first items are held back, so that it may be tried again until then.
        judges: What failure rules judge here: "results", "results inline" (with a good status written out) or "items";
            "beneath": what is called here has judged already; "": there are none.
        returns_failures: What is judged failed is the caller's result; no layer above needs to hear of it.
    """

    flavour: Flavour
    gates: tuple[GateText, ...]
    label: str
    deadline: bool = False
    clocks: str = ""
    fallback: bool = False
    retry: bool = False
    retry_results: bool = False
    marks: bool = False
    holds: bool = False
    judges: str = ""
    returns_failures: bool = False
    failover: str = ""
