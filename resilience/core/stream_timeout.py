"""Stream timeout: how long a stream may take, for its first item, between items, as a whole, and at which rate.

All clocks of a stream count the stream's *own* time: that which its consumer waits for it. What the consumer does
between two items is not the stream's doing, and must not make its target look slow.

An item is progress unless ``progress`` says otherwise: a keep-alive may come for ever while nothing gets done. What
``progress`` returns is also how much there was of it, which the minimum rate adds up: 1 an item, or, with
``progress=len``, bytes.

| clock | runs from | runs out |
|---|---|---|
| first_item | the beginning, until the first progress | after so long, or ``between_items`` if it says nothing |
| between_items | each progress | after so long |
| total | the beginning | after so long |
| min_rate | the first progress, then the end of each window | after ``window``, if too little came in it |

The machine, StreamMeter, is told of each item and the own time. Whoever drives it asks how long the stream may go on
from here, and ends it then: by a timer, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Final

import attrs

from ..errors import ConfigError
from .callable_identity import by_identity
from .callbacks import call_back
from .checks import number, strict
from .references import as_function, function_in_file, function_or_none

_DAY_S: Final = 86_400.0


@strict
@attrs.frozen(kw_only=True)
class StreamTimeout:
    """Stream timeout policy: ends a stream that takes too long with StreamTimeoutError.

    For async generators; of generators it can bound ``total`` and ``min_rate`` only, and looks at these when an item
    comes. The time that the consumer takes between items is not counted. Immutable: any number of commands and threads
    may share one.

    Attributes:
        first_item: Seconds until the first item; None: as ``between_items``.
        between_items: Seconds from one item to the next; None: no limit.
        total: Seconds for the whole stream; None: no limit.
        min_rate: Least progress per second, in items or in what ``progress`` counts, in each ``window`` after the first
            item; None: none.
        window: Seconds over which the rate is measured.
        progress: Function that is given an item and returns whether it is progress, or how much: ``len`` counts bytes.
            What is no progress, such as a keep-alive, stops no clock. None: every item is progress, of 1.
    """

    first_item: float | None = attrs.field(default=None, validator=number(above=0, most=_DAY_S, optional=True))
    between_items: float | None = attrs.field(default=None, validator=number(above=0, most=_DAY_S, optional=True))
    total: float | None = attrs.field(default=None, validator=number(above=0, most=_DAY_S, optional=True))
    min_rate: float | None = attrs.field(default=None, validator=number(above=0, most=1e12, optional=True))
    window: float = attrs.field(default=10.0, validator=number(above=0, most=_DAY_S))
    progress: Callable[[Any], object] | None = attrs.field(
        default=None, converter=as_function, validator=function_or_none, eq=by_identity,
        metadata=function_in_file())

    def __attrs_post_init__(self) -> None:
        if self.first_item is self.between_items is self.total is self.min_rate is None:
            raise ConfigError("StreamTimeout needs first_item, between_items, total or min_rate, as in "
                              "StreamTimeout(first_item=10.0, between_items=2.0)", "first_item")


def longest_until(clocks: StreamTimeout, items: int) -> float:
    """Return after how many seconds so many first items have come at the latest; infinite: nothing bounds that.

    Args:
        clocks: The clocks in force.
        items: How many, at least one.
    """
    each = inf if clocks.between_items is None else clocks.between_items
    first = each if clocks.first_item is None else clocks.first_item
    return min(first + (items - 1) * each if items > 1 else first, inf if clocks.total is None else clocks.total)


class StreamMeter:
    """How far one stream is, and how long it may go on. Times are seconds of the stream's own time.

    Attributes:
        limit: Seconds from the last item, or from the beginning, after which a clock runs out if no item comes;
            infinite: never.
        counts: Whether the meter must hear of each item and when it came. Else an item only makes ``limit`` what
            ``idle`` is.
        idle: Seconds between two items; infinite: no limit.
    """

    __slots__ = ("_amount", "_due", "_has_begun", "_is_plain", "_least", "_policy", "_total", "_window_ends", "counts",
                 "idle", "limit")

    def __init__(self, policy: StreamTimeout) -> None:
        self._policy, self._has_begun = policy, False
        self._is_plain = policy.min_rate is None and policy.progress is None
        self.counts = not self._is_plain or policy.total is not None
        self.idle = inf if policy.between_items is None else policy.between_items
        self._total = inf if policy.total is None else policy.total
        self._due = self.idle if policy.first_item is None else policy.first_item  # when progress is due
        self._window_ends, self._amount = inf, 0.0
        self._least = 0.0 if policy.min_rate is None else policy.min_rate * policy.window
        self.limit = min(self._due, self._total)

    def arrived(self, item: Any, own: float) -> float:
        """Hear that *item* came when the stream's own time was *own*; return the new limit.

        What ``progress`` raises, this raises.
        """
        if self._is_plain:
            self._has_begun = True
            self._due = due = own + self.idle
            self.limit = limit = (due if due < self._total else self._total) - own
            return limit
        policy = self._policy
        amount: Any = 1 if policy.progress is None else call_back(policy.progress, (item,), None)
        if not isinstance(amount, (int, float)):
            amount = bool(amount)
        while self._window_ends <= own and self._amount >= self._least:
            self._window_ends, self._amount = self._window_ends + policy.window, 0.0
        if amount > 0:
            if own < self._window_ends:  # else too little had come by its end, whatever comes now
                self._amount += amount
            self._due = own + self.idle
            if not self._has_begun:
                self._has_begun = True
                if policy.min_rate is not None:
                    self._window_ends = own + policy.window
        self.limit = min(self._due, self._total, self._rate_due()) - own
        return self.limit

    @property
    def missed(self) -> str:
        """What did not come when a clock between items runs out: an "item", or "progress" where not each item is."""
        return "item" if self._policy.progress is None else "progress"

    def ran_out(self, has_begun: bool) -> tuple[str, float]:
        """Return which clock runs out first if no item comes now, and its seconds.

        Args:
            has_begun: Whether an item has come; of a meter that ``counts`` it knows better.
        """
        policy, rate_due = self._policy, self._rate_due()
        if self._due <= min(self._total, rate_due):
            has_begun = self._has_begun if self.counts else has_begun
            if has_begun or policy.first_item is None:
                return "between_items" if has_begun else "first_item", self.idle
            return "first_item", policy.first_item
        return ("total", self._total) if self._total <= rate_due else ("min_rate", policy.window)

    def _rate_due(self) -> float:
        """When too little will have come in a window, if no item comes."""
        enough = self._amount >= self._least  # for this window, and the next one would be empty
        return self._window_ends + self._policy.window if enough else self._window_ends
