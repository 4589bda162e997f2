"""PlainGate: a gate that is run the plain way, by its machine's methods; users' own policies are, and new ones can be.

A machine may be replaced while calls are under way: after a live change, in a forked child, when a test wants a fresh
start. So a permit is kept with the machine that gave it, and goes back to that one. What ``acquire`` raises beside
RejectedError is a mistake in the policy and reaches the caller; what the other methods raise is logged, once for each
command and method, and harms no call.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ..core.callbacks import is_plain
from ..core.outcome import CANCELLED, REJECTED, event_number
from ..engine.call import Call
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, GateText, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.worst_case import WorstCase
from ..errors import RejectedError

_log = logging.getLogger("resilience")
#: In the place of a permit: the policy was not asked, or would have refused in shadow mode.
ABSENT: Final = object()


class PolicyMachine(Protocol):
    """What decides for one command. Its methods may be called from any thread, at the same time.

    Four more methods are called if they are there: ``configure(policy, now)`` after a live change, ``renew(now)`` in a
    forked child, ``clear(now)`` when a test wants a fresh start, and ``gauges()``, which returns numbers by name for
    snapshots and exporters. In the place of a machine that lacks one of the first three a new one is made; calls under
    way settle with the machine that admitted them.
    """

    def acquire(self, now: float, call: Call, /) -> Any:
        """Decide whether a call may begin. What is returned is handed to settle().

        Args:
            now: The present time, seconds on the registry's clock.
            call: The call's arguments.

        Raises:
            RejectedError: The call must not begin.
        """
        ...

    def settle(self, permit: Any, outcome: int, started: float, now: float, /) -> None:
        """Learn how a call ended. It is called exactly once for each acquire() that returned, and must not raise.

        Args:
            permit: What acquire() returned.
            outcome: How the call ended, a resilience.Outcome.
            started: When it began, seconds on the registry's clock.
            now: The present time, on the same clock.
        """
        ...


class PlainGate:
    """A machine, as the compiled wrapper calls it.

    Attributes:
        machine: What decides.
        policy: The value that is wanted; None: the policy is off.
        shadow: Called for each call that would have been refused, in shadow mode; None: refuse it.
    """

    __slots__ = ("_complaints", "_key", "_name", "machine", "policy", "shadow")

    def __init__(self, name: str, policy: Any, key: str, now: float) -> None:
        """Make the machine.

        Args:
            name: Of the policy, for messages.
            policy: Its value, which makes the machine.
            key: The command's.
            now: Seconds on the registry's clock.

        Raises:
            TypeError: What the value makes is no machine.
        """
        self._name, self._key, self.policy = name, key, policy
        self.machine = _machine(policy, key, now)
        self.shadow: Callable[[], object] | None = None
        self._complaints: set[str] = set()

    def acquire(self, now: float, call: Call) -> Any:
        """Ask the machine; see PolicyMachine.acquire()."""
        if self.policy is None:
            return ABSENT
        machine = self.machine
        try:
            return machine, machine.acquire(now, call)
        except RejectedError:
            shadow = self.shadow
            if shadow is None:
                raise
        shadow()
        return ABSENT

    def settle(self, held: Any, outcome: int, started: float, now: float) -> None:
        """Tell the machine that gave the permit; what it raises is logged the first time."""
        if held is ABSENT:
            return
        machine, permit = held
        try:
            machine.settle(permit, outcome, started, now)
        except Exception:  # noqa: BLE001 - whatever it is, the call has ended and goes on
            self._complain("settle", "it is called on, and not logged again")

    def gauges(self) -> Mapping[str, float]:
        """Read the machine's finite numbers by name; what reading them raises is logged the first time."""
        read = getattr(self.machine, "gauges", None)
        if read is None or self.policy is None:
            return {}
        try:
            return {str(name): +value for name, value in read().items()  # a bool as a number
                    if isinstance(value, (int, float)) and math.isfinite(value)}
        except Exception:  # noqa: BLE001 - a snapshot is for those who look for what is wrong
            self._complain("gauges", "it shows none, and is not logged again")
            return {}

    def bring(self, clock: Callable[[], float]) -> None:
        """Hand the value that is wanted on to the machine; outside of any lock, for it calls the user."""
        while (policy := self.policy) is not None:
            self._told("configure", policy, clock(), policy, clock())
            if self.policy is policy:  # else another thread has changed it meanwhile, and may have been overtaken
                return

    def renew(self, now: float) -> None:
        """Start over in a forked child."""
        self._told("renew", self.policy, now, now)

    def clear(self, now: float) -> None:
        """Forget what the machine has learnt."""
        self._told("clear", self.policy, now, now)

    def _told(self, hook: str, policy: Any, now: float, *args: Any) -> None:
        """Call a method of the machine that may be missing, or raise: then a new machine takes its place."""
        method = getattr(self.machine, hook, None)
        if method is not None:
            try:
                method(*args)
            except Exception:  # noqa: BLE001 - the change is in force, and must not be half so
                self._complain(hook, "a new machine takes its place")
            else:
                return
        if policy is None:
            return
        try:
            self.machine = _machine(policy, self._key, now)
        except Exception:  # noqa: BLE001 - as above; the machine that is there goes on
            self._complain("machine", "the machine that was there goes on")

    def _complain(self, method: str, what: str) -> None:
        """Log what a *method* has raised, the first time."""
        if method not in self._complaints:
            self._complaints.add(method)
            _log.exception("%s: %s() of the policy %s raised; %s", self._key, method, self._name, what)


def _machine(policy: Any, key: str, now: float) -> PolicyMachine:
    made: PolicyMachine = policy.machine(key, now)
    for name in ("acquire", "settle"):
        method = getattr(made, name, None)
        if not callable(method):
            raise TypeError(f"{type(policy).__qualname__}.machine() must return an object with the methods acquire and "
                            f"settle, not {made!r}")
        if not is_plain(method):
            raise TypeError(f"{type(made).__qualname__}.{name} must be a plain method that decides at once; it cannot "
                            "be a coroutine function or a generator, for it serves plain functions too")
    return made


def plain_gate_kit(cls: type[Any], name: str, *, about: str, below: Mapping[str, str], above: Mapping[str, str],
                   shadow: bool = True) -> Kit:
    """The kit of a gate that is run by its machine's methods.

    Args:
        cls: Of its values, with a method ``machine(key, now)``.
        name: Of its setting; its refusals are counted as the event ``NAME_rejected``.
        about: What it does, in one sentence, for people.
        below: Names of the policies that must stand above it, each with the reason.
        above: Names of the policies that must stand below it, each with the reason.
        shadow: Whether it may be in shadow mode.
    """
    refusal = f"{name}_rejected"
    event = event_number(refusal)

    def start(policy: Any, runtime: CommandRuntime) -> PlainGate:
        runtime.recorder.follow(refusal, event)
        return PlainGate(name, policy, runtime.key, runtime.clock())

    def install(site: Site, policy: Any, gate: PlainGate) -> None:
        site.names.update({f"{name}_acquire": gate.acquire, f"{name}_settle": gate.settle, "ABSENT": ABSENT})

    text = GateText(
        sees_call=True,
        first=f"{name}_permit = ABSENT",
        acquire=f"event = {event}\n{name}_permit = {name}_acquire(started, call)",
        refused=f"{name}_settle({name}_permit, {REJECTED} if isinstance(error, Exception) else {CANCELLED}, "
                "started, started)",
        settle=f"{name}_settle({name}_permit, {{outcome}}, started, now)")
    return Kit(name=name, policy=cls, about=about, below=below, above=above, can_be_shadow=shadow, calls_back=True,
               text=text, plain=text, start=start, change=_change, can_be_off=True, forget=PlainGate.clear,
               renew=PlainGate.renew, install=install, refusal=refusal, gauges=PlainGate.gauges,
               worst_case=_worst_case,
               events=(TelemetryItem(refusal, f"Calls that {name} refused."),))


def _worst_case(policy: Any, below: WorstCase) -> WorstCase:
    say = getattr(policy, "worst_case", None)
    if say is None:
        return below
    try:
        worst: WorstCase = say(below)
    except Exception:  # noqa: BLE001 - explain() is for those who look for what is wrong
        _log.exception("worst_case() of the policy %s raised; explain() counts nothing for it", type(policy).__name__)
        return below
    return worst


def _change(gate: PlainGate, policy: Any, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    gate.policy = policy
    return None if policy is None else functools.partial(gate.bring, runtime.clock)
