"""Membership: which instances a service has, by what its source has said so far. Pure: it is told the time.

| the source | and then |
|---|---|
| lists instances | these are the set; what stays keeps what is known of it, what is gone drains |
| lists some entries with mistakes | the others are the set; each mistake is told of once |
| lists an instance more than once | that is a mistake; no reason to refuse the list, if instances enter themselves |
| lists more mistakes than instances, too many entries, or weights that are all 0 | the list is refused, the set stays |
| lists nobody | the set stays: a registry that has restarted knows nobody yet, and a set of nobody serves nobody |
| lists less than half of a set that enters itself there | what is missing stays for a while: it may have restarted |
| cannot be asked, or does not answer | the set stays |

A set that stays only because nothing better is known is told of with its age: the time since the source has listed it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from .instance import Instance
from .source import MAX_INSTANCES, Listing

#: Instances that are missing from a list that has shrunk all at once stay for so long: a little longer than they take
#: between two renewals, at which they are told to register again.
HOLD_S: Final = 35.0
#: A trouble that stays the same is told of again when the set's age has doubled, and not before so many seconds.
SAY_AGAIN_S: Final = 60.0
#: A source is not asked sooner than this, or half of its interval, because what it said holds for no longer.
LEAST_TTL_S: Final = 1.0
#: Mistakes in one list that are remembered, so that they are told of once.
_MOST_MISTAKES: Final = 100


class ListVerdict(enum.Enum):
    """What becomes of what a source said."""

    CHANGED = "changed"
    SAME = "same"
    EMPTY = "empty"
    REFUSED = "refused"
    FAILED = "failed"


@attrs.frozen
class Update:
    """What a listing does to the set; nothing has happened yet. See Membership.take().

    Attributes:
        verdict: Whether it is taken.
        instances: The set as it is to be, by name.
        added: Names that are new.
        changed: Names that stay, with another weight, zone and so on.
        gone: Names that are no more.
        held: Names of those that stay although they are missing.
        mistakes: Those that were not in the last list.
        all_mistakes: All of them, as far as they are remembered.
        trouble: Why it is not taken; empty: it is.
    """

    verdict: ListVerdict
    instances: Mapping[str, Instance]
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    all_mistakes: frozenset[str] = frozenset()
    trouble: str = ""


class Membership:
    """The set of instances. Of one event loop.

    Attributes:
        instances: By name.
        trouble: Why the source's last answer was not taken; empty: it was.
        held: Names of those that stay although the source has not listed them.
        is_restored: Whether the set is one that was kept over a restart, or taken over, and not listed since.
    """

    __slots__ = ("_hold_s", "_holds_until", "_listed_at", "_mistakes", "_tell_at", "held", "instances", "is_restored",
                 "trouble")

    def __init__(self, hold_s: float = HOLD_S) -> None:
        """There is no set yet.

        Args:
            hold_s: For how long instances stay that are missing from a list which has shrunk all at once, seconds.
        """
        self.instances: Mapping[str, Instance] = {}
        self.trouble = ""
        self.held: tuple[str, ...] = ()
        self._hold_s = hold_s
        self._holds_until: float | None = None
        self.is_restored = False
        self._listed_at: float | None = None
        self._mistakes: frozenset[str] = frozenset()
        self._tell_at = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there is a set, however old."""
        return bool(self.instances)

    def age_s(self, now: float) -> float | None:
        """Seconds since the source has listed the set; None: there is no set."""
        return None if self._listed_at is None else max(0.0, now - self._listed_at)

    def restore(self, instances: Sequence[Instance], age_s: float, now: float) -> None:
        """Begin with a set that was listed *age_s* seconds ago; nothing happens if there is one already."""
        if not self.instances and instances:
            self.instances = {each.name: each for each in instances}
            self.is_restored, self._listed_at = True, now - age_s

    def judge(self, listing: Listing, now: float) -> Update:
        """What a listing would do that has come at *now*."""
        instances, mistakes = dict[str, Instance](), list(listing.mistakes)
        for each in listing.instances:
            if each.name not in instances:
                instances[each.name] = each
            elif not (listing.is_leased and instances[each.name] == each):  # it may have restarted under another ID
                mistakes.append(f"{each.name} is there twice; give it a weight instead")
        known = frozenset(mistakes[:_MOST_MISTAKES])
        news = tuple(each for each in dict.fromkeys(mistakes[:_MOST_MISTAKES]) if each not in self._mistakes)
        verdict, trouble = _refusal(listing, instances, len(listing.mistakes if listing.is_leased else mistakes))
        if verdict is not None:
            return Update(verdict, self.instances, mistakes=news, all_mistakes=known, trouble=trouble)
        before = self.instances
        held = self._held(listing, instances, now)
        instances.update(held)
        added = tuple(name for name in instances if name not in before)
        changed = tuple(name for name, each in instances.items() if name in before and before[name] != each)
        gone = tuple(name for name in before if name not in instances)
        verdict = ListVerdict.CHANGED if added or changed or gone else ListVerdict.SAME
        return Update(verdict, instances, added, changed, gone, tuple(held), news, known)

    def take(self, update: Update, now: float) -> bool:
        """Bring an update into force; whether its trouble, or the end of one, is to be told of."""
        self._mistakes = update.all_mistakes
        if update.trouble:
            return self.failed(update.trouble, now)
        had_trouble, self.trouble = bool(self.trouble), ""
        self.instances, self.is_restored, self._listed_at = update.instances, False, now
        self.held = update.held
        if not update.held:
            self._holds_until = None
        elif self._holds_until is None:
            self._holds_until = now + self._hold_s
        return had_trouble

    def failed(self, trouble: str, now: float) -> bool:
        """The source's answer is not taken, or there is none; whether that is to be told of."""
        is_news = trouble != self.trouble or now >= self._tell_at
        self.trouble = trouble
        if is_news:
            self._tell_at = now + max(SAY_AGAIN_S, self.age_s(now) or 0.0)
        return is_news

    def _held(self, listing: Listing, listed: Mapping[str, Instance], now: float) -> dict[str, Instance]:
        """Those that are missing from a list, and stay all the same."""
        if not listing.is_leased:
            return {}
        if self._holds_until is None:
            has_shrunk = self._hold_s > 0 and 2 * len(listed) < len(self.instances)
        else:
            has_shrunk = now < self._holds_until
        return {name: each for name, each in self.instances.items()
                if name not in listed and name not in listing.unavailable} if has_shrunk else {}


def _refusal(listing: Listing, instances: Mapping[str, Instance], mistakes: int) -> tuple[ListVerdict | None, str]:
    """Whether a list is not taken, and why; None: it is."""
    entries = len(listing.instances) + len(listing.mistakes)
    if entries > MAX_INSTANCES:
        return ListVerdict.REFUSED, f"it lists more than {MAX_INSTANCES} instances"
    if mistakes > len(instances):
        return ListVerdict.REFUSED, f"it has mistakes in {mistakes} of {entries} entries"
    if not instances:
        return ListVerdict.EMPTY, "it lists no instance"
    if not any(each.weight for each in instances.values()):
        return ListVerdict.REFUSED, "all weights are 0"
    return None, ""


def pause_s(interval_s: float, ttl_s: float | None, u: float) -> float:
    """How long to wait before the source is asked again: an interval at most, and less by chance.

    Args:
        interval_s: The longest.
        ttl_s: For how long the last list holds; None: nobody knows.
        u: A random number in [0, 1), so that not all gateways ask at once.
    """
    longest = interval_s if ttl_s is None else min(interval_s, max(ttl_s, min(LEAST_TTL_S, interval_s / 2)))
    return longest * (1.0 - 0.2 * u)
