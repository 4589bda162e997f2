"""One decorator per policy, to be stacked; a stack becomes one wrapper.

What is said about the command itself (key, group, registry, ...) may be said by any of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any, Final, Unpack, cast

import attrs

from ..commands.keyspace import DEFAULT_IDLE_S, DEFAULT_MAX_KEYS
from ..core.checks import settings_for
from ..core.setting_names import unknown_option
from ..engine.callables import check_guardable
from ..engine.kit import Kit
from ..errors import ConfigError
from ..policies.adaptive_limit import ADAPTIVE_LIMIT
from ..policies.breaker import BREAKER
from ..policies.bulkhead import BULKHEAD
from ..policies.cache import CACHE
from ..policies.chaos import CHAOS
from ..policies.failover import FAILOVER
from ..policies.failures import FAILURES
from ..policies.fallback import FALLBACK
from ..policies.hedge import HEDGE
from ..policies.order import kit_of
from ..policies.rate_limit import RATE_LIMIT
from ..policies.retry import RETRY
from ..policies.stream_timeout import STREAM_TIMEOUT
from ..policies.throttle import THROTTLE
from ..policies.timeout import TIMEOUT
from .arguments import (
    AdaptiveLimitDecorator,
    BulkheadDecorator,
    CacheDecorator,
    ChaosDecorator,
    CircuitBreakerDecorator,
    FailoverDecorator,
    FailuresDecorator,
    FallbackDecorator,
    HedgeDecorator,
    Policy,
    PolicyOptions,
    RateLimitDecorator,
    RetryDecorator,
    StreamTimeoutDecorator,
    ThrottleDecorator,
    TimeoutDecorator,
)
from .declaration import Declaration
from .decoration import guard
from .signatures import UNSET, Decorator

#: What may be said of the command itself, and what it is if nobody says.
OPTIONS: Final[Mapping[str, Any]] = {
    "key": None, "group": None, "max_keys": DEFAULT_MAX_KEYS, "idle": DEFAULT_IDLE_S, "isolation": "auto",
    "ignore": (), "pool": None, "shadow": False, "registry": None}
#: What ``help()`` says of each of them.
_ABOUT_OPTIONS: Final[Mapping[str, str]] = {
    "key": "Name of the command, or a function that names the command of each call; see resilience.command.",
    "group": "Name of the group, which shares a section of the dashboard and a thread pool. Default: the module.",
    "max_keys": "With a function as ``key``: largest number of commands. Default 1000.",
    "idle": "With a function as ``key``: seconds without a call after which a command is removed. Default 300.",
    "isolation": '"semaphore", "thread" or "auto": where plain functions run; see resilience.command.',
    "ignore": "Exception class, or tuple of classes, for which the caller is to blame: they have no effect on health.",
    "pool": "A ThreadPool: the worker threads of the group. Default: each command has threads of its own.",
    "shadow": "True, or names of policies that only count the calls that they would refuse.",
    "registry": "Registry that keeps the command. Default: resilience.default_registry."}
_RAISES: Final = """\
Raises:
    ConfigError: A setting is out of range, unknown, or contradicts another; the message names it.
    TypeError: What is decorated is not callable, or an argument is given without its name.
"""


def policy_decorator(kit: Kit, *, name: str, bare: bool = False, first: str | None = None, about: str = "") -> Any:
    """The decorator that puts one policy around a function.

    Args:
        kit: The policy's.
        name: The decorator's.
        bare: Whether it may stand without parentheses, with all settings as usual.
        first: The name under which its one positional argument is documented; None: it has none.
        about: What its documentation says.
    """
    fields = {field.alias or field.name: field for field in attrs.fields(kit.policy) if field.init}
    positional = next(iter(fields)) if first is not None else None
    what = f"@{name}"

    def decorate(*args: Any, **settings: Any) -> Any:
        if bare and len(args) == 1 and not settings and callable_or_method(args[0]):
            return guard(args[0], Declaration(policies=(kit.policy(),)), what)
        if bare and len(args) == 1 and not settings and not isinstance(args[0], (int, float)):
            check_guardable(args[0], what)  # says what it is that cannot be guarded
        if len(args) > (positional is not None):
            takes = f"takes {first}" if first is not None else \
                f"takes {'a callable, or ' if bare else ''}its settings by name"
            example = (None if positional else _written_out(kit, args[-1])) or _example(kit, positional)
            raise TypeError(f"{what} {takes}, as in @{name}({example}), not {args[-1]!r}")
        options = _options(settings, fields)
        for unknown, value in settings.items():
            if positional is not None and unknown in (positional, first):
                raise TypeError(f"{what} takes {first} first and without a name, as in @{name}({value!r})")
            if unknown not in fields:
                raise unknown_option(unknown, (*(each for each in fields if each != positional), *OPTIONS), what, value)
        if positional is not None and (not args or _is_bare(kit, args[0])):
            raise TypeError(f"{what} takes {first} first, as in @{name}({_example(kit, positional)})")
        declaration = Declaration(policies=(_policy(kit, args, settings),), **options)
        given = f"{what}({args[0].__name__})" if args and isinstance(args[0], FunctionType) else what
        return decorator(declaration, given)

    decorate.__name__ = decorate.__qualname__ = name
    decorate.__doc__ = _documentation(kit, about or kit.about, first if positional else None, bare)
    decorate.__signature__ = _signature(fields, positional, first, bare)  # type: ignore[attr-defined]
    return decorate


def _documentation(kit: Kit, about: str, first: str | None, bare: bool) -> str:
    """The docstring of a policy's decorator: the fields, as the policy's own docstring explains them, and the options.

    Without docstrings (``python -OO``) only the options are explained.
    """
    fields = inspect.cleandoc(kit.policy.__doc__ or "").partition("Attributes:\n")[2].rstrip()
    named = {line.strip().partition(":")[0] for line in fields.split("\n") if line[4:5].isalpha()}
    if first is not None:  # documented under a name of its own
        fields = f"    {first}:{fields.partition(':')[2]}"
    lines = ["    fn: The function, if the decorator stands without parentheses."] if bare else []
    lines += [fields, *(f"    {name}: {text}" for name, text in _ABOUT_OPTIONS.items() if name not in named)]
    arguments = "\n".join(filter(None, lines))
    return f"{about}\n\nArgs:\n{arguments}\n\n{_RAISES}"


def decorator(declaration: Declaration, what: str) -> Any:
    """What puts *declaration* around a function; *what* is its name in messages, those of Python too."""

    def decorate(function: Any) -> Any:
        return guard(function, declaration, what)

    decorate.__qualname__ = what
    return decorate


def policy(value: Policy, **options: Unpack[PolicyOptions]) -> Decorator:
    """Put any policy around a function, one of a user's own too; stacked like the decorators of the library's own.

    Args:
        value: The policy, such as Retry(attempts=5).
        **options: What is said about the command itself: key, group, registry and so on, as for resilience.command.

    Raises:
        ConfigError: An option is unknown, or the policy cannot stand where it is put.
        TypeError: *value* is no policy.
    """
    kit_of(value)
    for name in options:
        if name not in OPTIONS:
            raise unknown_option(name, OPTIONS, "policy")
    declaration = Declaration(policies=(value,), **cast("dict[str, Any]", options))
    guarding: Decorator = decorator(declaration, "@policy")
    return guarding


def callable_or_method(value: Any) -> bool:
    """Whether a decorator that stands without parentheses was given a function."""
    return callable(value) or isinstance(value, (classmethod, staticmethod, property))


def _is_bare(kit: Kit, argument: Any) -> bool:
    """Whether a decorator that needs an argument was given the function itself; a fallback is one."""
    return kit is not FALLBACK and callable_or_method(argument)


def _options(settings: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """What is said about the command itself; it is taken out of *settings*."""
    keyed = callable(settings.get("key"))
    return {name: settings.pop(name) for name in OPTIONS if name in settings and (keyed or name not in fields)}


def _policy(kit: Kit, args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
    if args and isinstance(args[0], kit.policy):
        if settings:
            raise ConfigError(f"{', '.join(settings)}: said twice; put it into the {kit.policy.__name__}",
                              next(iter(settings)))
        return args[0]
    return kit.policy(*args, **settings)


def _written_out(kit: Kit, value: Any) -> str | None:
    """The settings that a plain *value* most likely means: "attempts=3"; None if none suits it."""
    written = settings_for(kit.policy, value)
    return None if written is None else written.removeprefix(f"{kit.policy.__name__}(").removesuffix(")")


def _example(kit: Kit, positional: str | None) -> str:
    if positional is None:
        return next(f"{field.name}=..." for field in attrs.fields(kit.policy) if field.init)
    examples = {"calls": "5", "timeout": "0.5", "max_concurrent": "20", "targets": "['eu', 'us']"}
    return examples.get(positional, positional)


def _signature(fields: Mapping[str, attrs.Attribute[Any]], positional: str | None, first: str | None,
               bare: bool) -> inspect.Signature:
    """What completion and ``help()`` show: the policy's fields with their defaults, and the options."""
    parameters = []
    if bare:
        parameters.append(inspect.Parameter("fn", inspect.Parameter.POSITIONAL_ONLY, default=UNSET))
    if first is not None:
        parameters.append(inspect.Parameter(first, inspect.Parameter.POSITIONAL_ONLY))
    for name, field in fields.items():
        if name != positional:
            parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(field)))
    parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                   for name, default in OPTIONS.items() if name not in fields]
    return inspect.Signature(parameters)


def _default(field: attrs.Attribute[Any]) -> Any:
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        return field.default.factory()  # type: ignore[union-attr]
    return inspect.Parameter.empty if field.default is attrs.NOTHING else field.default


circuit_breaker: CircuitBreakerDecorator = policy_decorator(
    BREAKER, name="circuit_breaker", bare=True, about="Refuse calls while their target looks down.")
cache: CacheDecorator = policy_decorator(
    CACHE, name="cache", bare=True,
    about="Answer equal calls without executing them: those at once by one execution, later ones from a store.")
adaptive_limit: AdaptiveLimitDecorator = policy_decorator(
    ADAPTIVE_LIMIT, name="adaptive_limit",
    about="A bulkhead that finds its own size; more calls are refused with BulkheadFullError.")
retry: RetryDecorator = policy_decorator(
    RETRY, name="retry",
    about="Try again what failed, after a growing and random delay, within the group's budget.")
rate_limit: RateLimitDecorator = policy_decorator(
    RATE_LIMIT, name="rate_limit", first="calls",
    about="At most *calls* in ``per`` seconds; more wait up to ``max_wait``, and are refused with RateLimitedError.")
hedge: HedgeDecorator = policy_decorator(
    HEDGE, name="hedge", about="""\
Begin a second attempt beside one that is slow; the first to succeed is the answer.

For coroutine functions, and for plain ones on worker threads, that may be called twice without harm.""")
failover: FailoverDecorator = policy_decorator(
    FAILOVER, name="failover", first="targets", about="""\
Call the first of several named *targets* that can answer; each is a command of its own.

What stands below it in a stack belongs to each target, what stands above to the call as a whole.""")
failures: FailuresDecorator = policy_decorator(
    FAILURES, name="failures", about="""\
Say which results and exceptions are failures, which mean that the target is busy, and which are the caller's fault.

It is the lowest of a stack; all policies above act on what it says.""")
chaos: ChaosDecorator = policy_decorator(
    CHAOS, name="chaos",
    about="Delay, fail or spoil calls on purpose, while the registry says so; see Registry.start_chaos.")
throttle: ThrottleDecorator = policy_decorator(
    THROTTLE, name="throttle",
    about="Refuse at home, with ThrottledError, a share of the calls that the target would not accept anyway.")
bulkhead: BulkheadDecorator = policy_decorator(
    BULKHEAD, name="bulkhead", first="max_concurrent",
    about="At most *max_concurrent* calls at once; more wait up to ``max_wait``, or are refused with "
          "BulkheadFullError.")
timeout: TimeoutDecorator = policy_decorator(
    TIMEOUT, name="timeout", first="seconds",
    about="Give up after *seconds* with CallTimeoutError: a coroutine is cancelled, a plain function's caller leaves.")
stream_timeout: StreamTimeoutDecorator = policy_decorator(
    STREAM_TIMEOUT, name="stream_timeout",
    about="End a stream with StreamTimeoutError that takes too long: until its first item, between items, or as a "
          "whole.")
fallback: FallbackDecorator = policy_decorator(
    FALLBACK, name="fallback", first="function",
    about="Answer with *function* instead of an error; see Fallback for ``on`` and ``max_concurrent``.")
