"""Hystrix-style resilience: breakers, bulkheads, timeouts and fallbacks, with live statistics."""

from . import events as events
from . import pickling as _pickling  # noqa: F401 - it tells copyreg how to pickle
from ._version import __version__ as __version__
from .commands.command import Command
from .commands.handles import handle_of, handles_of
from .commands.keyed_commands import KeyedCommands
from .config import Configuration, configure, explain
from .config.events import ConfigurationApplied as ConfigurationApplied
from .config.events import ConfigurationRejected as ConfigurationRejected
from .core.adaptive import AdaptiveLimit
from .core.breaker import CircuitBreaker
from .core.budget import RetryBudget
from .core.bulkhead import Bulkhead
from .core.cache import Cache
from .core.chaos import Chaos
from .core.events import CallFailed as CallFailed  # the events other than StateChanged are listed in resilience.events
from .core.events import CallHedged as CallHedged
from .core.events import CallRejected as CallRejected
from .core.events import CallRetried as CallRetried
from .core.events import ChaosInjected as ChaosInjected
from .core.events import CommandAdded as CommandAdded
from .core.events import CommandConfigured as CommandConfigured
from .core.events import CommandRemoved as CommandRemoved
from .core.events import LocalStall as LocalStall
from .core.events import ShadowRejected as ShadowRejected
from .core.events import State, StateChanged
from .core.events import Trigger as Trigger
from .core.failover import Failover
from .core.failure_rules import FailureRules
from .core.fallback import Fallback
from .core.hedge import Hedge
from .core.histogram import Latency
from .core.http_status import HttpStatus, http_status
from .core.outcome import Outcome
from .core.rate_limit import RateLimit
from .core.retry import Retry
from .core.stream_timeout import StreamTimeout
from .core.thread_pool import ThreadPool
from .core.throttle import Throttle
from .core.timeout import Timeout
from .core.verdict import Ending, FailedResultError, Verdict
from .decorate.block import Block, BlockCall
from .decorate.class_guard import guard_class
from .decorate.collapse import collapse
from .decorate.commands import Pipeline, block, command
from .decorate.policy_decorators import (
    adaptive_limit,
    bulkhead,
    cache,
    chaos,
    circuit_breaker,
    failover,
    failures,
    fallback,
    hedge,
    policy,
    rate_limit,
    retry,
    stream_timeout,
    throttle,
    timeout,
)
from .decorate.signatures import Guarded, GuardedByKey
from .drivers.deadline_context import deadline, deadline_headers, remaining
from .drivers.request import request_context
from .drivers.retry_layers import retried_by
from .engine.call import Call
from .errors import (
    BadRequestError,
    BatchResultError,
    BulkheadFullError,
    CallTimeoutError,
    ChaosError,
    CircuitOpenError,
    ConfigError,
    DeadlineExceededError,
    FallbackRejectedError,
    LastFailure,
    MissingResultError,
    NoTimeLeftError,
    RateLimitedError,
    RejectedError,
    ResilienceError,
    StreamTimeoutError,
    ThreadPoolClosedError,
    ThreadPoolFullError,
    ThreadUnavailableError,
    ThrottledError,
)
from .metrics.snapshot import Snapshot
from .policies.custom import CustomPolicy, custom_policy
from .policies.plain_gate import PolicyMachine
from .policies.settings import Settings
from .registry import Registry, default_registry

__all__ = [
    "AdaptiveLimit",
    "BadRequestError",
    "BatchResultError",
    "Block",
    "BlockCall",
    "Bulkhead",
    "BulkheadFullError",
    "Cache",
    "Call",
    "CallTimeoutError",
    "Chaos",
    "ChaosError",
    "CircuitBreaker",
    "CircuitOpenError",
    "Command",
    "ConfigError",
    "Configuration",
    "CustomPolicy",
    "DeadlineExceededError",
    "Ending",
    "FailedResultError",
    "Failover",
    "FailureRules",
    "Fallback",
    "FallbackRejectedError",
    "Guarded",
    "GuardedByKey",
    "Hedge",
    "HttpStatus",
    "KeyedCommands",
    "LastFailure",
    "Latency",
    "MissingResultError",
    "NoTimeLeftError",
    "Outcome",
    "Pipeline",
    "PolicyMachine",
    "RateLimit",
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
    "StreamTimeout",
    "StreamTimeoutError",
    "ThreadPool",
    "ThreadPoolClosedError",
    "ThreadPoolFullError",
    "ThreadUnavailableError",
    "Throttle",
    "ThrottledError",
    "Timeout",
    "Verdict",
    "adaptive_limit",
    "block",
    "bulkhead",
    "cache",
    "chaos",
    "circuit_breaker",
    "collapse",
    "command",
    "configure",
    "custom_policy",
    "deadline",
    "deadline_headers",
    "default_registry",
    "explain",
    "failover",
    "failures",
    "fallback",
    "guard_class",
    "handle_of",
    "handles_of",
    "hedge",
    "http_status",
    "policy",
    "rate_limit",
    "remaining",
    "request_context",
    "retried_by",
    "retry",
    "stream_timeout",
    "throttle",
    "timeout",
]


def __dir__() -> list[str]:
    """The public names; submodules are there to be imported, not to be listed."""
    return [*__all__, "events"]
