"""The kit of chaos: faults on purpose, below everything else."""

from __future__ import annotations

from typing import Any, Final

from ..core.chaos import Chaos
from ..errors import ConfigError
from ..pipeline.havoc import ChaosPolicy, Havoc
from ..pipeline.kit import Afterwards, Kit, Telling
from ..pipeline.machines import Machines
from ..pipeline.shape import Flavour
from ..pipeline.site import Site


def _suits(chaos: Chaos, plan: Any, flavour: Flavour, key: str) -> None:
    if flavour.is_generator and chaos.wrong is not None:
        raise ConfigError(f"{key}: a generator has no result to spoil; leave wrong out", "wrong")


def _start(chaos: Chaos, machines: Machines) -> ChaosPolicy:
    return ChaosPolicy(chaos)


def _change(held: ChaosPolicy, chaos: Chaos | None, old: Any, machines: Machines) -> Afterwards | None:
    if chaos is not None:
        held.policy = chaos
    return None


def _install(site: Site, chaos: Chaos, held: ChaosPolicy) -> None:
    machines, environment = site.machines, site.machines.environment
    havoc = Havoc(held, key=machines.key, group=machines.group, clock=machines.clock, random=environment.random,
                  recorder=machines.recorder, emitter=environment.emitter, unrest=environment.unrest)
    site.called = havoc.over(site.called, site.flavour)


CHAOS: Final = Kit(
    name="chaos",
    policy=Chaos,
    about="Delays, fails or spoils calls on purpose, while the registry says so.",
    condition="once it is started",
    suits=_suits,
    start=_start,
    change=_change,
    install=_install,
    events=(Telling("chaos", "Calls that chaos did something to."),),
)
