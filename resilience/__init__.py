"""Hystrix-style resilience: breakers, bulkheads, timeouts and fallbacks, with live statistics."""

from .collapsing import collapse
from .config import Configuration, ConfigurationApplied, ConfigurationRejected, configure
from .core.budget import RetryBudget
from .core.events import (
    CallFailed,
    CallRejected,
    CallRetried,
    ChaosInjected,
    CommandAdded,
    CommandConfigured,
    CommandRemoved,
    ShadowRejected,
    State,
    StateChanged,
    Trigger,
)
from .core.histogram import Latency
from .decorators import Pipeline, command
from .drivers.request import request_context
from .errors import (
    BadRequestError,
    BatchAnswerError,
    BulkheadFullError,
    CallTimeoutError,
    ChaosError,
    CircuitOpenError,
    ConfigError,
    FallbackRejectedError,
    MissingAnswerError,
    RateLimitedError,
    RejectedError,
    ResilienceError,
    ThrottledError,
)
from .metrics.snapshot import Snapshot
from .pipeline.command import Command
from .pipeline.keyspace import KeyedCommands
from .pipeline.policies import (
    AdaptiveLimit,
    Bulkhead,
    Chaos,
    CircuitBreaker,
    Fallback,
    RateLimit,
    Retry,
    ThreadPool,
    Throttle,
    Timeout,
)
from .pipeline.settings import Settings
from .registry import Registry, default_registry
from .signatures import Guarded, GuardedByKey
from .single import (
    adaptive_limit,
    bulkhead,
    chaos,
    circuit_breaker,
    fallback,
    rate_limit,
    retry,
    throttle,
    timeout,
)

__all__ = [
    "AdaptiveLimit",
    "BadRequestError",
    "BatchAnswerError",
    "Bulkhead",
    "BulkheadFullError",
    "CallFailed",
    "CallRejected",
    "CallRetried",
    "CallTimeoutError",
    "Chaos",
    "ChaosError",
    "ChaosInjected",
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
    "MissingAnswerError",
    "Pipeline",
    "RateLimit",
    "RateLimitedError",
    "Registry",
    "RejectedError",
    "ResilienceError",
    "Retry",
    "RetryBudget",
    "Settings",
    "ShadowRejected",
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
    "chaos",
    "circuit_breaker",
    "collapse",
    "command",
    "configure",
    "default_registry",
    "fallback",
    "rate_limit",
    "request_context",
    "retry",
    "throttle",
    "timeout",
]
