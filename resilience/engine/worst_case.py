"""WorstCase: how long one call may keep its caller, and how often it may reach the target, as its settings give it.

Each kit says what its policy makes of the worst case of all that stands below it; explain() asks them, innermost
first. It is a bound, not a forecast: budgets, circuits and a caller's own deadline only make it less.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import attrs


@attrs.frozen
class WorstCase:
    """The worst case of one call.

    Attributes:
        seconds: The longest time that the caller waits; infinite if nothing bounds it.
        waits: How many of these it may wait for its turn before the function is called.
        race: Where several attempts may run at once: how long they take together if each takes so many seconds.
        attempts: How often the function is called at most.
        unbounded: Why nothing bounds the time; empty if something does.
        last_begins: Seconds after which no further attempt begins; infinite if there is only one, or nothing bounds it.
        until: Of a stream, after how many seconds so many first items have come at the latest; None: not said.
        besides: What takes time of its own that nothing bounds, such as a fallback.
    """

    seconds: float = inf
    attempts: int = 1
    unbounded: str = "no timeout"
    besides: tuple[str, ...] = ()
    last_begins: float = inf
    until: Callable[[int], float] | None = None
    waits: float = 0.0
    race: Callable[[float], float] | None = None

    def bounded(self, seconds: float) -> WorstCase:
        """Return the same if somebody gives up after so many *seconds*.

        Args:
            seconds: How many.
        """
        return attrs.evolve(self, seconds=min(self.seconds, seconds), unbounded="", waits=min(self.waits, seconds),
                            last_begins=self.last_begins if self.attempts == 1 else min(self.last_begins, seconds))

    def after(self, seconds: float) -> WorstCase:
        """Return the same if the call may wait for so many *seconds* first.

        Args:
            seconds: How many.
        """
        return attrs.evolve(self, seconds=self.seconds + seconds, waits=self.waits + seconds,
                            last_begins=self.last_begins + seconds)

    def repeated(self, times: int, pauses: float = 0.0, time_limit: float = inf,
                 each: float | None = None) -> WorstCase:
        """Return the same if the call is made several times, one after the other.

        Args:
            times: How often.
            pauses: Seconds between them, all together.
            time_limit: Seconds within which the last one begins.
            each: Seconds until the next one begins: of a stream, until its first items. None: ``seconds``.
        """
        if times == 1:
            return self
        last_round = min((times - 1) * (self.seconds if each is None else each) + pauses, time_limit)
        return attrs.evolve(self, seconds=last_round + self.seconds, attempts=self.attempts * times,
                            last_begins=last_round if self.attempts == 1 else last_round + self.last_begins)

    def besides_also(self, what: str) -> WorstCase:
        """Return the same if something else may take time, which nothing bounds.

        Args:
            what: A few words for people, such as "a fallback".
        """
        return attrs.evolve(self, besides=(*self.besides, what))

    def raced(self, attempts: int, race: Callable[[float], float]) -> WorstCase:
        """Return the same if several attempts may run at once. What bounds the call bounds all of them.

        Args:
            attempts: How many.
            race: See the attribute.
        """
        return attrs.evolve(self, attempts=self.attempts * attempts, race=race)

    def __str__(self) -> str:
        time = f"unbounded: {self.unbounded or 'a wait without an end'}" if self.seconds == inf \
            else f"{self.seconds:.4g} s"
        besides = "".join(f", and {each}" for each in self.besides)
        last = "" if self.attempts == 1 or self.last_begins >= self.seconds else \
            f", the last of which begins within {self.last_begins:.4g} s"
        return f"at worst {time}{besides}; {self.attempts} attempt{'' if self.attempts == 1 else 's'}{last}"
