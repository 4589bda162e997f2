"""Snapshot: what one command looked like at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from math import isfinite
from typing import Any

import attrs

from ..core.events import State, StateChanged
from ..core.histogram import Latency
from ..core.outcome import REFUSALS
from ..errors import LastFailure


def _plain(value: Any) -> Any:
    """What JSON can say of a *value*; a number without an end, which it cannot, is None."""
    if attrs.has(type(value)):
        return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return None if isinstance(value, float) and not isfinite(value) else value


@attrs.frozen(kw_only=True)
class Snapshot:
    """A command at one moment. Counts are of the rolling window (10 s), latency of the last minute.

    Attributes:
        key: The command's key.
        group: Its group.
        at: When it was taken, seconds on the registry's clock.
        state: What its circuit does with calls; "disabled" for a command without a breaker.
        retry_after: Seconds until a refused caller should ask again; None while calls are admitted, and while only an
            operator can end it.
        counts: Per Hystrix event in snake case, within the window.
        window: Length of the window, seconds.
        latency: Mean and percentiles of executions, seconds.
        latency_window: What they are taken over, seconds.
        in_flight: Calls running now, abandoned ones included.
        max_in_flight: Most calls running at once within the window.
        max_concurrent: How many may run at once; None: no limit.
        abandoned: Calls whose caller has given up while their thread still runs.
        transitions: The circuit's last changes, oldest first.
        custom_rejections: Those of the counts that are refusals by policies of users' own.
        gauges: What such policies show of themselves, by "POLICY.NAME".
        state_since: Since when the circuit is in this state, seconds on the registry's clock; None without a breaker.
        opened_at: When it opened, over all probes that have failed since; None unless it is open or half open.
        reason: Why it refuses calls, in a few words: "5 of 8 calls failed"; None while they are admitted.
        last_failure: The last call that failed or timed out; None: none has.
    """

    key: str
    group: str
    at: float
    state: State
    retry_after: float | None
    counts: Mapping[str, int]
    window: float
    latency: Latency
    latency_window: float
    in_flight: int
    max_in_flight: int
    max_concurrent: int | None
    abandoned: int
    transitions: tuple[StateChanged, ...] = ()
    custom_rejections: tuple[str, ...] = ()
    gauges: Mapping[str, float] = attrs.field(factory=dict)
    state_since: float | None = None
    opened_at: float | None = None
    reason: str | None = None
    last_failure: LastFailure | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, words, lists and dicts, fit for JSON; the derived numbers too."""
        plain: dict[str, Any] = _plain(self)
        return plain | {name: getattr(self, name) for name in ("refused", "requests", "errors", "error_rate", "rate")}

    @property
    def refused(self) -> int:
        """Calls that were not let through: circuit open, bulkhead or pool full, throttled, over a rate, too late."""
        return sum(map(self.counts.__getitem__, REFUSALS + self.custom_rejections))

    @property
    def requests(self) -> int:
        """Calls in the window that ran or were refused; not those cancelled, or the caller's own fault."""
        return self.counts["success"] + self.errors

    @property
    def errors(self) -> int:
        """Of the requests, those that failed, timed out, found the target busy or were refused."""
        counts = self.counts
        return counts["failure"] + counts["timeout"] + counts["busy"] + self.refused

    @property
    def error_rate(self) -> float:
        """Share of errors in the requests, 0 to 1; 0 without requests."""
        requests = self.requests
        return self.errors / requests if requests else 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.window
