"""CommandRuntime: what stands behind the settings of one command, and what its wrappers bind of it.

A machine is made when a function first declares its policy, and stays; changed
settings are handed on to it. Which machine a policy has, and how, its kit says. The
caller of apply() holds the registry's lock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..core.adaptive import AdaptiveLimiter
from ..core.bulkhead import Slots
from ..core.circuit import Circuit
from ..core.events import ShadowRejected, StateChanged
from ..core.failures import Failures
from ..core.outcome import Event
from ..core.sharing import shared
from ..drivers.workers import DEFAULT_THREADS, ThreadIsolation, WorkerPool
from ..metrics.recorder import Recorder
from .registry_services import RegistryServices

if TYPE_CHECKING:
    from .kit import Afterwards, Kit

_SHADOW_REJECTED: Final = int(Event.SHADOW_REJECTED)


class InForce(Protocol):
    """What machines need of a command's settings; see resilience.Settings."""

    @property
    def shadow(self) -> tuple[str, ...]: ...
    @property
    def isolation(self) -> str: ...


def _threads(policies: Mapping[Kit, Any], shadow: tuple[str, ...]) -> int:
    """How many threads stand behind the slots: as many; without a limit that refuses, the default number at least."""
    bounds = {kit: kit.width(policy) for kit, policy in policies.items()
              if kit.width is not None and policy is not None}
    limit = max((width for width in bounds.values() if width is not None), default=None)
    if limit is None:
        return DEFAULT_THREADS
    return max(limit, DEFAULT_THREADS) if any(kit.name in shadow for kit in bounds) else limit


def _timeout(policies: Mapping[Kit, Any]) -> float | None:
    return next((policy.timeout for kit, policy in policies.items() if kit.name == "timeout" and policy is not None),
                None)


def _pass() -> None:
    """A gate that is off let a call pass that it would have refused."""


class CommandRuntime:
    """The machines of one command.

    Attributes:
        key: The command's key.
        group: The command's group.
        services: What its registry lends it.
        clock: The registry's.
        changed: Hears of the circuit.
        recorder: Its statistics.
        failures: What failed last.
        isolation: Runs calls on worker threads; None: they run where the caller is.
        reserve: Lends threads to functions that run where the caller is, should they need any; None: they never do.
        is_moved: They have them now.
    """

    __slots__ = (
        "_kits",
        "_machines",
        "changed",
        "circuit",
        "clock",
        "failures",
        "group",
        "is_moved",
        "isolation",
        "key",
        "recorder",
        "reserve",
        "services",
        "slots",
    )
    circuit: Circuit | None
    slots: Slots

    def __init__(self, key: str, group: str, services: RegistryServices, kits: Iterable[Kit],
                 changed: Callable[[StateChanged], None]) -> None:
        self.key, self.group, self.services, self.clock = key, group, services, services.clock
        self.changed = changed
        self.failures = Failures()
        self.isolation: ThreadIsolation | None = None
        self.reserve: Callable[[], WorkerPool] | None = None
        self.is_moved = False
        self.circuit = None
        self._kits: tuple[Kit, ...] = ()
        self._machines: tuple[Any, ...] = ()  # one for each kit
        for kit in kits:
            if kit.always and kit.start is not None:
                self._enter(kit, kit.start(kit.absent, self))
        self.recorder = Recorder(now=self.clock(), take_peak=self.slots.take_peak)

    def of(self, kit: Kit) -> Any:
        """The machine of a policy; None: there is none."""
        if kit.formerly:  # its class was defined anew, and its machine made before
            return self.named(kit.name)
        return next((machine for known, machine in self.each() if known is kit), None)

    def named(self, name: str) -> Any:
        """The machine of the policy whose setting has this *name*; None: there is none."""
        return next((machine for kit, machine in self.each() if kit.name == name), None)

    def each(self) -> Iterator[tuple[Kit, Any]]:
        """The policies that have machines, each with its machine."""
        return zip(self._kits, self._machines, strict=True)

    def apply(self, new: Mapping[Kit, Any], old: Mapping[Kit, Any], settings: InForce,
              pool: Callable[[], WorkerPool] | None = None) -> list[Afterwards]:
        """Bring policies into force.

        Args:
            new: The policies that are to be in force, by kit; None: off.
            old: Those that were.
            settings: Which gates only count what they would refuse, and whether calls run on worker threads.
            pool: Lends threads if a function needs them.

        Returns:
            What is yet to be done outside of the registry's lock.
        """
        afterwards = []
        made = {kit: kit.start(policy, self) for kit, policy in new.items()  # a user's may raise
                if kit not in self._kits and not self._replaces(kit) and policy is not None and kit.start is not None}
        timeout, threads = _timeout(new), _threads(new, settings.shadow)
        is_moved = self.reserve is not None and settings.isolation == "thread"
        lender = self.reserve if is_moved and self.isolation is None and pool is None else pool
        if lender is not None:
            lent = lender()  # which hears of another size, if the function says one anew
            if self.isolation is None:
                self.isolation = ThreadIsolation(self.key, self.slots, lent, timeout, threads)
        if self.isolation is not None:  # before there are slots for them
            self.isolation.bring(max(threads, self.isolation.threads))
        for kit, policy in new.items():
            if kit not in self._kits and not self._replaces(kit):
                if kit in made:
                    self._enter(kit, made[kit])
            elif policy != old.get(kit) and kit.change is not None:
                after = kit.change(self.of(kit), policy, old.get(kit), self)
                if after is not None:
                    afterwards.append(after)
        off = {kit for kit, policy in new.items() if kit.passes_when_off and policy is None}
        self._cast_shadow(settings.shadow, off)
        afterwards += self._waiting_ended()
        if self.isolation is not None:
            self.isolation.timeout = timeout
            self.isolation.bring(threads)
        self.is_moved = is_moved
        return afterwards

    def _replaces(self, kit: Kit) -> bool:
        """Whether a policy of this name is there already, of a class that the kit's has taken the place of."""
        return bool(kit.formerly) and self.named(kit.name) is not None

    def _enter(self, kit: Kit, machine: Any) -> None:
        self._kits, self._machines = shared((*self._kits, kit)), (*self._machines, machine)
        if isinstance(machine, Circuit):
            self.circuit = machine
        elif isinstance(machine, Slots):
            self.slots = machine
        elif isinstance(machine, AdaptiveLimiter):
            machine.steer()  # a bulkhead has just been taken off these slots

    def _cast_shadow(self, gates: tuple[str, ...], off: set[Kit]) -> None:
        for kit, machine in self.each():
            if kit in off:
                machine.shadow = _pass
            elif kit.can_be_shadow and (machine.shadow in (None, _pass)) is (kit.name in gates):
                machine.shadow = functools.partial(self._would_refuse, kit.name) if kit.name in gates else None
            elif kit.passes_when_off and machine.shadow is _pass:
                machine.shadow = None
        for kit, machine in self.each():
            if kit.width is not None and kit.can_be_shadow and machine is not self.slots and kit not in off:
                self.slots.shadow = machine.shadow  # they are its own; a call on a worker thread asks them directly

    def _waiting_ended(self) -> list[Afterwards]:
        """Let those go who wait at a gate that lets all pass now; to be done where its listeners may hear of it."""
        return [functools.partial(machine.hand_on, self.clock()) for kit, machine in self.each()
                if kit.can_be_shadow and hasattr(machine, "hand_on") and machine.shadow is not None]

    def _would_refuse(self, gate: str) -> None:
        """A gate in shadow mode let a call pass that it would have refused."""
        now, emitter = self.clock(), self.services.emitter
        self.recorder.count((_SHADOW_REJECTED,), now)
        if emitter.wanted(ShadowRejected):
            emitter.emit(ShadowRejected(self.key, self.group, gate, now))

    def forget(self) -> None:
        """Forget all calls but those under way; the circuit and the recorder are reset elsewhere."""
        now = self.clock()
        for kit, machine in self.each():
            kit.forget(machine, now)

    def renew(self, now: float) -> None:
        """Start over in a forked child: fresh locks and statistics, no calls in flight."""
        self.slots.renew()
        self.recorder.renew(now)
        self.failures.clear()
        for kit, machine in self.each():
            kit.renew(machine, now)
        if self.isolation is not None:
            self.isolation.renew()

    def gauges(self) -> dict[str, float]:
        """What the machines show of themselves, by "POLICY.NAME"."""
        return {f"{kit.name}.{name}": value for kit, machine in self.each() if kit.gauges is not None
                for name, value in kit.gauges(machine).items()}

    # -- for wrappers

    def recording(self) -> dict[str, Any]:
        """What every wrapper may bind of the statistics."""
        recorder = self.recorder
        return {"recorder": recorder, "pending": recorder.pending, "push": recorder.pending.append}

    def isolating(self) -> dict[str, Any]:
        """What the wrapper of a function that runs on worker threads binds besides."""
        assert self.isolation is not None
        return {"submit": self.isolation.submit, "wait": self.isolation.wait}
