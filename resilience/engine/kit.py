"""Kit: everything that the library knows of one policy, as one row.

A policy's kit stands in one file with its texts. Compiler, runtime, settings, decorators, configuration file, schema,
testing kit, telemetry and the tables of the documentation are loops over kits; none of them knows a policy by name.

A policy that admits calls and hears how they end is a *gate*. What a gate does to a call is said by a GateText, in two
ways with one meaning: ``plain`` calls the machine's methods, and is the specification; ``written_out`` does the same
inline, where a measurement pays for it. A gate without a text of its own (a user's) is run by its machine's
``acquire(now, call)`` and ``settle(permit, outcome, started, now)``. Policies of the other shapes (loop, bound, race,
fallback, store) have their place in the template, and only bind names or stand in for the function.

What a text may use: ``started`` (when the call began), ``args`` and ``kwargs``; after the call ``now`` and ``outcome``;
``error`` where it failed; ``held`` and ``sack`` (its slot); ``event``, which it sets before it may refuse, to the event
that a refusal is counted as; and the names that the kit's ``install`` binds. A name that nobody binds is an error at
decoration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..core.checks import wrong_kind
from ..errors import ConfigError
from .worst_case import WorstCase
from .wrapper_spec import Flavour

if TYPE_CHECKING:
    from .command_runtime import CommandRuntime
    from .site import Site

#: What is left to do outside of the registry's lock after a change: a circuit's listeners are called there.
Afterwards = Callable[[], None]
_NUMBERS: Final = {int, float, NoneType}


@functools.lru_cache(maxsize=256, typed=True)
def _of_number(policy: Any, number: float | None) -> Any:
    """The policy that a *number* stands for, which each new key of a keyed function asks for."""
    return policy(number)


def _stays(machine: Any, now: float) -> None:
    """Do nothing: the machine keeps no state between calls."""


def _no_worse(policy: Any, below: WorstCase) -> WorstCase:
    """A call takes no longer for it, and is made no more often."""
    return below


def _no_detail(policy: Any) -> str:
    """Its name says enough."""
    return ""


def _everywhere(policy: Any, flavour: Flavour) -> Any:
    """The policy applies to functions of every flavour."""
    return policy


def _binds_nothing(site: Site, policy: Any, machine: Any) -> None:
    """Bind nothing: the policy needs only its place in the template."""


@attrs.frozen(kw_only=True, eq=False)
class Weigh:
    """How a good result is counted where that is left to a gate: text.

    Attributes:
        healthy: Whether all is well and counting is all there is to do; "": ``otherwise`` is always done.
        full: Whether it is time to reckon what has been counted so far.
        otherwise: What to do if not all is well.
    """

    healthy: str
    full: str
    otherwise: str


@attrs.frozen(kw_only=True, eq=False)
class GateText:
    """What one gate adds to the text of a wrapper. Everything may be left out.

    Attributes:
        ask: Of the gate that is asked before all others: sets its permit, or raises.
        ask_or_raise: The same where nobody above answers for a refusal, so that it may be raised at once, counted.
        first: Before the gates are asked: what their texts need.
        enter: The call begins; nothing can refuse it any more but the gates below.
        acquire: Sets its permit or raises; ``{await_}`` stands for an ``await`` in asynchronous functions.
        takes_slot: ``acquire`` sets ``held`` and ``sack``, which a call on a worker thread does elsewhere.
        give_back: Gives the slot back after a good result; no call may stand in it (core.bulkhead).
        give_back_held: The same after an error.
        refused: A gate below refused the call, or it was interrupted on the way.
        leave: Of what ``enter`` did, after an error or where something follows that must not be interrupted.
        leave_last: The same where nothing follows.
        settle: Says how the call ended; ``{outcome}`` stands for how.
        weigh: See Weigh; only the first gate's counts.
        sees_call: Uses ``call``, a view on the call's arguments.
        label: Of a kit with several texts: a word that tells it from the others, in the wrapper's file name.
    """

    ask: str = ""
    ask_or_raise: str = ""
    first: str = ""
    enter: str = ""
    acquire: str = ""
    takes_slot: bool = False
    give_back: str = ""
    give_back_held: str = ""
    refused: str = ""
    leave: str = ""
    leave_last: str = ""
    settle: str = ""
    weigh: Weigh | None = None
    sees_call: bool = False
    label: str = ""


@attrs.frozen
class TelemetryItem:
    """An event, counter or gauge, and what it means, for people.

    Attributes:
        name: As snapshots, streams and exporters spell it.
        meaning: One sentence.
    """

    name: str
    meaning: str


@attrs.frozen(kw_only=True, eq=False)
class Kit:
    """What the library knows of a policy.

    Attributes:
        name: Of the setting, such as "rate_limit".
        policy: The class of its values, such as RateLimit.
        formerly: Of a user's: classes of the same name that it has taken the place of.
        noun: What messages call it; None: its name.
        about: What it does, in one sentence.
        principal: The field that stands for the whole where a setting is one plain value, such as Timeout.timeout.
        above: Names of the policies that must stand below it, each with the reason why.
        below: Of a user's: names of the policies that must stand above it, each with the reason why.
        instead_of: Names of policies that it replaces, so that both at once are a mistake, each with the reason.
        setting: Whether it is a setting of the command, shared by its functions; else it belongs to each function.
        live: Whether it can be changed while calls go on.
        can_be_off: Whether None switches it off while calls go on.
        passes_when_off: Of a gate: while it is off its machine goes on, and refuses nobody, as in shadow mode; but what
            it would refuse is not counted.
        reads: Makes a policy of what else a user may write for it; None: nothing else.
        kept: Fields that must stay when it is changed while calls go on.
        compiled_in: Fields that decide how a function is compiled or where it runs, so that one that is off cannot be
            put on live, or not everywhere; an entry of ``[guards]`` is made anew for it.
        needs: Fields that mean nothing without another one, by name: who says only the former in code is told so.
        usual: The value that ``command`` gives a function that says nothing about it; None: none.
        can_be_shadow: Whether it may only count what it would refuse.
        suits: Raises ConfigError if it is not for such a function; given the policy, the function's Declaration,
            its flavour and its key.
        no_block: Why the code in a ``with`` statement cannot have it; "": it can.
        in_force: What is in force for functions of a flavour: the policy, or None where it cannot reach them.
        text: What it does to a call, the fast way; None for one that is no gate.
        plain: The same by calling the machine's methods.
        text_for: Given the policy and the flavour, what it does instead, both ways; None: as always.
        start: Makes its machine; given the policy and the CommandRuntime of the command.
        always: The machine is there even without the policy, made from ``absent``.
        absent: See always.
        change: Hands a new value on to the machine; given the machine, the new and the old one, and the CommandRuntime.
        cannot_change: Why a value cannot be in force for what is compiled already, in words; None: it can. Given the
            machine and the value.
        forget: Clears what the machine has learnt; given the machine and the time.
        renew: Starts over in a forked child; given the machine and the time.
        install: Binds what the texts use to a function's Site; given the Site, the policy and the machine.
        condition: When it does anything, in words for explain(), such as "once it is started"; "": always.
        needs_threads: Whether plain functions must run on worker threads for it.
        width: How many calls it may let run at once; given the policy; None: it does not bound that.
        detail: Of one policy, what to show of it beside its name, for the same reader; "": nothing.
        worst_case: What it makes of the worst case of all below it; given the policy and that.
        calls_back: Whether it calls a function of the user's before it admits a call.
        refusal: The event that its refusals are counted as.
        events: What is counted about it.
        gauges: What can be read of the machine at any moment, by name; None: nothing.
    """

    name: str
    policy: type[Any]
    about: str
    formerly: tuple[type[Any], ...] = ()
    noun: str | None = None
    principal: str | None = None
    above: Mapping[str, str] = attrs.field(factory=dict)
    below: Mapping[str, str] = attrs.field(factory=dict)
    instead_of: Mapping[str, str] = attrs.field(factory=dict)
    setting: bool = True
    live: bool = True
    can_be_off: bool = False
    passes_when_off: bool = False
    reads: Callable[[Any], Any] | None = None
    kept: tuple[str, ...] = ()
    compiled_in: tuple[str, ...] = ()
    needs: Mapping[str, str] = attrs.field(factory=dict)
    usual: Any = None
    can_be_shadow: bool = False
    suits: Callable[[Any, Any, Flavour, str], None] | None = None
    no_block: str = ""
    in_force: Callable[[Any, Flavour], Any] = _everywhere
    text: GateText | None = None
    plain: GateText | None = None
    text_for: Callable[[Any, Flavour], GateText | None] | None = None
    start: Callable[[Any, CommandRuntime], Any] | None = None
    always: bool = False
    absent: Any = None
    change: Callable[[Any, Any, Any, CommandRuntime], Afterwards | None] | None = None
    cannot_change: Callable[[Any, Any], str | None] | None = None
    forget: Callable[[Any, float], None] = _stays
    renew: Callable[[Any, float], None] = _stays
    install: Callable[[Site, Any, Any], None] = _binds_nothing
    condition: str = ""
    detail: Callable[[Any], str] = _no_detail
    needs_threads: bool = False
    width: Callable[[Any], int | None] | None = None
    worst_case: Callable[[Any, WorstCase], WorstCase] = _no_worse
    calls_back: bool = False
    refusal: str | None = None
    events: tuple[TelemetryItem, ...] = ()
    gauges: Callable[[Any], Mapping[str, float]] | None = None

    def check_needs(self, policy: Any, key: str) -> None:
        """Raise ConfigError if *policy*, declared for *key*, says a field without the one that it needs.

        A file or a live change may take the latter away, and leave the former for when it comes back.
        """
        for field, other in self.needs.items():
            value, needed = getattr(policy, field), getattr(policy, other)
            usual = attrs.fields_dict(self.policy)[field].default
            is_said = value != usual if type(value) in _NUMBERS else value is not usual
            if is_said and type(needed) in _NUMBERS and not needed:
                raise ConfigError(f"{key}: {field} means nothing without {other}; give {other} too", field)

    def said(self, policy: Any) -> Any:
        """The setting that stands for *policy*: the policy, or its principal field where the others are as usual."""
        if policy is None or self.principal is None:
            return policy
        value = getattr(policy, self.principal)
        return value if policy == self.policy(value) else policy

    def meant(self, setting: Any) -> Any:
        """The policy that a *setting* stands for, as a user may write it.

        Raises:
            ConfigError: Its values are out of range, or it is something else.
        """
        if isinstance(setting, (self.policy, *self.formerly)):
            return setting
        if self.reads is not None:
            return None if setting is None else self.reads(setting)
        if self.principal is not None:
            if setting is self.policy:
                raise wrong_kind(self.name, self.policy, setting)
            policy: Any = self.policy
            return _of_number(policy, setting) if type(setting) in _NUMBERS else policy(setting)
        if setting is None:
            return None
        raise wrong_kind(self.name, self.policy, setting)

    def over(self, known: Any, setting: Any) -> Any:
        """The *setting* as it is meant where *known* is in force: a plain value changes its own field and no other.

        Raises:
            ConfigError: It is to be read, and is something else.
        """
        if self.reads is not None:
            return None if setting is None else self.reads(setting)
        if setting is None or self.principal is None or isinstance(setting, self.policy) \
                or not isinstance(known, self.policy):
            return setting
        return attrs.evolve(known, **{self.principal: setting})

    def text_of(self, written_out: bool, policy: Any, flavour: Flavour) -> GateText | None:
        """The text of what *policy* does to a call of such a function: written out inline, or the plain one."""
        own = None if self.text_for is None else self.text_for(policy, flavour)
        if own is not None:
            return own
        return self.text if written_out else self.plain
