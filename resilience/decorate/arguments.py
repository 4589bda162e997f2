"""Arguments: what type checkers, completion and ``help()`` see of the decorators.

Here stand, once, the arguments of each policy's decorator and of ``command``. At run time they come from the policies'
kits; a test holds the two together. A misspelt argument is an error to a type checker, and a ConfigError at run time
that names the nearest one there is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from ..core.adaptive import AdaptiveLimit
from ..core.breaker import CircuitBreaker
from ..core.budget import RetryBudget
from ..core.bulkhead import Bulkhead
from ..core.cache import Cache
from ..core.chaos import Chaos
from ..core.failover import Failover
from ..core.failure_rules import ExceptionRule, FailureRules, Judge, Rule
from ..core.fallback import Fallback
from ..core.hedge import Hedge
from ..core.http_status import Codes, HttpStatus
from ..core.rate_limit import RateLimit
from ..core.retry import Retry
from ..core.stream_timeout import StreamTimeout
from ..core.thread_pool import ThreadPool
from ..core.throttle import Throttle
from ..core.timeout import Timeout
from ..policies.custom import CustomPolicy
from ..registry import Registry
from .signatures import Decorator, DecoratorByKey, Descriptor, Free, Guarded, Isolation, Method

P = ParamSpec("P")
T = TypeVar("T")

#: What may stand in a pipeline.
Policy = (Fallback | Cache | Retry | Failover | CircuitBreaker | Throttle | RateLimit | Bulkhead | AdaptiveLimit
          | Timeout | StreamTimeout | Hedge | FailureRules | Chaos | CustomPolicy)
_Exceptions = type[Exception] | tuple[type[Exception], ...]


class _Options(TypedDict, total=False):
    """What may be said of any command, beside its ``key``."""

    group: str | None
    ignore: _Exceptions
    shadow: bool | str | Iterable[str]
    registry: Registry | None


class CommandOptions(_Options, total=False):
    """What any decorator may say of the command itself, beside its ``key``."""

    max_keys: int
    idle: float
    isolation: Isolation
    pool: ThreadPool | None


class PolicyOptions(CommandOptions, total=False):
    """What ``policy`` may say of the command."""

    key: str | None


class BlockArguments(_Options, total=False):
    """The settings of ``block``, beside its ``key``."""

    timeout: float | None
    max_concurrent: int | Bulkhead | None
    breaker: CircuitBreaker | None
    throttle: Throttle | None
    rate_limit: RateLimit | None
    adaptive_limit: AdaptiveLimit | None
    chaos: Chaos | None
    failures: FailureRules | Rule | Iterable[Rule] | None
    policies: Iterable[Policy]


class CommandArguments(CommandOptions, BlockArguments, total=False):
    """The settings of ``command``, beside its ``key`` and its failover."""

    cache: Cache | None
    retry: Retry | None
    stream_timeout: StreamTimeout | None
    hedge: Hedge | None
    fallback: Fallback | Callable[..., Any] | None


class CircuitBreakerArguments(CommandOptions, total=False):
    """The fields of CircuitBreaker, and what may be said of the command."""

    failure_rate: float | None
    consecutive: int | None
    sustained_failures: int | None
    min_calls: int
    window: float
    buckets: int
    window_calls: int | None
    open_for: float
    open_growth: float
    open_max: float
    open_jitter: float
    slow_call: float | None
    slow_rate: float
    slow_in_flight: bool
    half_open_calls: int
    half_open_failures: int
    half_open_for: float
    ramp: float
    ramp_shares: tuple[float, ...]
    count_rejections: bool


class AdaptiveLimitArguments(CommandOptions, total=False):
    """The fields of AdaptiveLimit, and what may be said of the command."""

    algorithm: Literal["gradient", "vegas", "aimd"]
    initial: int
    min_limit: int
    max_limit: int
    tolerance: float
    smoothing: float
    window: float
    min_calls: int
    probe_every: float
    loss_tolerance: float
    slow_call: float | None
    count_failures: bool
    priorities: Callable[..., int] | None
    reserved: float
    max_queue: int
    max_queue_for: float
    fair_by: Callable[..., Hashable] | None


class CacheArguments(CommandOptions, total=False):
    """The fields of Cache, and what may be said of the command."""

    ttl: float | None
    max_size: int
    scope: Literal["shared", "request"]
    by: Callable[..., Hashable] | None
    cache_none: bool
    cache_exceptions: _Exceptions
    stale_if_error: float
    refresh_ahead: float
    copy: Callable[[Any], Any] | None


class ChaosArguments(CommandOptions, total=False):
    """The fields of Chaos, and what may be said of the command."""

    latency_rate: float
    latency: float
    error_rate: float
    error: Callable[[], Exception]
    result_rate: float
    result: Callable[[Any], Any] | None


class FailoverArguments(CommandOptions, total=False):
    """The fields of Failover, and what may be said of the command."""

    argument: str
    weights: tuple[float, ...] | None
    grace: float
    max_wait: float | None
    budget: RetryBudget | None


class FailureRulesArguments(CommandOptions, total=False):
    """The fields of FailureRules, and what may be said of the command."""

    judge: Judge | str | None
    exceptions: ExceptionRule | tuple[ExceptionRule, ...] | None
    results: Callable[[Any], object] | str | None
    items: Callable[[Any], object] | str | None
    status: HttpStatus | Codes | int | str | None
    busy: ExceptionRule | int | tuple[ExceptionRule | int, ...]
    refused: ExceptionRule | tuple[ExceptionRule, ...]
    caller_faults: ExceptionRule | int | tuple[ExceptionRule | int, ...]
    halts: bool
    raise_failures: bool


class HedgeArguments(CommandOptions, total=False):
    """The fields of Hedge, and what may be said of the command."""

    idempotent: bool
    delay: float | None
    percentile: float
    min_calls: int
    attempts: int
    budget: RetryBudget | None


class RateLimitArguments(CommandOptions, total=False):
    """The fields of RateLimit, and what may be said of the command."""

    per: float
    burst: int | None
    max_wait: float
    by: Callable[..., Hashable] | None
    adaptive: bool
    cost: float | Callable[..., float]
    true_cost: Callable[[Any], float] | None


class RetryArguments(CommandOptions, total=False):
    """The fields of Retry, and what may be said of the command."""

    attempts: int
    base: float
    busy_base: float
    factor: float
    max_delay: float
    busy_max_delay: float | None
    jitter: Literal["full", "equal", "decorrelated", "none"]
    on: _Exceptions
    unless: _Exceptions
    on_result: Callable[[Any], object] | None
    time_limit: float | None
    respect_retry_after: bool
    retry_rejections: bool
    budget: RetryBudget | None
    price: float
    busy_price: float
    nested: Literal["once", "retry"]
    hold: int
    hold_bytes: int
    hold_size: Callable[[Any], float] | None


class StreamTimeoutArguments(CommandOptions, total=False):
    """The fields of StreamTimeout, and what may be said of the command."""

    first_item: float | None
    between_items: float | None
    total: float | None
    min_rate: float | None
    window: float
    progress: Callable[[Any], object] | None


class ThrottleArguments(CommandOptions, total=False):
    """The fields of Throttle, and what may be said of the command."""

    k: float
    window: float
    max_rejection_rate: float
    min_calls: int
    count_failures: bool


class BulkheadArguments(CommandOptions, total=False):
    """The fields of Bulkhead, and what may be said of the command."""

    max_wait: float
    max_queue: int
    fair_by: Callable[..., Hashable] | None


class FallbackArguments(CommandOptions, total=False):
    """The fields of Fallback, and what may be said of the command."""

    on: _Exceptions
    max_concurrent: int


class CommandDecorator(Protocol):
    """The type of ``command``."""

    @overload
    def __call__(self, fn: Descriptor, /) -> Descriptor: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Free[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, fn: Method, /) -> Method: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, *, key: str | Callable[..., str] | None = None, failover: Failover,
                 **settings: Unpack[CommandArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: Callable[..., str], failover: None = None,
                 **settings: Unpack[CommandArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, failover: None = None,
                 **settings: Unpack[CommandArguments]) -> Decorator: ...


class CircuitBreakerDecorator(Protocol):
    """The type of ``circuit_breaker``."""

    @overload
    def __call__(self, fn: Descriptor, /) -> Descriptor: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Free[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, fn: Method, /) -> Method: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[CircuitBreakerArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[CircuitBreakerArguments]) -> Decorator: ...


class CacheDecorator(Protocol):
    """The type of ``cache``."""

    @overload
    def __call__(self, fn: Descriptor, /) -> Descriptor: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Free[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, fn: Method, /) -> Method: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Guarded[P, T]: ...
    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[CacheArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[CacheArguments]) -> Decorator: ...


class AdaptiveLimitDecorator(Protocol):
    """The type of ``adaptive_limit``."""

    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[AdaptiveLimitArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[AdaptiveLimitArguments]) -> Decorator: ...


class ChaosDecorator(Protocol):
    """The type of ``chaos``."""

    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[ChaosArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[ChaosArguments]) -> Decorator: ...


class FailoverDecorator(Protocol):
    """The type of ``failover``."""

    def __call__(self, targets: tuple[str, ...] | list[str], /, *, key: str | Callable[..., str] | None = None,
                 **settings: Unpack[FailoverArguments]) -> DecoratorByKey: ...


class FailuresDecorator(Protocol):
    """The type of ``failures``."""

    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[FailureRulesArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[FailureRulesArguments]) -> Decorator: ...


class HedgeDecorator(Protocol):
    """The type of ``hedge``."""

    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[HedgeArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[HedgeArguments]) -> Decorator: ...


class RetryDecorator(Protocol):
    """The type of ``retry``."""

    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[RetryArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[RetryArguments]) -> Decorator: ...


class ThrottleDecorator(Protocol):
    """The type of ``throttle``."""

    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[ThrottleArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[ThrottleArguments]) -> Decorator: ...


class RateLimitDecorator(Protocol):
    """The type of ``rate_limit``."""

    @overload
    def __call__(self, calls: int, /, *, key: Callable[..., str],
                 **settings: Unpack[RateLimitArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, calls: int, /, *, key: str | None = None,
                 **settings: Unpack[RateLimitArguments]) -> Decorator: ...


class BulkheadDecorator(Protocol):
    """The type of ``bulkhead``."""

    @overload
    def __call__(self, max_concurrent: int, /, *, key: Callable[..., str],
                 **settings: Unpack[BulkheadArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, max_concurrent: int, /, *, key: str | None = None,
                 **settings: Unpack[BulkheadArguments]) -> Decorator: ...


class TimeoutDecorator(Protocol):
    """The type of ``timeout``."""

    @overload
    def __call__(self, seconds: float, /, *, key: Callable[..., str],
                 **settings: Unpack[CommandOptions]) -> DecoratorByKey: ...
    @overload
    def __call__(self, seconds: float, /, *, key: str | None = None,
                 **settings: Unpack[CommandOptions]) -> Decorator: ...


class StreamTimeoutDecorator(Protocol):
    """The type of ``stream_timeout``."""

    @overload
    def __call__(self, *, key: Callable[..., str], **settings: Unpack[StreamTimeoutArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, *, key: str | None = None, **settings: Unpack[StreamTimeoutArguments]) -> Decorator: ...


class FallbackDecorator(Protocol):
    """The type of ``fallback``."""

    @overload
    def __call__(self, function: Callable[..., Any] | Fallback, /, *, key: Callable[..., str],
                 **settings: Unpack[FallbackArguments]) -> DecoratorByKey: ...
    @overload
    def __call__(self, function: Callable[..., Any] | Fallback, /, *, key: str | None = None,
                 **settings: Unpack[FallbackArguments]) -> Decorator: ...
