"""FailoverParts: what one declaration with a failover says of each target, and what of the command above them.

A breaker, the limits, the timeout and the failure rules belong to each target, which has a command of its own. A
fallback, a cache, a retry and a hedge are about the call as a whole. A hedge is moved there although it stands at
the bottom of the order: its second attempt is to go to another target.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ..commands.failover_loop import FailoverLoop
from ..core.bulkhead import Bulkhead
from ..core.failover import Failover, target_key
from ..core.parameters import signature_of
from ..engine.callables import flavour_of, transparent_frame
from ..engine.failover_calls import FailingOver, Target, TargetsJudge, with_attempts
from ..engine.site import Site
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError
from ..policies.failover import FAILOVER
from ..policies.order import kit_of, kits, setting_kits
from .declaration import Declaration


@attrs.frozen(eq=False)
class FailoverParts:
    """The parts of one declaration.

    Attributes:
        fn: The function.
        declaration: The whole of it.
        failover: Its failover.
        name: The key, or the function's own name as long as its calls have keys; a target's command is called
            ``name[target]``.
        function: Of one key of many: the function's own name; None: the key is fixed.
        above: The policies above all targets.
        below: The policies of each target, the failover first.
    """

    fn: Callable[..., Any]
    declaration: Declaration
    failover: Failover
    name: str
    function: str | None
    above: tuple[Any, ...]
    below: tuple[Any, ...]

    @classmethod
    def of(cls, fn: Callable[..., Any], declaration: Declaration, name: str) -> FailoverParts:
        """The parts of what *declaration* says about *fn*, whose own *name* serves if no key is given.

        Raises:
            ConfigError: The function has no such parameter.
        """
        failover = declaration.named("failover")
        signature = signature_of(fn)
        if signature is not None and not _takes(signature, failover.argument):
            raise ConfigError(f"{name} has no keyword parameter {failover.argument!r}, which is to get the name of the "
                              "target; name one that it has, as the failover's argument, or give it one", "argument")
        order = kits()
        place = order.index(FAILOVER)
        above = tuple(policy for policy in declaration.policies
                      if order.index(kit_of(policy)) < place or kit_of(policy).name == "hedge")
        key, function = (name, name) if callable(declaration.key) else (declaration.key or name, None)
        return cls(fn, declaration, failover, key, function, above,
                   tuple(policy for policy in declaration.policies if policy not in above))

    def of_key(self, key: str) -> FailoverParts:
        """The parts of one *key* that calls have."""
        return attrs.evolve(self, name=key)

    @property
    def is_derived(self) -> bool:
        """Whether nobody named the function's commands."""
        return self.declaration.key is None

    @property
    def names(self) -> Mapping[str, str]:
        """Keys of the targets' commands, by target."""
        return {target: target_key(self.name, target) for target in self.failover.targets}

    @property
    def names_above(self) -> frozenset[str]:
        """The settings of the command above the targets."""
        return frozenset(kit_of(policy).name for policy in self.above)

    @property
    def names_below(self) -> frozenset[str]:
        """The settings that only the targets' commands have."""
        return frozenset(kit.name for kit in setting_kits()) - self.names_above | {"shadow"}

    def each(self, target: str) -> Declaration:
        """What is said about one *target*."""
        everywhere = () if self.function is None else (self.function, target_key(self.function, target))
        return attrs.evolve(self.declaration, policies=self.below, key=self.names[target], max_keys=None, idle=None,
                            raise_as=None, templates=(*everywhere, self.name), target=target,
                            is_derived=self.is_derived)

    def first(self) -> Declaration:
        """What is said about the wrapper of the first target, which callers call if nothing stands above it."""
        return attrs.evolve(self.each(self.failover.targets[0]),
                            raise_as=None if self.above else self.declaration.raise_as)

    def declaration_above(self) -> Declaration:
        """What is said about the command above."""
        said, policies, isolation = self.declaration, self.above, "auto"
        if "hedge" in self.names_above and flavour_of(self.fn) is Flavour.SYNC:
            isolation, limit = "thread", said.named("max_concurrent")
            # Its attempts need threads of their own, as many as all targets together take.
            if limit is not None and limit.max_concurrent is not None:
                both = Bulkhead(min(limit.max_concurrent * len(self.failover.targets), 1_000_000))
                policies = tuple(sorted((*policies, both), key=lambda policy: kits().index(kit_of(policy))))
        return Declaration(policies=policies, key=self.name, group=said.group, registry=said.registry,
                           isolation=isolation, ignore=said.ignore, raise_as=said.raise_as,
                           templates=() if self.function is None else (self.function,), is_derived=self.is_derived)

    def target(self, name: str, call: Callable[..., Any], site: Site) -> Target:
        """The target of this *name*, whose wrapper *call* was compiled of the *site*."""
        transparent_frame(call)
        return Target(name, call, site.runtime.of(FAILOVER), site.runtime, site.accounting, site)

    def be_target(self, site: Site) -> None:
        """Let what is judged failed at a target be heard of above, if there is anything.

        A stream is past that once its consumer has an item.
        """
        site.is_beneath_layers = bool(self.above) and not site.flavour.is_generator

    def be_first(self, site: Site, targets: Sequence[Target]) -> None:
        """Let the wrapper of the first target ask the other *targets* where it would ask a fallback."""
        self.be_target(site)
        services = site.runtime.services
        failing_over = FailingOver(self.name, targets, clock=services.clock, random=services.random,
                                   is_beneath=bool(self.above), is_hedged="hedge" in self.names_above)
        site.is_first_target = True
        site.names.update(FailoverLoop(failing_over, site.flavour).names())

    def stand_above(self, site: Site, targets: Sequence[Target]) -> None:
        """Let the command above take what comes from a target for what the target took it for."""
        judging = TargetsJudge(self.name, targets)
        site.accounting.judging = judging
        site.targets, site.judges = tuple(target.site for target in targets), "beneath"
        site.names.update(judging=judging, raises_item=_always)
        if site.has("hedge") and not site.flavour.is_generator:
            site.layers.append(functools.partial(with_attempts, flavour=site.flavour))


def _always(verdict: BaseException, items: int) -> bool:
    """Whether an item that a retry holds back ends its stream: it can be tried again."""
    return True


def called_at(fn: Callable[..., Any], declaration: Declaration) -> Callable[..., Any]:
    """What a wrapper calls: *fn*, which at a target of a failover gets the target's name."""
    if declaration.target is None:
        return fn
    failover: Failover = declaration.named("failover")
    argument = failover.argument
    if isinstance(fn, types.FunctionType) and fn.__kwdefaults__ is not None and argument in fn.__kwdefaults__:
        # A copy with another default: to pass the argument would cost a tenth of what the whole guard does.
        copy = types.FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
        copy.__kwdefaults__ = {**fn.__kwdefaults__, argument: declaration.target}
        copy.__dict__.update(fn.__dict__)
        copy.__qualname__, copy.__module__ = fn.__qualname__, fn.__module__
        return copy
    return functools.partial(fn, **{argument: declaration.target})


def _takes(signature: inspect.Signature, name: str) -> bool:
    kinds = {parameter.name: parameter.kind for parameter in signature.parameters.values()}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return kinds.get(name) in by_name or inspect.Parameter.VAR_KEYWORD in kinds.values()
