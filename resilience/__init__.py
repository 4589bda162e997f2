"""Hystrix-style resilience: breakers, bulkheads, timeouts and fallbacks, with live statistics."""

from .config import Configuration, ConfigurationApplied, ConfigurationRejected, configure
from .core.events import (
    CallFailed,
    CallRejected,
    CommandAdded,
    CommandConfigured,
    CommandRemoved,
    State,
    StateChanged,
    Trigger,
)
from .core.histogram import Latency
from .decorators import (
    Guarded,
    Pipeline,
    adaptive_limit,
    bulkhead,
    circuit_breaker,
    command,
    fallback,
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
from .pipeline.policies import AdaptiveLimit, Bulkhead, CircuitBreaker, Fallback, ThreadPool, Throttle, Timeout
from .registry import Registry, default_registry

__all__ = [
    "AdaptiveLimit",
    "BadRequestError",
    "Bulkhead",
    "BulkheadFullError",
    "CallFailed",
    "CallRejected",
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
    "Latency",
    "Pipeline",
    "RateLimitedError",
    "Registry",
    "RejectedError",
    "ResilienceError",
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
    "throttle",
    "timeout",
]
