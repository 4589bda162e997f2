"""Verdict: what one call says about its target, and Ending, what a verdict is given about.

A call of a command has one verdict, and all of its policies act on it:

| verdict | breaker | retry | limits | counted as |
|---|---|---|---|---|
| good | good | - | good | success |
| failed | bad | may repeat it | bad | failure |
| busy | says nothing | waits as told, may repeat it | bad: they shrink | busy |
| refused | says nothing | - | says nothing | semaphore_rejected |
| the caller's fault | says nothing | - | good | bad_request |

How a call was refused by a policy, cancelled or cut short is not for anybody to judge: the library knows it. "Refused"
is for the limits of others on the caller's side, above all the connection pool of a client library.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import attrs

from ..errors import ResilienceError
from .outcome import BUSY, FAILURE, IGNORED, REJECTED, SUCCESS


class Verdict(enum.Enum):
    """What a call says about its target.

    Attributes:
        GOOD: It worked.
        FAILED: The target is unhealthy: the call failed.
        BUSY: The target is healthy, and refuses for now, as with HTTP status 429.
        REFUSED: A limit on the caller's own side refused, such as a full connection pool: the target was not asked.
        CALLER_FAULT: The call was wrong, and would be so again: a bad request, an unknown name.
    """

    GOOD = "good"
    FAILED = "failed"
    BUSY = "busy"
    REFUSED = "refused"
    CALLER_FAULT = "caller_fault"


#: What the gates are told.
OUTCOME_OF: Final = {Verdict.GOOD: SUCCESS, Verdict.FAILED: FAILURE, Verdict.BUSY: BUSY, Verdict.REFUSED: REJECTED,
                     Verdict.CALLER_FAULT: IGNORED}


@attrs.frozen
class Ending:
    """How a call ended. Immutable.

    Attributes:
        result: What it returned; of a stream the item that it yielded. None if it raised.
        error: What it raised; None if it returned or yielded.
        is_item: Whether ``result`` is an item of a stream.
    """

    result: Any = None
    error: Exception | None = None
    is_item: bool = False


class FailedResultError(ResilienceError):
    """The call returned, and the command's failure rules judge its result failed, busy or the caller's fault.

    Fallbacks and listeners get it; the caller gets the result itself, unless the rules say ``raise_failures``.
    """

    __module__ = "resilience"  # where users find it: tracebacks, snapshots and pickles name that
    _judged_by: object = None

    if TYPE_CHECKING:

        def __init__(self, key: str, result: Any, verdict: Verdict, why: str, retry_after: float | None = None,
                     /) -> None: ...

    @property
    def key(self) -> str:
        """Key of the command."""
        return self.args[0]  # type: ignore[no-any-return]

    @property
    def result(self) -> Any:
        """What the call returned; of a stream, the item that was judged. None for a body that its reader has by now."""
        return self.args[1]

    @property
    def verdict(self) -> Verdict:
        """What the rules say of it."""
        return self.args[2]  # type: ignore[no-any-return]

    @property
    def why(self) -> str:
        """The reason in a few words: "HTTP status 503"."""
        return self.args[3]  # type: ignore[no-any-return]

    @property
    def retry_after(self) -> float | None:
        """Seconds that the result asks to wait, as by its Retry-After header; None: it does not ask."""
        return self.args[4] if len(self.args) > 4 else None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, in another process perhaps, is an error like any other: who judged it stays behind."""
        return type(self), self.args, {name: value for name, value in vars(self).items() if name != "_judged_by"}

    def __str__(self) -> str:
        return f"{self.key}: {self.why}"


def signed(error: FailedResultError, judge: object) -> FailedResultError:
    """The *error*, which remembers from now on who has judged."""
    error._judged_by = judge
    return error


def is_signed(error: BaseException, judge: object) -> TypeGuard[FailedResultError]:
    """Whether *error* is what this *judge* said of a result, and not what the function raised itself."""
    return type(error) is FailedResultError and error._judged_by is judge


def let_go(error: FailedResultError) -> None:
    """Keep the result alive no longer: the caller has it, and the *error* is only counted."""
    error.args = (error.args[0], None, *error.args[2:])
