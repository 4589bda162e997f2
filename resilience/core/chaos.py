"""Chaos: which calls to harm, and how.

Whether timeouts, circuits and fallbacks do what they should shows when something
goes wrong; chaos lets it go wrong on purpose. It stands in for the target, below
everything else, so that all policies take its faults for the target's.

Declaring it harms nobody. A registry has to be told, in code and for a limited
time (Registry.start_chaos), and forgets it in a forked child.

A frozen value that is told random numbers; it keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import attrs

from ..errors import ChaosError, ConfigError
from .callable_identity import by_identity
from .callbacks import GIVE_PLAIN, is_plain
from .checks import callable_or_none, number, strict


class Harm(NamedTuple):
    """What to do to one call: delay it so many seconds, then raise instead of calling, or spoil the result."""

    delay: float
    error: Callable[[], Exception] | None
    result: Callable[[Any], Any] | None

    def faults(self) -> tuple[str, ...]:
        """Names of what it does."""
        done = {"latency": self.delay > 0, "error": self.error is not None, "result": self.result is not None}
        return tuple(name for name, is_done in done.items() if is_done)

    def fault(self) -> Exception:
        """What the call raises that is to fail.

        Raises:
            TypeError: ``error`` returned no exception.
        """
        fault: object = None if self.error is None else self.error()
        if not isinstance(fault, Exception) and not (isinstance(fault, type) and issubclass(fault, Exception)):
            raise TypeError(f"error of a Chaos must return an exception, not {fault!r}")
        return fault  # type: ignore[return-value]


def _maker(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not callable(value) or not is_plain(value) or (isinstance(value, type) and not issubclass(value, Exception)):
        hint = f"; {GIVE_PLAIN}" if callable(value) and not is_plain(value) else ""
        raise ConfigError(f"{attribute.name} must be an Exception class, or a function that returns an exception, "
                          f"not {value!r}{hint}", attribute.name)


@strict
@attrs.frozen(kw_only=True)
class Chaos:
    """Chaos policy: delays, fails or falsifies a share of the calls on purpose, while the registry says so.

    Nothing happens before Registry.start_chaos(). Immutable: any number of commands and threads may share one.

    Attributes:
        latency_rate: Share of calls that are delayed, 0 to 1.
        latency: Seconds by which they are delayed.
        error_rate: Share of calls that fail without running the function, 0 to 1.
        error: Exception class that these calls raise, or a function that returns the exception.
        result_rate: Share of results that are falsified, 0 to 1.
        result: Function that is called with the true result and returns the false one.
    """

    latency_rate: float = attrs.field(default=0.0, validator=number(least=0, most=1))
    latency: float = attrs.field(default=0.0, validator=number(least=0, most=3600))
    error_rate: float = attrs.field(default=0.0, validator=number(least=0, most=1))
    error: Callable[[], Exception] = attrs.field(default=ChaosError, validator=_maker, eq=by_identity)
    result_rate: float = attrs.field(default=0.0, validator=number(least=0, most=1))
    result: Callable[[Any], Any] | None = attrs.field(default=None, validator=callable_or_none, eq=by_identity)

    def __attrs_post_init__(self) -> None:
        if self.latency_rate and not self.latency:
            raise ConfigError("latency_rate means nothing without latency; say for how long to delay", "latency_rate")
        if self.result_rate and self.result is None:
            raise ConfigError("result_rate means nothing without result; say how to spoil a result", "result_rate")


def harm_of(chaos: Chaos, u: float, v: float, w: float) -> Harm | None:
    """Return what to do to one call; None: nothing.

    Args:
        chaos: What is configured.
        u: A random number in [0, 1), which decides about the delay.
        v: Another one, which decides about the error.
        w: Another one, which decides about the result.
    """
    delay = chaos.latency if u < chaos.latency_rate else 0.0
    error = chaos.error if v < chaos.error_rate else None
    result = chaos.result if error is None and w < chaos.result_rate else None
    harmless = not delay and error is None and result is None  # what is called may call itself false
    return None if harmless else Harm(delay, error, result)
