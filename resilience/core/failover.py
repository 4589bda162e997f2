"""Failover: to which of several named targets a call goes, and whether another follows when it fails there.

A *target* is a name that the guarded function understands: a region, a replica, a vendor. Each is a command of its own,
so a breaker knows which one is ill, and its refusal costs the caller nothing. What is decided here is what no single
breaker can know: where else to go (failover_state.py says which target follows).

A target *rests* when it is known to be down: its circuit has opened, or a call failed there and no circuit judges. A
resting target is asked only if no other is left. So the traffic stays where it went, instead of returning with each
probe of the breaker: that is the flapping that ``grace`` prevents. After the grace time one call, the *probe*, is sent
there. If it succeeds, the target is available again; else it rests for another grace time. A probe that never
answers is given up after the same time, so that it cannot keep its target out.

The permit is the rest itself: a late answer to an earlier probe is recognised by identity and decides nothing.
"""

from __future__ import annotations

import enum
import keyword
from math import inf
from typing import Any, Final, Protocol

import attrs

from ..errors import ConfigError
from .budget import RetryBudget
from .checks import as_tuple, number, shown_value, strict
from .plain_numbers import bare_numbers, is_number, keep
from .reentrance import MET, ReentryGuard
from .retry import budget_or_none

_MOST_TARGETS: Final = 100


def _targets(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    names = value if isinstance(value, tuple) else ()
    if not 1 <= len(names) <= _MOST_TARGETS or len(set(names)) < len(names) or not all(
            isinstance(name, str) and name for name in names):
        raise ConfigError(f"targets must be 1 to {_MOST_TARGETS} different names, such as ('eu', 'us'), not "
                          f"{shown_value(value)}", attribute.name)


_targets.json_schema = {"minItems": 1, "maxItems": _MOST_TARGETS, "uniqueItems": True,  # type: ignore[attr-defined]
                        "items": {"minLength": 1}}


def _argument(_: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not isinstance(value, str) or not value.isidentifier() or keyword.iskeyword(value):
        raise ConfigError(f"argument must be the name of a parameter, not {shown_value(value)}", attribute.name)


_argument.json_schema = {"minLength": 1}  # type: ignore[attr-defined]


def _weights(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is None:
        return
    if not (isinstance(value, tuple) and all(is_number(each) and each >= 0 for each in value) and any(value)
            and is_number(sum(value))):  # which they are drawn by
        raise ConfigError(f"weights must be numbers of at least 0, one of them above 0, or None, not "
                          f"{shown_value(value)}", attribute.name)
    keep(instance, attribute, value, bare_numbers(value))


_weights.json_schema = {"items": {"minimum": 0}, "contains": {"exclusiveMinimum": 0}}  # type: ignore[attr-defined]


@strict
@attrs.frozen
class Failover:
    """Failover policy: calls the first of several named targets that can answer.

    Each target is a command of its own. Immutable: any number of functions and threads may share one.

    Attributes:
        targets: Names of the targets in order of preference, such as ("eu", "us").
        argument: Name of the function's keyword parameter that gets the name of the target.
        weights: Shares of the calls that the targets get, in the order of ``targets``, such as (3, 1). A target with
            weight 0 is used only when no other can answer. None: every call goes to the first available target.
        grace: Seconds for which a target that is down is left out, before one call tries it again.
        max_wait: Longest time, in seconds, that a call waits while every target refuses it; 0: it does not wait. None:
            it waits as long as the caller's deadline allows, and not at all without one.
        budget: Limits the calls that go on to another target after a failure, in proportion to all calls of the
            function; None: no limit. Targets that refuse a call cost nothing.
    """

    targets: tuple[str, ...] = attrs.field(converter=as_tuple, validator=_targets)
    argument: str = attrs.field(default="target", kw_only=True, validator=_argument)
    weights: tuple[float, ...] | None = attrs.field(default=None, kw_only=True, converter=as_tuple, validator=_weights)
    grace: float = attrs.field(default=30.0, kw_only=True, validator=number(above=0, most=86_400))
    max_wait: float | None = attrs.field(
        default=None, kw_only=True, validator=number(least=0, most=86_400, optional=True))
    budget: RetryBudget | None = attrs.field(factory=RetryBudget, kw_only=True, validator=budget_or_none)

    def __attrs_post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self.targets):
            raise ConfigError(f"weights must be as many as targets ({len(self.targets)}), not {len(self.weights)}",
                              "weights")


def target_key(key: str, target: str) -> str:
    """The key of the command that one *target* of a function with this *key* has."""
    return f"{key}[{str.__str__(target)}]"  # a member of an enumeration would be its name


class RestState(enum.Enum):
    """Whether a target is left out."""

    AVAILABLE = "available"
    RESTING = "resting"
    PROBING = "probing"


class RestTrigger(enum.Enum):
    """Why that changed."""

    DOWN = "down"  # its circuit opened; or a call failed, and it has no circuit
    GRACE_ELAPSED = "grace elapsed"  # and a call came
    PROBE_PASSED = "probe passed"
    PROBE_FAILED = "probe failed"
    PROBE_LOST = "probe lost"  # no answer within the grace time, or none that says anything


#: The whole automaton of one target; the state diagram of the docs is drawn from it.
TRANSITIONS: Final = {
    (RestState.AVAILABLE, RestTrigger.DOWN): RestState.RESTING,
    (RestState.RESTING, RestTrigger.DOWN): RestState.RESTING,
    (RestState.RESTING, RestTrigger.GRACE_ELAPSED): RestState.PROBING,
    (RestState.PROBING, RestTrigger.PROBE_PASSED): RestState.AVAILABLE,
    (RestState.PROBING, RestTrigger.PROBE_FAILED): RestState.RESTING,
    (RestState.PROBING, RestTrigger.PROBE_LOST): RestState.RESTING,
}


class RestTerm:
    """One stay in one state; ``until``: when the next call may try the target; ``since``: when a probe began."""

    __slots__ = ("since", "state", "until")

    def __init__(self, state: RestState, until: float, since: float) -> None:
        self.state, self.until, self.since = state, until, since


class RestPolicy(Protocol):
    """What a Rest goes by: a Failover, or another policy that leaves targets out for a time."""

    @property
    def grace(self) -> float:
        """Seconds for which a target that is down is left out, before one call tries it again."""
        ...

    @property
    def weights(self) -> Any:  # pyright sees the descriptor of attrs' converter in the place of numbers
        """Shares of the calls; None: every call goes to the first available target."""
        ...

    @property
    def max_wait(self) -> float | None:
        """Longest time, in seconds, that a call waits while every target refuses it."""
        ...


class Rest:
    """Whether one target of a failover is left out. Every method may be called from any thread.

    Attributes:
        config: The failover's policy.
        calm: Nothing is to be asked before a call goes to this target, if it is the first in order.
    """

    __slots__ = ("_busy_until", "_guard", "_term", "calm", "config")
    _term: RestTerm

    def __init__(self, config: RestPolicy) -> None:
        self._guard = ReentryGuard()
        self.config = config
        self.clear()

    @property
    def state(self) -> RestState:
        """Whether the target is left out."""
        return self._term.state

    @property
    def is_left_out(self) -> bool:
        """Whether it rests, or has asked to be left alone; what has passed counts until a call has found that out."""
        return self._term.state is not RestState.AVAILABLE or self._busy_until > -inf

    @property
    def until(self) -> float:
        """When it may be tried again; in the past if it is available."""
        return max(self._term.until, self._busy_until)

    def configure(self, config: RestPolicy) -> None:
        """Go by *config* from now on; a rest that has begun keeps its end."""
        self._guard.do(self._adopt, config)

    def clear(self) -> None:
        """Be available, whatever was."""
        self._guard.do(self._clear)

    def renew(self) -> None:
        """Start over in a forked child."""
        self._guard.renew()
        self.clear()

    def ask(self, now: float) -> RestTerm | None:
        """A permit for a call that prefers this target, to be passed to settle(); None: it is left out."""
        if self._busy_until > -inf:
            if now < self._busy_until:
                return None
            self._guard.do(self._end_pause, now)
        term = self._term
        if term.state is RestState.AVAILABLE:
            return term
        if now < term.until:
            return None
        answer = self._guard.ask(self._probe, now)
        return None if answer is MET else answer

    def settle(self, permit: RestTerm | None, good: bool | None, now: float) -> None:
        """A call has ended well, badly, or (None) so that it says nothing; *permit*: None if it asked for none."""
        if permit is not None and permit.state is RestState.PROBING:
            self._guard.do(self._settle, permit, good, now)

    def stop(self, now: float) -> None:
        """The target is known to be down: it rests from now on. A probe under way goes on deciding."""
        if self._term.state is not RestState.PROBING:
            self._guard.do(self._rest, now)

    def broke_off(self, is_down: bool, started: float, now: float) -> None:
        """A stream that began at *started* has failed after its first item, too late to go on elsewhere.

        It decides a probe that is no younger: it is that probe, or knows as much. The pauses of its consumer move
        *started* on, so that an older stream which is read slowly may decide it too; that costs another rest.
        """
        self._guard.do(self._break_off, is_down, started, now)

    def pause(self, seconds: float, now: float) -> None:
        """The target asks to be left alone for so many *seconds*; the grace time is the most that it gets."""
        if seconds > 0.0:
            self._guard.do(self._pause, min(seconds, self.config.grace), now)

    def release(self) -> None:
        """Nobody leaves it out for failures any more: it is available, unless it has asked for a pause."""
        if self._term.state is not RestState.AVAILABLE:
            self._guard.do(self._begin, RestState.AVAILABLE, -inf)

    def shorten(self, rest_s: float, pause_s: float, now: float) -> None:
        """A rest that has begun ends in *rest_s* seconds at the latest, and a pause in *pause_s*."""
        if self.is_left_out:
            self._guard.do(self._shorten, now + rest_s, now + pause_s)

    # -- under the lock

    def _adopt(self, config: RestPolicy) -> None:
        self.config = config
        self._be_calm()

    def _clear(self) -> None:
        self._busy_until = -inf
        self._begin(RestState.AVAILABLE, -inf)

    def _begin(self, state: RestState, until: float, since: float = inf) -> RestTerm:
        self._term = term = RestTerm(state, until, since)
        self._be_calm()
        return term

    def _be_calm(self) -> None:
        self.calm = not self.is_left_out and self.config.weights is None

    def _probe(self, now: float) -> RestTerm | None:
        term = self._term
        if term.state is RestState.AVAILABLE:
            return term
        if now < term.until:
            return None
        return self._begin(RestState.PROBING, now + self.config.grace, now)  # of a lost probe too

    def _settle(self, permit: RestTerm, good: bool | None, now: float) -> None:
        if permit is not self._term:  # another probe decides
            return
        if good:
            self._begin(RestState.AVAILABLE, -inf)
        else:
            self._begin(RestState.RESTING, now if good is None else now + self.config.grace)

    def _rest(self, now: float) -> None:
        if self._term.state is not RestState.PROBING:
            self._begin(RestState.RESTING, now + self.config.grace)

    def _break_off(self, is_down: bool, started: float, now: float) -> None:
        term = self._term
        if started >= term.since if term.state is RestState.PROBING else is_down:
            self._begin(RestState.RESTING, now + self.config.grace)

    def _shorten(self, rest_until: float, pause_until: float) -> None:
        if self._term.state is RestState.RESTING and self._term.until > rest_until:
            self._begin(RestState.RESTING, rest_until)
        self._busy_until = min(self._busy_until, pause_until)

    def _pause(self, seconds: float, now: float) -> None:
        self._busy_until = max(self._busy_until, now + seconds)
        self.calm = False

    def _end_pause(self, now: float) -> None:
        if now >= self._busy_until:  # else another call has found it busy meanwhile
            self._busy_until = -inf
            self._be_calm()
