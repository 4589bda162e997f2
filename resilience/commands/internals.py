"""CommandInternals: the settings, functions and machines of one command, behind its handle.

Users hold a handle (commands.command), which shows what the reference documents and no
more. The registry, the decorators, configuration files and the testing kit work on
what stands behind it, which internals_of() gives them.

The handle knows the internals, and not the other way round: else a command would be in
a cycle, and outlive its eviction.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any, Final

from ..core.callable_identity import same_word
from ..core.events import CommandConfigured, State, Trigger
from ..core.failover import RestState
from ..core.outcome import Event
from ..core.setting_names import did_you_mean
from ..core.sharing import shared
from ..drivers.workers import WorkerPool
from ..engine.call_accounting import CallAccounting
from ..engine.callables import GUARD, flavour_of
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, Kit
from ..engine.registry_services import FunctionRef, RegistryServices
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..policies.contradictions import check_agreement
from ..policies.order import kit_named, kits
from ..policies.settings import Settings, live_settings, over, settings_with
from ..policies.shadow import Shadow
from .circuit_history import CircuitHistory

_UNSAID: Final = Settings()  # of all commands without a function
_COLLAPSED: Final = (int(Event.COLLAPSED),)


def _policies(settings: Settings) -> Mapping[Kit, Any]:
    """What the *settings* mean, by kit."""
    return _unsaid_policies(kits()) if settings is _UNSAID else _meant(settings, kits())


def _meant(settings: Settings, known: tuple[Kit, ...]) -> dict[Kit, Any]:
    return {kit: kit.meant(getattr(settings, kit.name)) for kit in known if kit.setting}


@functools.lru_cache(maxsize=1)
def _unsaid_policies(known: tuple[Kit, ...]) -> dict[Kit, Any]:
    """What it means that nothing was said, which each new command asks for."""
    return _meant(_UNSAID, known)


class CommandInternals:
    """What stands behind one handle. Every method may be called from any thread.

    Attributes:
        runtime: The machines.
        idle: Of a key of a keyed function: seconds without a call after which it goes; None: it is none.
        templates: What it is called together with others, the most general first: the name of the function that it is
            one of many commands of, and the key whose target it is; empty: it is the only one.
        derived_from: The name of its function, if its key was derived from that; it goes when the function does, then.
        settings: What is in force.
        declared: What its functions said.
        stated: The settings that a function has said something about.
        elsewhere: Settings that other commands of the same function have, as with a failover; a word to all of them
            about these does not concern this one.
        history: The circuit's last changes, which also tells others of them.
    """

    __slots__ = (
        "__weakref__",
        "_cannot",
        "_functions",
        "declared",
        "derived_from",
        "elsewhere",
        "history",
        "idle",
        "runtime",
        "settings",
        "stated",
        "templates",
    )

    def __init__(self, key: str, group: str, services: RegistryServices, templates: tuple[str, ...],
                 derived_from: str | None) -> None:
        self.templates, self.derived_from = templates, derived_from
        self.idle: float | None = None
        self.settings = self.declared = _UNSAID
        self.stated: frozenset[str] = frozenset()
        self.elsewhere: frozenset[str] = frozenset()
        self.history = CircuitHistory(key, services.emitter)
        self.runtime = CommandRuntime(key, group, services, kits(), self.history)
        self._functions: tuple[FunctionRef, ...] = ()
        self._cannot: Mapping[str, str] = {}  # settings that cannot be in force for some function of ours, and why

    # -- look

    @property
    def key(self) -> str:
        """The command's."""
        return self.runtime.key

    @property
    def services(self) -> RegistryServices:
        """What its registry lends it."""
        return self.runtime.services

    @property
    def names(self) -> tuple[str, ...]:
        """What a file may call it: its key, after what it is called together with others."""
        return (*self.templates, self.key)

    @property
    def state(self) -> State:
        """What its circuit does with calls now; "disabled" without a breaker."""
        return State.DISABLED if self.runtime.circuit is None else self.runtime.circuit.state

    @property
    def pool(self) -> WorkerPool | None:
        """The threads its isolated calls run on."""
        return None if self.runtime.isolation is None else self.runtime.isolation.pool

    @property
    def needed_until(self) -> float:
        """Until when it knows something that a new one would not: that its target is down; else never (-inf)."""
        if self.state in (State.FORCED_OPEN, State.FORCED_CLOSED):
            return inf
        failover = self.runtime.named("failover")
        rested = -inf if failover is None or failover.rest.state is RestState.AVAILABLE else failover.rest.until
        if self.state in (State.OPEN, State.HALF_OPEN):
            assert self.runtime.circuit is not None
            return max(rested, self.runtime.circuit.term.until)
        return rested

    # -- change

    def configure(self, **changes: Any) -> None:
        """See Command.configure()."""
        with self.services.lock:  # two changes at once: the later one adds to the earlier
            changes = {name: self.meant(name, value) for name, value in changes.items()}
            self.check(changes)
            settings = settings_with(self.settings, **changes)
            changed = tuple(name for name in changes if getattr(settings, name) != getattr(self.settings, name))
            afterwards = self.apply(settings)
        self.finish(afterwards)
        if changed:
            self.services.emitter.emit(CommandConfigured(self.key, self.runtime.group, changed, self.runtime.clock()))

    def own(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the *changes* to all commands of a function that concern this one."""
        return {name: value for name, value in changes.items() if name not in self.elsewhere}

    def check(self, changes: Mapping[str, Any]) -> None:
        """Raise ConfigError if configure() would."""
        live = live_settings()
        for name in changes:
            if name not in live:
                raise ConfigError(f"{name} cannot be changed on a live command; {', '.join(live)} can"
                                  f"{did_you_mean(name, live, before='; ')}", name)
        for name, value in changes.items():
            self.check_setting(name, value)
        self.check_together(changes)

    def check_together(self, changes: Mapping[str, Any]) -> None:
        """Raise ConfigError if the *changes* disagree, or move functions to threads, for which a policy is not."""
        after = {kit: kit.meant(changes.get(kit.name, getattr(self.settings, kit.name)))
                 for kit in kits() if kit.setting}
        for declaration, _ in self._declarations():
            check_agreement(self.names[0], declaration, {kit.name: policy for kit, policy in after.items()})
        timeout = next(policy.timeout for kit, policy in after.items() if kit.name == "timeout")
        if self.runtime.reserve is None or timeout in (None, self.declared.timeout):
            return
        for declaration, flavour in self._declarations():
            for kit, policy in after.items():
                if policy is not None and kit.suits is not None and flavour is Flavour.SYNC:
                    kit.suits(policy, declaration, Flavour.THREAD, self.names[0])

    def meant(self, name: str, value: Any) -> Any:
        """The *value* of a setting as it is meant here: a plain number changes its own field and no other.

        It is as Settings have it, of all the forms in which a user may write it.

        Raises:
            ConfigError: It is out of range, or something else.
        """
        value, kit = over(name, getattr(self.settings, name, None), value), kit_named(name)
        return kit.said(kit.meant(value)) if kit is not None and kit.setting else value

    def check_setting(self, name: str, value: Any) -> None:
        """Raise ConfigError if *value* cannot be in force for the setting *name*."""
        kit = kit_named(name)
        if kit is None:
            Shadow(value)
            return
        policy = kit.meant(value)
        if value is not None and name in self._cannot:
            raise ConfigError(f"{self.names[0]}: {self._cannot[name]}", name)
        if kit.always:
            can_move = name == "timeout" and self.runtime.reserve is not None  # to threads, where one can reach it
            missing = name not in self.stated and name not in self._cannot and not can_move
        else:
            missing = self.runtime.of(kit) is None or (not kit.can_be_off and getattr(self.settings, name) is None)
        if missing:
            noun = kit.noun or name
            raise ConfigError(f"{self.names[0]} has no {noun} to configure; decorate it with {name}=...", name)
        if policy is None and not kit.can_be_off:
            raise ConfigError(f"{self.names[0]}: {name} cannot be switched off on a live command; it must be of type "
                              f"{kit.policy.__name__}", name)
        if policy is not None:
            self._check_policy(kit, policy)

    def _check_policy(self, kit: Kit, policy: Any) -> None:
        """Raise ConfigError if *policy*, which is not off, cannot be in force for what is decorated already."""
        why = None if kit.cannot_change is None else kit.cannot_change(self.runtime.of(kit), policy)
        if why is not None:
            raise ConfigError(f"{self.names[0]}: {why}", kit.name)
        if kit.suits is not None:
            for declaration, flavour in self._declarations():
                kit.suits(policy, declaration, flavour, self.names[0])
        known = getattr(self.settings, kit.name) or getattr(self.declared, kit.name)  # it may be off
        for field in kit.kept if known is not None else ():
            if not same_word(getattr(policy, field), getattr(known, field)):
                raise ConfigError(f"{self.names[0]}: {field}= of the {kit.noun or kit.name} cannot be changed on a "
                                  "live command; say it in the decorator; attrs.evolve() of "
                                  f"settings.{kit.name} keeps it", kit.name)

    def _declarations(self) -> Iterator[tuple[Any, Flavour]]:
        """What the decorator of each function said, and how that function is run now."""
        for function in self.functions:
            guard: Any = getattr(function, GUARD)
            flavour = guard.declaration.runs(flavour_of(guard.fn))
            yield guard.declaration, Flavour.THREAD if flavour is Flavour.SYNC and self.runtime.is_moved else flavour

    def forget(self) -> None:
        """Leave behind what reset() keeps: what limits have learnt and booked, kept answers, the last transitions."""
        self.runtime.forget()
        self.history.forget()

    # -- for the registry and the decorators

    def conflict(self, wanted: Settings, stated: frozenset[str]) -> str | None:
        """The first setting of *wanted*, among those *stated*, that contradicts what another function said.

        What configure() has changed since is no contradiction.
        """
        both = sorted(stated & self.stated)
        return next((name for name in both if getattr(wanted, name) != getattr(self.declared, name)), None)

    def adopt(self, wanted: Settings, stated: frozenset[str],
              pool: Callable[[], WorkerPool] | None) -> tuple[list[Afterwards], tuple[str, ...]]:
        """Bring what *wanted* newly states into force; *pool* lends threads if the function needs them.

        The caller holds the registry's lock, and passes the first to finish() when it does no more.

        Returns:
            What is to be done then, and the names of the settings that are new.
        """
        known, declared = self.stated, self.declared
        news: dict[str, Any] = {name: getattr(wanted, name) for name in stated
                if name not in known or getattr(wanted, name) != getattr(declared, name)}
        same = self.settings is declared or not known  # it was retracted: what configure() changed since goes, too
        always: dict[str, Any] = {
            "isolation": "thread" if "thread" in (declared.isolation, wanted.isolation) else "semaphore",
            "has_fallback": declared.has_fallback or wanted.has_fallback,
            "fallback_max_concurrent": (wanted if wanted.has_fallback else declared).fallback_max_concurrent,
        }
        self.declared = wanted if declared is _UNSAID else settings_with(declared, **news, **always)
        merged = self.declared if same else settings_with(self.settings, **news, **always)
        self.stated = shared(known | stated)
        try:
            return self.apply(merged, pool), tuple(news)
        except BaseException:  # of a user's policy, or an interrupt: a decoration that fails leaves no trace
            self.declared, self.stated = declared, known
            raise

    def retract(self) -> Callable[[], None]:
        """Let the next function say all of it anew, as a file that is read again does; machines and statistics stay.

        What is in force stays so until then. The caller replaces every function of the command, and holds the
        registry's lock meanwhile; if that fails, it calls what this returns, and what was said counts again.
        """
        stated, declared = self.stated, self.declared

        def restore() -> None:
            self.stated, self.declared = stated, declared

        self.stated, self.declared = frozenset(), _UNSAID
        return restore

    def collapsed(self, calls: int) -> None:
        """Count single *calls* that are one call of its function now."""
        self.runtime.recorder.count(_COLLAPSED, self.runtime.clock(), calls)

    def accounting(self, **of_function: Any) -> CallAccounting:
        """Accounts for a new function of this command."""
        return CallAccounting(key=self.key, group=self.runtime.group, clock=self.runtime.clock,
                              recorder=self.runtime.recorder, emitter=self.services.emitter,
                              failures=self.runtime.failures, stalls=self.services.stalls, **of_function)

    def guards(self, function: Callable[..., Any], cannot: Mapping[str, str]) -> None:
        """Take note of a wrapper; *cannot* names the settings that cannot be in force for it, each with the reason."""
        alive = [each for each in self._functions if each() is not None]
        self._functions = (*alive, FunctionRef(function, self.services.departed, self.key))
        self._cannot = {**cannot, **self._cannot} if self._cannot else cannot  # one mapping for most commands

    def remove_function(self, function: Callable[..., Any]) -> None:
        """Note that a wrapper will not be called any more, although something, such as a traceback, may hold it."""
        self._functions = tuple(each for each in self._functions if each() not in (None, function))

    @property
    def was_guarded(self) -> bool:
        """Whether it has, or had, a function; not while the first is being made."""
        return bool(self._functions)

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The wrappers, of those still alive, that share this command."""
        return [function for each in self._functions if (function := each()) is not None]

    def renew(self) -> None:
        """Start over in a forked child: fresh locks and statistics, no calls in flight."""
        self.runtime.renew(self.runtime.clock())
        for function in self.functions:
            function.__resilience_guard__.accounting.renew()  # type: ignore[attr-defined]

    def switch(self, trigger: Trigger | None) -> None:
        """Steer the circuit, if there is a *trigger*, and it is this command that has the function's; see steer()."""
        if trigger is not None and "breaker" not in self.elsewhere:
            self.steer(trigger)

    def finish(self, afterwards: list[Afterwards]) -> None:
        """Do what adopt() found is to be done outside of the registry's lock: listeners hear of it."""
        for after in afterwards:
            after()

    def apply(self, settings: Settings, pool: Callable[[], WorkerPool] | None = None) -> list[Afterwards]:
        """Bring *settings* into force. The caller holds the registry's lock, and passes what it returns to finish()."""
        declared = self.declared
        if self.runtime.reserve is not None:  # a timeout that no function declares needs threads
            moved = settings.timeout is not None and settings.timeout != declared.timeout
            isolation = "thread" if moved else declared.isolation
            settings = settings if settings.isolation == isolation else settings_with(settings, isolation=isolation)
        old, self.settings, self.history.is_shadow = self.settings, settings, "breaker" in settings.shadow
        try:
            return self.runtime.apply(_policies(settings), _policies(old), settings, pool)
        except BaseException:
            self.settings, self.history.is_shadow = old, "breaker" in old.shadow
            raise

    def steer(self, trigger: Trigger) -> None:
        """Pull a *trigger* of the circuit; outside the registry's lock, for listeners hear of it.

        Raises:
            ConfigError: The command has no breaker.
        """
        if self.runtime.circuit is None:
            raise ConfigError(f"{self.key} has no breaker to steer", "breaker")
        self.runtime.circuit.steer(trigger, self.runtime.clock())
