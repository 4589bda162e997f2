"""What encoders and exporters need of a registry: anything of this shape will do.

They stand below the registry and must not import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from ..core.breaker import CircuitBreaker
from ..core.bulkhead import Bulkhead
from ..core.cache import Cache
from .batch_statistics import BatchStatistics
from .recorder import Recorder
from .snapshot import Snapshot


class Settings(Protocol):
    """The settings of a command; see resilience.Settings."""

    @property
    def timeout(self) -> float | None: ...
    @property
    def max_concurrent(self) -> int | Bulkhead | None: ...
    @property
    def isolation(self) -> str: ...
    @property
    def breaker(self) -> CircuitBreaker | None: ...
    @property
    def cache(self) -> Cache | None: ...
    @property
    def fallback_max_concurrent(self) -> int: ...
    @property
    def has_fallback(self) -> bool: ...
    @property
    def shadow(self) -> tuple[str, ...]: ...


class Source(Protocol):
    """A command; see resilience.Command."""

    @property
    def key(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def __recorder__(self) -> Recorder: ...  # for encoders only, so that a handle does not show it to users
    def snapshot(self) -> Snapshot: ...


class Pool(Protocol):
    """A thread pool; see drivers.pools.WorkerPool."""

    completed: int
    max_queue: int

    @property
    def size(self) -> int: ...
    @property
    def largest(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def admitted(self) -> int: ...


@runtime_checkable
class Sources(Protocol):
    """A registry; see resilience.Registry."""

    def __iter__(self) -> Iterator[Source]: ...
    @property
    def clock(self) -> Callable[[], float]: ...
    def pools(self) -> Mapping[str, Pool]: ...
    def collapsers(self) -> Mapping[str, BatchStatistics]: ...


def check_registry(registry: Any) -> None:
    """See that *registry* is of this shape.

    Raises:
        TypeError: It is not; a guarded function, perhaps, or the class.
    """
    if isinstance(registry, type) or not isinstance(registry, Sources):
        raise TypeError(f"registry must be a Registry, not {registry!r}")
