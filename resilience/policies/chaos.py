"""The kit of chaos: faults on purpose, below everything else."""

from __future__ import annotations

from typing import Any, Final

from ..core.chaos import Chaos
from ..engine.chaos_injection import ChaosInjector, ChaosPolicy
from ..engine.command_runtime import CommandRuntime
from ..engine.kit import Afterwards, Kit, TelemetryItem
from ..engine.site import Site
from ..engine.wrapper_spec import Flavour
from ..errors import ConfigError


def _suits(chaos: Chaos, declaration: Any, flavour: Flavour, key: str) -> None:
    if flavour.is_generator and chaos.result is not None:
        raise ConfigError(f"{key}: a generator has no result to spoil; leave result out", "result")
    if flavour.is_block and chaos.result is not None:
        raise ConfigError(f"{key}: a with block has its result before chaos could spoil it; leave result out", "result")


def _start(chaos: Chaos, runtime: CommandRuntime) -> ChaosPolicy:
    return ChaosPolicy(chaos)


def _change(held: ChaosPolicy, chaos: Chaos | None, old: Any, runtime: CommandRuntime) -> Afterwards | None:
    held.policy = Chaos() if chaos is None else chaos
    return None


def _install(site: Site, chaos: Chaos, held: ChaosPolicy) -> None:
    runtime, services = site.runtime, site.runtime.services
    injector = ChaosInjector(held, key=runtime.key, group=runtime.group, clock=runtime.clock, random=services.random,
                  recorder=runtime.recorder, emitter=services.emitter, active_until=services.active_until)
    site.called = injector.over(site.called, site.flavour)


CHAOS: Final = Kit(
    name="chaos",
    policy=Chaos,
    about="Delays, fails or spoils calls on purpose, while the registry says so.",
    condition="once it is started",
    can_be_off=True,
    suits=_suits,
    start=_start,
    change=_change,
    install=_install,
    events=(TelemetryItem("chaos", "Calls that chaos did something to."),),
)
