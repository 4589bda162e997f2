"""Every exception this package raises on its own account.

Arguments are positional and stand in ``args``, the message is made on demand:
so every error pickles, and a refusal, raised at full speed while a circuit is
open, formats nothing that nobody reads.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs


class ResilienceError(Exception):
    """Base class of all exceptions that this library raises itself."""


def seconds_text(seconds: float) -> str:
    """A measured or remaining time for a message: whole seconds from 100 on, three digits below, never an exponent."""
    return f"{plain_number(seconds if abs(seconds) < 100 else round(seconds), 3)} s"


def plain_number(number: float, digits: int = 12) -> str:
    """A number for a message, with at most so many *digits* but all those before the point, never with an exponent."""
    if not abs(number) < 1e300:  # infinite, or no number
        return f"{number}"
    if abs(number) >= 10 ** (digits - 1):
        return f"{number:.0f}"
    text = f"{number:.{digits}g}"
    return format(Decimal(text), "f")


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
        wait = "" if self.retry_after is None else f"; retry in {seconds_text(self.retry_after)}"
        return f"{self.key}: {self.reason}{wait}"

    def __repr__(self) -> str:  # in logs, and of asyncio's tasks: what the arguments mean, not the bare numbers
        return f"{type(self).__name__}({str(self)!r})" if self.args else super().__repr__()


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
        return f"{self.key}: {self.reason}, opened {_seconds(at - since)} ago{probing}: {why}{last}{wait}"


def _seconds(seconds: float) -> str:
    """*seconds* to three digits and no less than milliseconds; of a clock that stepped back, 0."""
    return seconds_text(max(0.0, round(seconds, 3)))


class BulkheadFullError(RejectedError):
    """Every slot of the bulkhead is taken, or, of its subclasses, no thread is to be had for the call."""

    reason = "the bulkhead is full"
    _counts_calls = True

    if TYPE_CHECKING:

        def __init__(self, key: str, retry_after: float | None = None, limit: int | None = None,
                     abandoned: int = 0, in_flight: int | None = None, waiting: int = 0, /) -> None: ...

    @property
    def limit(self) -> int | None:
        """How many calls may run at once; None: not said."""
        return self.args[2] if len(self.args) > 2 else None

    @property
    def abandoned(self) -> int:
        """How many of the slots are held by worker threads whose callers have given up."""
        return self.args[3] if len(self.args) > 3 else 0

    @property
    def in_flight(self) -> int | None:
        """How many calls of the command ran when this one was refused; None: not said."""
        return self.args[4] if len(self.args) > 4 and self._counts_calls else None

    @property
    def waiting(self) -> int:
        """How many other calls of the command waited for a slot."""
        return self.args[5] if len(self.args) > 5 and self._counts_calls else 0

    def __str__(self) -> str:
        text = super().__str__()
        if self.limit is None:
            return text
        held = f"{self.in_flight} of {self.limit} slots, and more important calls come first"
        if self.in_flight is None or self.in_flight >= self.limit:
            held = "its only slot" if self.limit == 1 else f"all {self.limit} slots"
        left = f"; of {self.abandoned} of them the callers have given up"
        more = f", and {self.waiting} more wait{'s' if self.waiting == 1 else ''} for one"
        return (f"{text}: calls of its own hold {held}{left if self.abandoned else ''}"
                f"{more if self.waiting else ''}")


class ThreadPoolFullError(BulkheadFullError):
    """The command has a slot left, and no thread is free for it; the message says whose calls hold them."""

    reason = "no thread is free"
    _counts_calls = False

    if TYPE_CHECKING:

        def __init__(self, key: str, retry_after: float | None, pool: str | None, size: int, max_queue: int,
                     holders: tuple[tuple[str, int], ...], waits_for_itself: bool = False, /) -> None: ...

    @property
    def limit(self) -> int | None:
        """How many threads there are at most."""
        return self.args[3] if len(self.args) > 3 else None

    @property
    def abandoned(self) -> int:
        """0: a pool does not count the calls whose callers have given up."""
        return 0

    @property
    def pool(self) -> str | None:
        """Name of the pool, which is its group's; None: the command's own threads."""
        return self.args[2] if len(self.args) > 2 else None

    @property
    def max_queue(self) -> int:
        """How many calls may wait for a thread."""
        return self.args[4] if len(self.args) > 4 else 0

    @property
    def holders(self) -> dict[str, int]:
        """Calls that run on the pool, by key; most first."""
        return dict(self.args[5]) if len(self.args) > 5 else {}

    @property
    def waits_for_itself(self) -> bool:
        """Whether the call would have waited for threads that cannot be free before it has ended."""
        return len(self.args) > 6 and bool(self.args[6])

    def __str__(self) -> str:
        if self.limit is None:
            return RejectedError.__str__(self)
        if self.pool is None:
            return (f"{self.key}: all {self.limit} threads that a command without max_concurrent may have are at work; "
                    "say max_concurrent, or give it a pool")
        held = ", ".join(f"{count} of {key}" for key, count in self.holders.items())
        what = f"all {self.limit} threads of the pool of group {self.pool!r} are at work" if self.limit > 1 else \
            f"the only thread of the pool of group {self.pool!r} is at work"
        if self.waits_for_itself:
            return (f"{self.key}: {what} ({held}), and this call comes from one of them, so that it could wait for "
                    "itself for ever; give one of the commands a group of its own, or no pool")
        queue = "" if not self.max_queue else ", and a call waits already" if self.max_queue == 1 else \
            f", and {self.max_queue} calls wait already"
        return f"{self.key}: {what} ({held}){queue}; make the pool larger, or give the command a group of its own"


class ThreadUnavailableError(BulkheadFullError):
    """The system gives no thread for the call: too many processes, too little memory, or no threads at all."""

    reason = "no thread could be started"
    _counts_calls = False

    if TYPE_CHECKING:

        def __init__(self, key: str, retry_after: float | None, cause: str, /) -> None: ...

    @property
    def limit(self) -> int | None:
        """None: how many threads the system allows is not known."""
        return None

    @property
    def cause(self) -> str:
        """What the system said; the exception itself is the ``__cause__``, which does not pickle."""
        return self.args[2] if len(self.args) > 2 else ""

    def __str__(self) -> str:
        return f"{RejectedError.__str__(self)}{f': {self.cause}' if self.cause else ''}"


class ThreadPoolClosedError(BulkheadFullError):
    """The registry is closed, or the interpreter is shutting down: no call runs on a thread of it any more."""

    reason = "its threads have ended"
    _counts_calls = False

    if TYPE_CHECKING:

        def __init__(self, key: str, retry_after: float | None, why: str, /) -> None: ...

    @property
    def limit(self) -> int | None:
        """None: there are no threads."""
        return None

    @property
    def why(self) -> str:
        """What ended the threads: the registry was closed, or the interpreter shuts down."""
        return self.args[2] if len(self.args) > 2 else ""

    def __str__(self) -> str:
        return f"{RejectedError.__str__(self)}{f': {self.why}' if self.why else ''}"


class RateLimitedError(RejectedError):
    """The rate limit admits no further call for now, and the wait would exceed ``max_wait``."""

    reason = "the rate limit is reached"


class ThrottledError(RejectedError):
    """The throttle refused the call locally, because the target accepted too few of the last calls."""

    reason = "too few calls were accepted"


class NoTimeLeftError(RejectedError, TimeoutError):
    """The caller's deadline has passed before the call began."""

    reason = "the caller's deadline has passed"


class FallbackRejectedError(RejectedError):
    """The call failed, and too many fallbacks run already; the call's own error is its ``__cause__``."""

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
        return f"{self.key}: no answer within {plain_number(self.timeout)} s"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.key, self.timeout), self.__dict__


class StreamTimeoutError(CallTimeoutError):
    """A stream took too long for one of its clocks.

    Attributes:
        key: Key of the command whose stream it was.
        timeout: Seconds of the clock that ran out.
        clock: Which clock: "first_item", "between_items", "total" or "min_rate".
        items: How many items the consumer had been given; 0 if those that came were held back (``Retry.hold``).
        missed: What did not come: an "item", or "progress" if the policy says which items are.
    """

    def __init__(self, key: str, timeout: float, clock: str = "between_items", items: int = 0,
                 missed: str = "item") -> None:
        super().__init__(key, timeout)
        self.clock = clock
        self.items = items
        self.missed = missed

    def __str__(self) -> str:
        seconds = f"{plain_number(self.timeout)} s"
        if self.clock == "first_item":
            return f"{self.key}: no {'progress' if self.items else 'item'} within {seconds}{_after(self.items)}"
        if self.clock == "between_items":
            after = f" after {_items(self.items)}" if self.items else "; what had come was held back"
            return f"{self.key}: no {self.missed} for {seconds}{after}"
        what = f"the stream did not end within {seconds}" if self.clock == "total" else \
            f"too little came in {seconds}"
        return f"{self.key}: {what}{_after(self.items)}"


def _items(number: int) -> str:
    return f"{number} item{'' if number == 1 else 's'}"


def _after(items: int) -> str:
    return f" ({_items(items)} had come)" if items else ""


class DeadlineExceededError(CallTimeoutError):
    """The caller's deadline passed while the call was waited for, before the call's own timeout ended.

    Attributes:
        key: Key of the command that was called.
        timeout: Seconds that the deadline left for this wait; of a stream, for the item that did not come.
        deadline: Seconds that the deadline gave for everything done under it; None: not known.
        items: Of a stream, how many items the consumer had been given.
    """

    def __init__(self, key: str, timeout: float, deadline: float | None = None, items: int = 0) -> None:
        super().__init__(key, timeout)
        self.deadline = deadline
        self.items = items

    def __str__(self) -> str:
        waited, whole = seconds_text(self.timeout), self.deadline
        come = _after(self.items)
        if whole is None or seconds_text(whole) == waited:
            return f"{self.key}: the caller's deadline passed after {waited}{come}"
        return f"{self.key}: the caller's deadline passed after {seconds_text(whole)}{come}; this wait had the last " \
               f"{waited}"


class ChaosError(ResilienceError):
    """The error that chaos raises unless it is given another one; see Chaos.error."""


class MissingResultError(ResilienceError, LookupError):
    """A batch function answered others, and had no answer to this caller's item."""

    if TYPE_CHECKING:

        def __init__(self, function: str, item: Any, /) -> None: ...

    @property
    def function(self) -> str:
        """Name of the batch function."""
        return self.args[0] if self.args else ""

    @property
    def item(self) -> Any:
        """The item that the batch function returned no answer for."""
        return self.args[1] if len(self.args) > 1 else None

    def __str__(self) -> str:
        return f"{self.function}: no answer to {self.item!r}"


class BatchResultError(ResilienceError, TypeError):
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
    """To be raised by users for a mistake of the caller: it runs no fallback, and has no effect on health."""
