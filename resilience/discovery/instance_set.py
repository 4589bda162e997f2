"""InstanceSet: the instances that a directory has at one moment, in the order in which they are to be used. Immutable.

They stand in tiers. Instances of a lower priority number come before others; of one priority, those in the caller's own
zone come before those in others; those with weight 0 come last. Within a tier each instance gets its share by weight.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Final, Protocol

from .instance import Instance

#: The fractional parts of its multiples are spread evenly, however many there are.
_GOLDEN: Final = 0.6180339887498949


class InstanceSet:
    """The instances of one moment.

    Attributes:
        instances: By name.
        tiers: The same, those to be used first in the first tier; each sorted by name.
    """

    __slots__ = ("_bounds", "instances", "tiers")

    def __init__(self, instances: Iterable[Instance] = (), zone: str = "") -> None:
        """A set.

        Args:
            instances: In any order; each name once.
            zone: The caller's own; empty: zones do not matter.
        """
        self.instances = {each.name: each for each in sorted(instances, key=lambda each: each.name)}
        tiers = dict[tuple[bool, int, bool], list[Instance]]()
        for each in self.instances.values():
            tiers.setdefault((each.weight == 0, each.priority, zone not in ("", each.zone)), []).append(each)
        self.tiers = tuple(tuple(tiers[rank]) for rank in sorted(tiers))
        self._bounds = tuple(None if _are_equal(tier) else tuple(accumulate(each.weight for each in tier))
                             for tier in self.tiers)

    def pick(self, number: int, avoid: Collection[str] = ()) -> Instance | None:
        """The instance for a call with this *number*; None: there is none.

        Args:
            number: Of the call: consecutive numbers give each instance its share.
            avoid: Names that are chosen only if there are no others.
        """
        for tier, bounds in zip(self.tiers, self._bounds, strict=True):
            if not avoid:
                return _at(tier, bounds, number)
            others = [each for each in tier if each.name not in avoid]
            if others:
                return _at(others, None if _are_equal(others) else tuple(accumulate(each.weight for each in others)),
                           number)
        return _at(self.tiers[0], self._bounds[0], number) if self.tiers else None

    def first(self, most: int, salt: str) -> tuple[Instance, ...]:
        """At most so many instances, those of the first tiers, in their order.

        Of a tier that has no room as a whole, those are taken that a hash with the *salt* says, so that processes with
        different salts use different ones, and each goes on with its own when others come and go.
        """
        chosen = list[Instance]()
        for tier in self.tiers:
            room = most - len(chosen)
            chosen += tier if len(tier) <= room else sorted(tier, key=lambda each: _hash(each, salt))[:room]
        return tuple(chosen)

    def weights(self, instances: Sequence[Instance]) -> tuple[float, ...]:
        """The shares of the calls that *instances* of the set get: those of the first tier; others only help out."""
        first = self.tiers[0]
        return tuple((each.weight or 1.0) if each in first else 0.0 for each in instances)


class InstanceSetFollower(Protocol):
    """Who has the sets of a directory, one after the other."""

    def have(self, current: InstanceSet, gone: Sequence[Instance]) -> None:
        """Have these instances from now on.

        Args:
            current: Not empty.
            gone: Those that the set before had, and this one has not.

        Raises:
            Exception: It cannot; it has those from before.
        """
        ...


def _are_equal(tier: Sequence[Instance]) -> bool:
    return all(each.weight == tier[0].weight for each in tier)


def _at(tier: Sequence[Instance], bounds: Sequence[float] | None, number: int) -> Instance:
    if bounds is None:
        return tier[number % len(tier)]
    return tier[min(bisect(bounds, (number * _GOLDEN) % 1.0 * bounds[-1]), len(tier) - 1)]


def _hash(each: Instance, salt: str) -> bytes:
    return blake2b(f"{salt} {each.name}".encode(), digest_size=8).digest()
