"""The order of the policies, outermost first, and the look-up of their kits.

Each neighbour has its reason; those that a user may get wrong stand in the kits (``above``):

- a fallback answers for everything below it, so nothing may stand above it;
- a cache below the fallback keeps none of its answers, and above the rest answers while
  the circuit is open, and without taking a slot;
- a retry above the breaker makes each attempt a call that the breaker sees, and
  stops when the circuit opens; below it, three failures would count as one;
- a failover has a breaker, limits and a timeout for each target, so it stands above them; a retry above it goes round
  all targets again, and one below would be in the way of the next target;
- a breaker above the bulkhead refuses without taking a slot, and a full
  bulkhead, which says something about us, is no failure of the target;
- a throttle below the breaker is not asked while the circuit is open, and what
  it refuses takes no slot;
- a rate limit is met by each attempt, spends nothing on what breaker and throttle
  refuse, and holds no slot while a call waits for its turn;
- an adaptive limit is a bulkhead that finds its own size, and stands in its place;
- a timeout below all of them is seen by the breaker as a failure, and ends a call while
  its slot is held; above them it would cancel them, which tells them nothing;
- a stream timeout is a timeout for streams, and stands in its place;
- a hedge below the timeout shares one time among its attempts, and looks like one call
  to all above it;
- failure rules judge what the function itself did, for all policies above them;
- chaos at the bottom is to all of them the target's own doing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from ..core.http_status import HttpStatus
from ..engine.kit import Kit
from ..errors import ConfigError
from .adaptive_limit import ADAPTIVE_LIMIT
from .breaker import BREAKER
from .bulkhead import BULKHEAD
from .cache import CACHE
from .chaos import CHAOS
from .failover import FAILOVER
from .failures import FAILURES
from .fallback import FALLBACK
from .hedge import HEDGE
from .rate_limit import RATE_LIMIT
from .retry import RETRY
from .stream_timeout import STREAM_TIMEOUT
from .throttle import THROTTLE
from .timeout import TIMEOUT

#: The policies that come with the library, outermost first.
KITS: Final = (FALLBACK, CACHE, RETRY, FAILOVER, BREAKER, THROTTLE, RATE_LIMIT, BULKHEAD, ADAPTIVE_LIMIT, TIMEOUT,
               STREAM_TIMEOUT, HEDGE, FAILURES, CHAOS)
#: Why nothing may stand below chaos.
_CHAOS_LAST: Final = "chaos is to look like the target's own faults, which it would not see"
#: Why every policy of a user's stands where it does, whatever it says itself.
_BELOW_BREAKER: Final = "above the breaker it would hear of calls that never come near the target"
_ABOVE_BULKHEAD: Final = "below the bulkhead a call that it refuses would hold a slot that another could use"
#: Of a user's policy that says nothing of the other.
_ITS_PLACE: Final = "that is the place it has been given"

_kits: tuple[Kit, ...] = KITS
_by_policy: dict[type[Any], Kit] = {kit.policy: kit for kit in KITS}


def add(kit: Kit) -> None:
    """Take in the *kit* of a user's policy; one of the same name and qualified class takes the place of an older one.

    Raises:
        ConfigError: The name is taken, or there is no place that suits what it says of its neighbours.
    """
    global _kits
    former = kit_named(kit.name)
    if former is not None and (former in KITS or _spelt(former.policy) != _spelt(kit.policy)):
        raise ConfigError(f"name: there is a policy {kit.name!r} already, {_spelt(former.policy)}", "name")
    others = [each for each in _kits if each is not former]
    names = [each.name for each in others]
    after = max((names.index(name) for name in ("breaker", *kit.below)), default=0)
    before = min(names.index(name) for name in ("max_concurrent", *kit.above))
    if after >= before:
        raise ConfigError(f"above: {kit.name} cannot stand below {names[after]} and above {names[before]}, for "
                          f"{names[after]} stands below {names[before]}", "above")
    if former is not None:  # a notebook's cell was run again: functions that hold values of the old class go on
        kit = attrs.evolve(kit, formerly=tuple({*former.formerly, former.policy} - {kit.policy}))
    _kits = (*others[:before], kit, *others[before:])
    _by_policy.update(dict.fromkeys((kit.policy, *kit.formerly), kit))


def discard(name: str) -> None:
    """Forget a user's policy; for tests."""
    global _kits
    _kits = tuple(kit for kit in _kits if kit in KITS or kit.name != name)
    for policy in [policy for policy, kit in _by_policy.items() if kit not in _kits]:
        del _by_policy[policy]


def _spelt(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def kits() -> tuple[Kit, ...]:
    """All kits there are, those of users too, outermost first."""
    return _kits


def setting_kits() -> tuple[Kit, ...]:
    """The kits of the policies that are settings of a command."""
    return tuple(kit for kit in _kits if kit.setting)


def kit_named(name: str) -> Kit | None:
    """The kit of the setting with this *name*."""
    return next((kit for kit in _kits if kit.name == name), None)


def kit_of(policy: Any) -> Kit:
    """The kit of a *policy*.

    Raises:
        TypeError: It is none.
    """
    register = type(policy).__dict__.get("__resilience_policy__")
    if register is not None and type(policy) not in _by_policy:  # a user's class that came here pickled by value
        register()(type(policy))
    kit = _by_policy.get(type(policy)) or next((kit for kit in _kits if isinstance(policy, kit.policy)), None)
    if kit is None:
        raise TypeError(_no_policy(policy))
    return kit


def in_order(policies: Sequence[Any]) -> None:
    """Check that *policies*, outermost first, stand in the one order, each kind at most once.

    Raises:
        ConfigError: With the reason and the right order.
        TypeError: Something in it is no policy.
    """
    found = [kit_of(policy) for policy in policies]
    for i, outer in enumerate(found):
        for inner in found[i + 1:]:
            for one, other in ((outer, inner), (inner, outer)):
                if other.name in one.instead_of:
                    raise ConfigError(one.instead_of[other.name], one.name)
            if outer is inner:
                raise ConfigError(f"{_called(outer)} stands twice in one stack; keep one of them")
            if _kits.index(outer) > _kits.index(inner):
                right = sorted(found, key=_kits.index)
                raise ConfigError(f"{_called(inner)} must stand above {_called(outer)}: {why_above(inner, outer)}. "
                                  f"The right order, outermost first: {', '.join(map(_called, right))}")


def why_above(outer: Kit, inner: Kit) -> str:
    """Why the one policy must stand above the other."""
    reasons = (inner.below.get(outer.name), *(outer.above.get(name) for name in (inner.name, *inner.instead_of)))
    told = next(filter(None, reasons), None)
    if told is None and inner not in KITS and _kits.index(outer) <= _kits.index(BREAKER):
        return _BELOW_BREAKER
    if told is None and outer not in KITS and _kits.index(inner) >= _kits.index(BULKHEAD):
        return _ABOVE_BULKHEAD
    return told or (_CHAOS_LAST if inner is CHAOS else _ITS_PLACE)


def _called(kit: Kit) -> str:
    return kit.policy.__name__


def _no_policy(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset, dict, Iterator)):
        return "pass the policies one by one, as in Pipeline(CircuitBreaker(), Bulkhead(10)), not as a " \
               f"{type(value).__name__}"
    if isinstance(value, type) and value in _by_policy:
        return f"pass a policy, {value.__name__}(...), not the class {value.__name__}"
    if isinstance(value, HttpStatus):
        return "pass what judges by it, as in Pipeline(FailureRules(status=http_status()))"
    return f"policies are values such as Timeout(0.5) or CircuitBreaker(), not {value!r}"
