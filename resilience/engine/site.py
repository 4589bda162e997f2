"""Site: one function on its way to its wrapper, as the kits find it and leave it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from .call_accounting import CallAccounting
from .command_runtime import CommandRuntime
from .kit import Kit
from .wrapper_spec import Flavour


@attrs.define(kw_only=True, eq=False)
class Site:
    """One function that is being compiled. Kits bind names here, and may put something in its place.

    Attributes:
        fn: The function.
        flavour: How it runs.
        chain: Its policies by kit, outermost first.
        runtime: The machines of its command.
        accounting: Its accounts.
        fall_back: Runs its fallback: ``fall_back(error, args, kwargs)``; None: there is none.
        apart: What tells calls of different keys apart where they share a command; None: nothing needs to.
        called: What the wrapper calls: the function, or what stands in for it.
        names: What the wrapper's text uses.
        layers: What is put over the wrapper, the innermost first.
        is_beneath_layers: Layers stand over it that another site has put there.
        is_first_target: It is what callers of a function with a failover call.
        targets: Of what stands above a failover: its targets.
        judges: What the failure rules judge; see WrapperSpec.
    """

    fn: Callable[..., Any]
    flavour: Flavour
    chain: Mapping[Kit, Any]
    runtime: CommandRuntime
    accounting: CallAccounting
    fall_back: Callable[..., Any] | None
    apart: Callable[..., str] | None = None
    called: Callable[..., Any] = attrs.field(default=attrs.Factory(lambda self: self.fn, takes_self=True))
    names: dict[str, Any] = attrs.field(factory=dict)
    layers: list[Callable[[Any], Any]] = attrs.field(factory=list)
    is_beneath_layers: bool = False
    is_first_target: bool = False
    targets: Sequence[Site] = ()
    judges: str = ""

    def has(self, name: str) -> bool:
        """Whether a policy of this name is among its own."""
        return any(kit.name == name for kit in self.chain)

    def calls_back(self) -> bool:
        """Whether one of its policies calls a function of the user's before it admits a call."""
        return any(kit.calls_back for kit in self.chain)

    def leaves_thread(self) -> bool:
        """Whether what is called here may run on another thread, though the wrapper does not send it there."""
        return any(each.flavour is Flavour.THREAD or each.runtime.reserve is not None for each in self.targets)

    @property
    def answers(self) -> bool:
        """Whether somebody above the gates may answer for a refusal, or ask again: it is not counted yet, then."""
        return self.fall_back is not None or self.may_be_stale or self.has("retry") or self.has("failover")

    @property
    def may_be_stale(self) -> bool:
        """Whether a cache may answer for its failed calls."""
        return any(kit.name == "cache" and policy.stale_if_error > 0 for kit, policy in self.chain.items())
