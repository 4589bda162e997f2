"""Figures: what the page on fleets tells, as plain values. Each section can be made by itself, in any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import fmean
from typing import Any

import attrs

from . import outage, restart, storm, zones
from .bad_gateway import bad_gateway
from .users import UserSettings
from .world import World

#: How many instances a simulated service has. The fleet has twice as many gateways; see sizes().
PAGE, WHOLE = 10, 100
SEEDS = (1, 2, 3, 4, 5)
SEED = SEEDS[0]


@attrs.frozen
class Sizes:
    """How large each experiment is, and with how many seeds a storm is repeated."""

    storm: storm.Size
    outage: outage.Size
    zones: zones.Size
    restart: restart.Size
    gateways: int
    instances: int
    runs: int


def sizes(instances: int, *, registered: int = 2000) -> Sizes:
    """Sizes for services of so many *instances*, with twice as many gateways, and so many *registered* in all."""
    gateways = 2 * instances
    return Sizes(
        storm.Size(gateways=gateways, instances=instances),
        outage.Size(gateways=gateways, instances=instances, services=registered // instances),
        zones.Size(gateways=gateways - gateways % 3, instances=instances - instances % 3, registered=registered),
        restart.Size(gateways=gateways, instances=instances),
        gateways, instances, 1 if instances > PAGE else len(SEEDS))


def storms(size: Sizes) -> dict[str, Any]:
    """A retry storm under different settings."""
    rows: dict[str, Any] = {}
    end, last = int(storm.ENDS_S), int(size.storm.seconds) - 10
    for name, settings in storm.VARIANTS.items():
        worlds = [storm.storm(settings, size.storm, seed) for seed in SEEDS[:size.runs]]
        rows[name] = {
            "before": fmean(each.share_served(5, 20) for each in worlds),
            "during": fmean(each.share_served(25, end) for each in worlds),
            "after": fmean(each.share_served(end + 20, last) for each in worlds),
            "recovery_s": [_finite(each.recovery_s(end)) for each in worlds],
            "load": fmean(_load(each, size.storm.capacity, 25, end) for each in worlds),
            "load_after": fmean(_load(each, size.storm.capacity, end + 20, last) for each in worlds),
            "served": _served(worlds[0])}
    return {"size": attrs.asdict(size.storm), "rows": rows}


def outages(size: Sizes) -> dict[str, Any]:
    """A registry that is away, and comes back."""
    rows: dict[str, Any] = {}
    back, first = int(size.outage.back_s), int(outage.BEGINS_S)
    for name, course in outage.VARIANTS.items():
        result = outage.outage(course, size.outage, SEED)
        world, machine = result.world, result.registry.machine
        rows[name] = {
            "before": world.share_served(first - 18, first), "first": world.share_served(first, first + 18),
            "last": world.share_served(back - 18, back), "back": world.share_served(back, back + 40),
            "later": world.share_served(back + 50, int(size.outage.seconds) - 5),
            "late_before": world.share_late(first - 18, first), "late_last": world.share_late(back - 18, back),
            "gone": result.gone, "least_listed": min(result.listed[back:]), "most": max(result.most[back + 1:back + 60]),
            "most_before": max(result.most[first - 18:first]),
            "registrations": max(result.registry.registrations[back:]),
            "evicted": machine.counts["evicted"], "served": _served(world)[back - 20:], "listed": result.listed[back - 20:]}
    return {"size": attrs.asdict(size.outage), "rows": rows}


def lost_zones(size: Sizes) -> dict[str, Any]:
    """A third of the instances is silent for two minutes."""
    rows: dict[str, Any] = {}
    lost, back = int(zones.LOST_S), int(zones.BACK_S)
    for name, what in zones.VARIANTS.items():
        world = zones.loss(what, size.zones, SEED)
        rows[name] = {
            "first": world.share_served(lost, lost + 20), "then": world.share_served(lost + 20, back),
            "back": world.share_served(back, int(size.zones.seconds) - 5), "late": _late(world),
            "late_before": world.share_late(0, lost), "late_first": world.share_late(lost, lost + 20),
            "late_then": world.share_late(back - 60, back), "late_back": world.share_late(back, back + 40)}
    return {"size": attrs.asdict(size.zones), "rows": rows}


def lists(size: Sizes) -> dict[str, Any]:
    """How long the registry lists the dead."""
    rows: dict[str, Any] = {}
    for share, over_s in ((0.1, 0.0), (0.33, 0.0), (0.33, 600.0), (0.33, 1200.0)):
        for threshold in (0.85, 0.5):
            dead = zones.listed(share, over_s, size.zones, SEED, threshold=threshold)
            rows[f"{share:.0%}, {'at once' if not over_s else f'in {over_s / 60:g} min'}, {threshold:g}"] = {
                "share": share, "over_s": over_s, "threshold": threshold, "most": max(dead), "last": dead[-1],
                "dead": dead[::10]}
    return {"registered": size.zones.registered, "rows": rows}


def rolls(size: Sizes) -> dict[str, Any]:
    """A rolling restart."""
    rows: dict[str, Any] = {}
    for name, roll in restart.VARIANTS.items():
        result = restart.rolling_restart(roll, size.restart, SEED)
        chosen = result.world.slices[int(restart.BEGINS_S):-5]
        asked = sum(each.asked for each in chosen)
        rows[name] = {"asked": asked, "lost": asked - sum(each.served for each in chosen), "cut": result.cut,
                      "most": max(result.most[5:])}
    return {"size": attrs.asdict(size.restart), "rows": rows}


def bad_gateways(size: Sizes) -> dict[str, Any]:
    """One gateway of many whose network is broken."""
    rows: dict[str, Any] = {}
    for name, user in (("users ask once", UserSettings(per_s=1.0, retry=None)),
                       ("users ask again", UserSettings(per_s=1.0))):
        result = bad_gateway(size.gateways, size.instances, SEED, user=user)
        rows[name] = {"served": result.world.share_served(20, 50), "there": result.opened_there,
                      "elsewhere": result.opened_elsewhere, "left_out_elsewhere": result.left_out_elsewhere}
    return {"gateways": size.gateways, "instances": size.instances, "rows": rows}


SECTIONS: Mapping[str, Callable[[Sizes], dict[str, Any]]] = {
    "storm": storms, "outage": outages, "zone": lost_zones, "lists": lists, "restart": rolls,
    "bad gateway": bad_gateways}


def _finite(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _load(world: World, capacity: float, start: int, end: int) -> float:
    return sum(each.attempts for each in world.slices[start:end]) / (end - start) / capacity


def _served(world: World) -> list[float | None]:
    """The share served, second by second; None: nobody asked."""
    return [round(each.served / each.asked, 4) if each.asked else None for each in world.slices[:-2]]


def _late(world: World) -> list[float | None]:
    return [round(each.late / each.served, 4) if each.served else None for each in world.slices[:-2]]
