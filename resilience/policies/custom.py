"""Policies of users' own: how a class becomes a kit.

A policy of your own has two parts, as the library's have. Its *value* is a frozen attrs class that says what is wanted
and can be written in a configuration file. Its *machine*, one for each command, decides: ``acquire(now, call)`` lets a
call begin and returns a permit, or raises a RejectedError; ``settle(permit, outcome, started, now)`` hears exactly once
how that call ended. Both are told the time. ``custom_policy`` makes a kit of the two, with which the policy stands in
pipelines, stacks, ``command``, files, statistics and exporters like any other.

A gate of a user's stands between the circuit breaker and the bulkhead: above the breaker it would hear of calls that
never came near the target, and below the bulkhead a call that it refuses would hold a slot that another could use. It
is run the plain way, by its methods. What it raises beside RejectedError is a mistake of its own; what ``settle``
raises is logged, once for each command, and harms no call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import attrs

from ..core.outcome import CANCELLED, REJECTED, event_number
from ..engine.call import Call
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit, Telling
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..errors import ConfigError, RejectedError
from . import order

_log = logging.getLogger("resilience")
_Class = TypeVar("_Class", bound=type)
#: In the place of a permit: the policy was not asked, or would have refused in shadow mode.
ABSENT: Final = object()
_PLACES: Final = ("breaker", "throttle", "rate_limit", "max_concurrent", "adaptive_limit")


class PolicyMachine(Protocol):
    """What decides for one command. Its methods may be called from any thread, at the same time.

    Three more methods are called if they are there: ``configure(policy, now)`` after a live change, ``renew(now)`` in a
    forked child, and ``gauges()``, which returns numbers by name for snapshots and exporters.
    """

    def acquire(self, now: float, call: Call, /) -> Any:
        """Let a call begin; what is returned is handed to settle().

        Raises:
            RejectedError: It must not begin.
        """
        ...

    def settle(self, permit: Any, outcome: int, started: float, now: float, /) -> None:
        """Hear how the call ended, exactly once; *outcome* is a resilience.Outcome. Must not raise."""
        ...


class CustomPolicy(Protocol):
    """The value of a policy of a user's own; see custom_policy.

    One more method is called if it is there: ``worst_case(below)``, for explain(), is given the WorstCase of all that
    stands below and returns that of both. A policy that may let a call wait returns ``below.after(seconds)``.
    """

    def machine(self, key: str, now: float, /) -> PolicyMachine:
        """What decides for the command with this *key*, from *now* on."""
        ...


class GuestGate:
    """A user's machine, as the compiled wrapper calls it.

    Attributes:
        machine: The user's.
        shadow: Called for each call that would have been refused, in shadow mode; None: refuse it.
    """

    __slots__ = ("_complained", "_name", "machine", "shadow")

    def __init__(self, name: str, machine: PolicyMachine) -> None:
        self._name, self.machine = name, machine
        self.shadow: Callable[[], object] | None = None
        self._complained = False

    def acquire(self, now: float, call: Call) -> Any:
        """Ask the machine; see PolicyMachine.acquire()."""
        try:
            return self.machine.acquire(now, call)
        except RejectedError:
            shadow = self.shadow
            if shadow is None:
                raise
        shadow()
        return ABSENT

    def settle(self, permit: Any, outcome: int, started: float, now: float) -> None:
        """Tell the machine; what it raises is logged the first time."""
        if permit is ABSENT:
            return
        try:
            self.machine.settle(permit, outcome, started, now)
        except Exception:  # noqa: BLE001 - whatever it is, the call has ended and goes on
            if not self._complained:
                self._complained = True
                _log.exception("settle() of the policy %s raised; it is called on, and not logged again", self._name)

    def gauges(self) -> Mapping[str, float]:
        """Numbers by name."""
        read = getattr(self.machine, "gauges", None)
        return {} if read is None else read()


def custom_policy(name: str, *, about: str, below: Mapping[str, str] | None = None,
                  above: Mapping[str, str] | None = None, shadow: bool = True) -> Callable[[_Class], _Class]:
    """Make a policy of a frozen attrs class that has a method ``machine(key, now)``; put it on the class, topmost.

    Args:
        name: Of its setting, in files and on handles, such as "spending_cap". Its refusals are counted as the event
            ``NAME_rejected``.
        about: What it does, in one sentence, for people.
        below: Names of the policies that must stand above it, each with the reason why: "breaker", "throttle",
            "rate_limit". Without above and below it stands right above the bulkhead.
        above: Names of the policies that must stand below it: "throttle", "rate_limit", "max_concurrent",
            "adaptive_limit".
        shadow: Whether it may be in shadow mode.

    Raises:
        ConfigError: The name is taken or no identifier, or there is no place that suits both above and below.
        TypeError: The class is none of attrs', or has no method ``machine``.
    """
    if not name.isidentifier():
        raise ConfigError(f"name must be an identifier, such as 'spending_cap', not {name!r}", "name")
    reasons = {"below": dict(below or {}), "above": dict(above or {})}
    for side, named in reasons.items():
        for other in named:
            if other not in _PLACES:
                raise ConfigError(f"{side}: a policy of your own stands among {', '.join(_PLACES)}; there is no "
                                  f"{other!r} there", side)

    def register(cls: _Class) -> _Class:
        if not attrs.has(cls):
            raise TypeError(f"{cls.__qualname__} must be an attrs class, so that its fields can be checked, compared "
                            "and written in a file: put @attrs.frozen below @custom_policy")
        if not callable(getattr(cls, "machine", None)):
            raise TypeError(f"{cls.__qualname__} needs a method machine(self, key, now) that returns what decides")
        order.add(_kit(cls, name, about, reasons["below"], reasons["above"], shadow))
        return cls  # type: ignore[return-value] # what attrs says of it is true besides

    return register


def _kit(cls: type[Any], name: str, about: str, below: Mapping[str, str], above: Mapping[str, str],
         shadow: bool) -> Kit:
    refusal = f"{name}_rejected"
    event = event_number(refusal)

    def start(policy: Any, runtime: CommandRuntime) -> GuestGate:
        runtime.recorder.follow(refusal, event)
        return GuestGate(name, policy.machine(runtime.key, runtime.clock()))

    def install(site: Site, policy: Any, gate: GuestGate) -> None:
        site.names.update({f"{name}_acquire": gate.acquire, f"{name}_settle": gate.settle, "ABSENT": ABSENT})

    text = GateText(
        sees_call=True,
        first=f"{name}_permit = ABSENT",
        acquire=f"event = {event}\n{name}_permit = {name}_acquire(started, call)",
        refused=f"{name}_settle({name}_permit, {REJECTED} if isinstance(error, Exception) else {CANCELLED}, "
                "started, started)",
        settle=f"{name}_settle({name}_permit, {{outcome}}, started, now)")
    return Kit(name=name, policy=cls, about=about, below=below, above=above, can_be_shadow=shadow, calls_back=True,
               text=text, plain=text, start=start, change=_change, renew=_renew, install=install, refusal=refusal,
               worst_case=_worst_case, gauges=GuestGate.gauges,
               events=(Telling(refusal, f"Calls that {name} refused."),))


def _worst_case(policy: Any, below: WorstCase) -> WorstCase:
    say = getattr(policy, "worst_case", None)
    return below if say is None else say(below)


def _change(gate: GuestGate, policy: Any, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    if policy is None:
        return None
    configure = getattr(gate.machine, "configure", None)
    if configure is not None:
        configure(policy, runtime.clock())
    else:  # one that keeps nothing worth keeping
        gate.machine = policy.machine(runtime.key, runtime.clock())
    return None


def _renew(gate: GuestGate, now: float) -> None:
    renew = getattr(gate.machine, "renew", None)
    if renew is not None:
        renew(now)
