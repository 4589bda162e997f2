"""What happens to a command, as listeners are told it.

Events are built inside a machine and delivered outside its lock; ``term``
orders the changes of one circuit, arrival does not. Times are seconds on the
registry's clock.
"""

from __future__ import annotations

import enum

import attrs

from .. import errors
from .callable_identity import by_identity


def _shown(error: BaseException | None) -> str:
    """An exception for an event's repr; it is somebody else's, and its own may raise."""
    try:
        return repr(error)
    except Exception:  # noqa: BLE001 - whatever it is, the event can be printed
        return f"<{type(error).__name__} that cannot be shown>"


class State(enum.StrEnum):
    """What a circuit does with calls; "open" always means refusing."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    FORCED_CLOSED = "forced_closed"
    DISABLED = "disabled"


class Trigger(enum.StrEnum):
    """Why a circuit changed its state."""

    FAILURE_RATE = "failure_rate"  # too many calls of the window failed
    SLOW_RATE = "slow_rate"  # too many calls of the window were slow
    CONSECUTIVE = "consecutive"  # too many calls in a row failed
    SUSTAINED_FAILURES = "sustained_failures"  # calls in a row failed for as long as the window, or longer
    HALTED = "halted"  # the target asked its callers to wait
    FLEET = "fleet"  # enough other instances see the target down
    RESTORED = "restored"  # it was open before the process was started anew
    WAIT_ELAPSED = "wait_elapsed"  # open_for has passed and a caller asked for a permit
    PROBES_PASSED = "probes_passed"
    PROBE_FAILED = "probe_failed"  # a probe failed, or was slow
    PROBES_LOST = "probes_lost"  # a probe never answered within half_open_for
    FORCED_OPEN = "forced_open"  # an operator's word, as the rest
    FORCED_CLOSED = "forced_closed"
    DISABLED = "disabled"
    RELEASED = "released"
    RESET = "reset"


@attrs.frozen
class StateChanged:
    """A circuit went from one state to another; *reason* says why in a few words, such as "5 of 8 calls failed"."""

    key: str
    group: str
    old: State
    new: State
    trigger: Trigger
    term: int
    at: float
    reason: str = attrs.field(default="", eq=False)
    last_failure: errors.LastFailure | None = attrs.field(default=None, eq=False)


@attrs.frozen
class CallRejected:
    """A call was refused before it ran; *event* is the name it is counted under."""

    key: str
    group: str
    event: str
    error: BaseException = attrs.field(eq=by_identity, repr=_shown)
    at: float


@attrs.frozen
class CallFailed:
    """A call ran and failed or timed out; *event* is the name it is counted under."""

    key: str
    group: str
    event: str
    error: BaseException = attrs.field(eq=by_identity, repr=_shown)
    duration: float
    at: float


@attrs.frozen
class CallRetried:
    """An attempt ended as *event*, and another follows; *error* is None if its result was the reason."""

    key: str
    group: str
    event: str
    error: BaseException | None = attrs.field(eq=by_identity, repr=_shown)
    attempt: int
    delay: float
    at: float


@attrs.frozen
class ShadowRejected:
    """A call ran that a policy in shadow mode would have refused; *policy* is its name among the settings."""

    key: str
    group: str
    policy: str
    at: float


@attrs.frozen
class ChaosInjected:
    """A call is harmed on purpose; *faults* are some of "latency", "error" and "result"."""

    key: str
    group: str
    faults: tuple[str, ...]
    at: float


@attrs.frozen
class CallHedged:
    """A call has been out for *after* seconds, so its *attempt*-th begins beside the others."""

    key: str
    group: str
    attempt: int
    after: float
    at: float


@attrs.frozen
class CallFailedOver:
    """A call ended as *event*, with *error*, at the target of the command *key*; it goes on to that of *next_key*."""

    key: str
    group: str
    event: str
    error: BaseException = attrs.field(eq=by_identity, repr=_shown)
    next_key: str
    at: float


@attrs.frozen
class RefreshFailed:
    """A cache was to renew an answer ahead of its expiry; nothing came of it but this *error*."""

    key: str
    group: str
    error: BaseException = attrs.field(eq=by_identity, repr=_shown)
    at: float


@attrs.frozen
class LocalStall:
    """This process, or an event loop of it, did not run for so many *seconds*; calls under way are excused."""

    seconds: float
    at: float


@attrs.frozen
class CallFellBack:
    """A call failed or was refused, and its fallback has ended; *event* is the name that is counted under."""

    key: str
    group: str
    event: str
    at: float


@attrs.frozen
class CommandAdded:
    """A registry has a new command."""

    key: str
    group: str
    at: float


@attrs.frozen
class CommandRemoved:
    """A command left its registry; streams and exporters drop it."""

    key: str
    group: str
    at: float


@attrs.frozen
class CommandConfigured:
    """Settings of a command were changed while it runs; *changes* names them."""

    key: str
    group: str
    changes: tuple[str, ...]
    at: float
