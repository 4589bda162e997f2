"""Hystrix-style resilience: breakers, bulkheads, timeouts and fallbacks, with live statistics."""

from .config import Configuration, ConfigurationApplied, ConfigurationRejected, configure
from .core.budget import RetryBudget
from .core.events import (
    CallFailed,
    CallRejected,
    CallRetried,
    CommandAdded,
    CommandConfigured,
    CommandRemoved,
    State,
    StateChanged,
    Trigger,
)
from .core.histogram import Latency
from .decorators import (
    Pipeline,
    adaptive_limit,
    bulkhead,
    circuit_breaker,
    command,
    fallback,
    retry,
    throttle,
    timeout,
)
from .errors import (
    BadRequestError,
    BulkheadFullError,
    CallTimeoutError,
    CircuitOpenError,
    ConfigError,
    FallbackRejectedError,
    RateLimitedError,
    RejectedError,
    ResilienceError,
    ThrottledError,
)
from .metrics.snapshot import Snapshot
from .pipeline.command import Command, Settings
from .pipeline.keyspace import KeyedCommands
from .pipeline.policies import AdaptiveLimit, Bulkhead, CircuitBreaker, Fallback, Retry, ThreadPool, Throttle, Timeout
from .registry import Registry, default_registry
from .signatures import Guarded, GuardedByKey

__all__ = [
    "AdaptiveLimit",
    "BadRequestError",
    "Bulkhead",
    "BulkheadFullError",
    "CallFailed",
    "CallRejected",
    "CallRetried",
    "CallTimeoutError",
    "CircuitBreaker",
    "CircuitOpenError",
    "Command",
    "CommandAdded",
    "CommandConfigured",
    "CommandRemoved",
    "ConfigError",
    "Configuration",
    "ConfigurationApplied",
    "ConfigurationRejected",
    "Fallback",
    "FallbackRejectedError",
    "Guarded",
    "GuardedByKey",
    "KeyedCommands",
    "Latency",
    "Pipeline",
    "RateLimitedError",
    "Registry",
    "RejectedError",
    "ResilienceError",
    "Retry",
    "RetryBudget",
    "Settings",
    "Snapshot",
    "State",
    "StateChanged",
    "ThreadPool",
    "Throttle",
    "ThrottledError",
    "Timeout",
    "Trigger",
    "adaptive_limit",
    "bulkhead",
    "circuit_breaker",
    "command",
    "configure",
    "default_registry",
    "fallback",
    "retry",
    "throttle",
    "timeout",
]
