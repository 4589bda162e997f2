"""Shape: all that the text of a wrapper depends on."""

from __future__ import annotations

import enum

import attrs


class Flavour(enum.Enum):
    """How a function runs."""

    SYNC = "sync"
    THREAD = "thread"  # sync, isolated on a worker
    ASYNC = "async"
    GENERATOR = "generator"
    ASYNC_GENERATOR = "async generator"

    @property
    def is_async(self) -> bool:
        """Whether its wrapper is an ``async def``."""
        return self in (Flavour.ASYNC, Flavour.ASYNC_GENERATOR)

    @property
    def is_generator(self) -> bool:
        """Whether its wrapper yields."""
        return self in (Flavour.GENERATOR, Flavour.ASYNC_GENERATOR)


@attrs.frozen
class Shape:
    """What a wrapper is made of: all that its text depends on."""

    flavour: Flavour
    breaker: bool
    bulkhead: bool  # fixed or adaptive
    deadline: bool
    fallback: bool
    throttle: bool = False
    rate: bool = False
    adaptive: bool = False
    retry: bool = False
    retry_results: bool = False
