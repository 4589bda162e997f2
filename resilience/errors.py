"""Every exception this package raises on its own account.

Arguments are positional and stand in ``args``, the message is made on demand:
so every error pickles, and a refusal, raised at full speed while a circuit is
open, formats nothing that nobody reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs


class ResilienceError(Exception):
    """Root of the tree; catch it to catch everything below."""


class RejectedError(ResilienceError):
    """The call was refused before it started; the callable did not run."""

    reason = "the call was rejected"

    if TYPE_CHECKING:  # BaseException keeps its arguments already; an __init__ would double the price of a refusal

        def __init__(self, key: str, retry_after: float | None = None, /) -> None: ...

    @property
    def key(self) -> str:
        """Key of the command that refused."""
        return self.args[0] if self.args else ""  # made bare, by a test's stand-in

    @property
    def retry_after(self) -> float | None:
        """Seconds until asking again can help; None if unknown."""
        return self.args[1] if len(self.args) > 1 else None

    def __str__(self) -> str:
        wait = "" if self.retry_after is None else f"; retry in {self.retry_after:.3g} s"
        return f"{self.key}: {self.reason}{wait}"


@attrs.frozen
class LastFailure:
    """The last call of a command that failed or timed out, in words and numbers: it keeps no exception alive.

    Attributes:
        type: Class of the exception, as a traceback names it: "ConnectionError", "httpx.ConnectTimeout".
        message: What it said, at most 200 characters; passwords in URLs are masked.
        at: When, seconds on the registry's clock.
        count: How many of this type came one after another, itself included, with none of another type and no ten
            minutes between two of them.
    """

    type: str
    message: str
    at: float
    count: int

    def __str__(self) -> str:
        return f"{self.type}({self.message!r})"


class CircuitOpenError(RejectedError):
    """The breaker is open, or every half-open probe is taken.

    It says what opened the circuit, and which failure was the last: its arguments hold both as plain values, which
    all refusals of one term share, and the sentence is made only when somebody reads it.
    """

    reason = "the circuit is open"

    if TYPE_CHECKING:

        def __init__(self, key: str, retry_after: float | None = None,
                     standing: tuple[str, float, str, float] | None = None,
                     failure: tuple[str, str, float, int] | None = None, at: float = 0.0, /) -> None: ...

    @property
    def why(self) -> str:
        """What opened the circuit, in a few words: "5 of 8 calls failed"; empty if unknown."""
        return self.args[2][2] if len(self.args) > 2 and self.args[2] else ""

    @property
    def last_failure(self) -> LastFailure | None:
        """The last call that failed or timed out before this refusal; None if there was none."""
        return LastFailure(*self.args[3]) if len(self.args) > 3 and self.args[3] else None

    def __str__(self) -> str:
        if not self.why:
            return super().__str__()
        (state, since, why, told_from), failure, at = self.args[2], self.last_failure, self.args[4]
        probing = ", and its probes are under way" if state == "half_open" else ""
        last = ""
        if failure is not None and failure.at >= told_from:
            last = f", last {failure} {_seconds(at - failure.at)} ago"
        wait = "" if self.retry_after is None else f"; retry in {_seconds(self.retry_after)}"
        return f"{self.key}: {self.reason} since {_seconds(at - since)}{probing}: {why}{last}{wait}"


def _seconds(seconds: float) -> str:
    """*seconds* to three digits and no less than milliseconds; of a clock that stepped back, 0."""
    return f"{seconds:.0f} s" if seconds >= 100 else f"{max(0.0, round(seconds, 3)):.3g} s"


class BulkheadFullError(RejectedError):
    """Every slot of the bulkhead, or every thread and queue place of the pool, is taken."""

    reason = "the bulkhead is full"


class RateLimitedError(RejectedError):
    """The rate is used up."""

    reason = "the rate limit is reached"


class ThrottledError(RejectedError):
    """Too few of the last calls were accepted by the target; this one was refused at home."""

    reason = "too few calls were accepted"


class NoTimeLeftError(RejectedError, TimeoutError):
    """The caller's deadline has passed before the call began."""

    reason = "the caller's deadline has passed"


class FallbackRejectedError(RejectedError):
    """The call failed, and too many fallbacks run already; the cause is its ``__context__``."""

    reason = "too many fallbacks are running"


class CallTimeoutError(ResilienceError, TimeoutError):
    """The call ran past its timeout.

    Attributes:
        key: Key of the command whose timeout it was.
        timeout: The timeout, seconds.
    """

    def __init__(self, key: str, timeout: float) -> None:
        super().__init__()  # OSError, a base of TimeoutError, would take two arguments for errno and strerror
        self.args = (key, timeout)
        self.key = key
        self.timeout = timeout

    def __str__(self) -> str:
        return f"{self.key}: no answer within {self.timeout:g} s"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.timeout), self.__dict__


class DeadlineExceededError(CallTimeoutError):
    """The call ran until the caller's deadline, sooner than its own timeout; ``timeout`` is what it was given."""

    def __str__(self) -> str:
        return f"{self.key}: no answer within {self.timeout:.3g} s, all that the caller's deadline left"


class ChaosError(ResilienceError):
    """What chaos raises unless it is told what else; see Chaos."""


class MissingAnswerError(ResilienceError, LookupError):
    """A batch function answered others, and had no answer to this caller's item."""

    if TYPE_CHECKING:

        def __init__(self, function: str, item: Any, /) -> None: ...

    @property
    def function(self) -> str:
        """Name of the batch function."""
        return self.args[0] if self.args else ""

    @property
    def item(self) -> Any:
        """What was asked for."""
        return self.args[1] if len(self.args) > 1 else None

    def __str__(self) -> str:
        return f"{self.function}: no answer to {self.item!r}"


class BatchAnswerError(ResilienceError, TypeError):
    """What a batch function returned cannot be dealt out: neither a mapping nor a sequence of the right length."""

    if TYPE_CHECKING:

        def __init__(self, function: str, reason: str, /) -> None: ...

    @property
    def function(self) -> str:
        """Name of the batch function."""
        return self.args[0] if self.args else ""

    def __str__(self) -> str:
        return ": ".join(map(str, self.args))


class ConfigError(ResilienceError, ValueError):
    """A setting is out of range, of the wrong type, unknown or contradictory.

    Attributes:
        option: Name of the offending setting; None when it concerns no single one.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message, option)
        self.option = option

    def __str__(self) -> str:
        return str(self.args[0])


class BadRequestError(ResilienceError):
    """For users to raise: the caller's fault. No fallback, no effect on health."""
