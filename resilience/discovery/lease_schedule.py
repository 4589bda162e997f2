"""LeaseSchedule: when an instance registers and when it renews. Pure: it is told the time and random numbers.

| state | answer of the registry | state | the next step |
|---|---|---|---|
| ABSENT | taken | PRESENT | a renewal, after an interval |
| ABSENT | failed | ABSENT | another registration, after a pause that grows |
| PRESENT | taken | PRESENT | a renewal, after an interval |
| PRESENT | unknown: it has forgotten the instance | ABSENT | a registration, at once |
| PRESENT | failed | PRESENT | another renewal, after a pause that grows; the lease outlasts some |
| PRESENT | failed, and the lease is over | ABSENT | a registration, after that pause |
| any | none; the status changes | ABSENT | a registration, at once, for it says the status |

A pause begins at a second, doubles to an interval, and is shortened by chance by up to a half, so that a thousand
instances do not meet a registry that has just come back all at once. Renewals come up to a tenth sooner, by chance.
"""

from __future__ import annotations

import enum
from typing import Final

from .registrant import InstanceStatus

FIRST_PAUSE_S: Final = 1.0
#: Renewals in the time of one lease, as Eureka has them: two may be lost.
RENEWALS: Final = 3
_MOST_TROUBLES: Final = 100


class LeaseState(enum.Enum):
    """Whether the registry has the instance, with its status, as far as is known."""

    ABSENT = "absent"
    PRESENT = "present"


class LeaseAnswer(enum.Enum):
    """What a registry says of a registration or a renewal."""

    TAKEN = "taken"
    UNKNOWN = "unknown"  # of a renewal: it does not know the instance
    FAILED = "failed"  # it refuses, or cannot be asked


class LeaseSchedule:
    """The schedule of one instance. Not thread-safe.

    Attributes:
        state: Whether the registry has the instance.
        status: What the instance says of itself.
        due: When the next step is to be taken.
        trouble: Why the last step failed; empty: it did not.
    """

    __slots__ = ("_changed", "_ends_at", "_failures", "_interval_s", "_told", "due", "state", "status", "trouble")

    def __init__(self, status: InstanceStatus, interval_s: float, now: float) -> None:
        self.state, self.status, self.due, self.trouble = LeaseState.ABSENT, status, now, ""
        self._interval_s, self._failures, self._ends_at = interval_s, 0, now
        self._changed = False
        self._told: set[str] = set()

    def be(self, status: InstanceStatus, now: float) -> bool:
        """Have this *status* from now on; whether it was another one."""
        if status is self.status:
            return False
        self.status, self.state, self.due, self._changed = status, LeaseState.ABSENT, now, True
        return True

    def began(self) -> LeaseState:
        """A step is taken now: a registration if ABSENT, a renewal if PRESENT. answered() follows."""
        self._changed = False
        return self.state

    def answered(self, answer: LeaseAnswer, trouble: str, now: float, u: float) -> bool:
        """The registry has answered, *trouble* says why it failed; whether somebody is to be told.

        A trouble is told of once until a step succeeds, and so is its end. *u* is a random number in [0, 1). If the
        status has changed meanwhile, the answer is about another one, and the next step stays due.
        """
        if answer is LeaseAnswer.FAILED:
            self._failures += 1
            pause = min(self._interval_s, FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 30))
            if not self._changed:
                self.due = now + pause * (1.0 - 0.5 * u)
            if now >= self._ends_at:
                self.state = LeaseState.ABSENT
            self.trouble = trouble
            is_news = trouble not in self._told and len(self._told) < _MOST_TROUBLES
            self._told.add(trouble)
            return is_news
        had_trouble, self.trouble, self._failures = bool(self.trouble), "", 0
        self._told.clear()
        if not self._changed:
            is_taken, self._ends_at = answer is LeaseAnswer.TAKEN, now + RENEWALS * self._interval_s
            self.state = LeaseState.PRESENT if is_taken else LeaseState.ABSENT
            self.due = now + self._interval_s * (1.0 - 0.1 * u) if is_taken else now
        return had_trouble
