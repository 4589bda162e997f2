"""Why an instance is still listed, until when, and what would end that. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .instance_registry import InstanceRegistry
from .lease import Lease, Tombstone
from .moment import Moment


def explained(registry: InstanceRegistry, app: str, identity: str, now: Moment) -> dict[str, Any] | None:
    """What there is to say of an instance, for JSON; None: it is not known.

    Args:
        registry: Has it.
        app: In upper case.
        identity: Of the instance.
        now: The time.
    """
    lease = registry.lease(app, identity)
    if lease is not None:
        return _of_lease(registry, lease, now)
    grave = registry.tombstone(app, identity, now)
    return None if grave is None else _of_tombstone(app, identity, grave, now)


def preservation(registry: InstanceRegistry, now: Moment) -> dict[str, Any]:
    """The state of self-preservation, for JSON."""
    state = registry.preservation
    return {"enabled": state.enabled, "expected_instances": state.expected, "threshold": state.threshold,
            "renewals_last_minute": registry.renewals_last_minute(now),
            "allows_eviction": registry.allows_eviction(now),
            "next_eviction_in_s": round(max(0.0, registry.next_eviction_s - now.s), 3),
            "eviction_quota": registry.eviction_quota}


def _of_lease(registry: InstanceRegistry, lease: Lease, now: Moment) -> dict[str, Any]:
    instance, left_s = lease.entry.instance, lease.ends_s - now.s
    ahead_s = (instance.dirty_ms - lease.arrived.unix_ms) / 1000
    return {
        "listed": True, "app": instance.app, "instance": instance.id, "status": instance.status,
        "overridden_status": lease.override, "registered_by": lease.source,
        "because": _because(lease, left_s, now), "until": _time(now, left_s),
        "evicted_by": _evicted_by(registry, lease, now),
        "lease": {
            "began": _time(now, lease.began.s - now.s), "renewed": _time(now, lease.renewed_s - now.s),
            "renewals": lease.renewals, "duration_s": lease.duration_s, "left_s": round(left_s, 3)},
        "clock_ahead_s": round(ahead_s, 3) if ahead_s > 0 else 0,
        "self_preservation": preservation(registry, now)}


def _because(lease: Lease, left_s: float, now: Moment) -> str:
    ago = f"{now.s - lease.renewed_s:.0f} s ago"
    what = f"it renewed its lease {ago}" if lease.renewals else f"it registered {ago}, and has not renewed since"
    if left_s > 0:
        return f"{what}; the lease lasts for {lease.duration_s} s"
    return f"{what}; the lease ran out {-left_s:.0f} s ago, but it has not been evicted yet"


def _evicted_by(registry: InstanceRegistry, lease: Lease, now: Moment) -> str:
    """What would end its being listed, in a sentence."""
    state, wait_s = registry.preservation, max(0.0, registry.next_eviction_s - now.s)
    ends_s = lease.ends_s - now.s
    if ends_s > wait_s:  # a later round
        interval = registry.settings.eviction_interval
        wait_s += -(-(ends_s - wait_s) // interval) * interval
    when = f"the eviction in {wait_s:.0f} s, unless it renews before"
    renewals = registry.renewals_last_minute(now)
    if not registry.is_complete:
        return f"{when}, and only once this registry has the instances of another one"
    if not registry.allows_eviction(now):
        return (f"{when}, and only if self-preservation ends: of more than {state.threshold} renewals that must come "
                f"in a minute, {renewals} came in the last one")
    over = sum(each.ends_s < now.s for each in registry.leases())
    if over > registry.eviction_quota:
        return (f"{when}, or a later one: {over} leases have run out, and {registry.eviction_quota} are evicted at a "
                "time")
    return when


def _of_tombstone(app: str, identity: str, grave: Tombstone, now: Moment) -> dict[str, Any]:
    return {
        "listed": False, "app": app, "instance": identity, "left": _time(now, grave.left.s - now.s),
        "because": "it has left; a registration from before is refused for the time that its lease would have lasted",
        "until": _time(now, grave.until_s - now.s)}


def _time(now: Moment, in_s: float) -> str:
    """The time in so many seconds from *now*, as RFC 3339 writes it."""
    return datetime.fromtimestamp(now.unix_ms / 1000 + in_s, UTC).isoformat(timespec="milliseconds")
