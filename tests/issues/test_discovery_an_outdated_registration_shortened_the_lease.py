"""A registration that another has overtaken on its way renews the lease, and says nothing of it."""

import itertools

from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.settings import RegistrySettings
from tests.discovery.registry.plain_registry import EPOCH_MS, instance, moment


def test_an_outdated_registration_renews_the_lease_and_changes_nothing_else():
    for duration_s, status, defects in itertools.product((1, 90, 3600), ("UP", "DOWN"), (False, True)):
        registry = InstanceRegistry(RegistrySettings(original_defects=defects), moment(0.0))
        registry.register(instance(duration_s=90, metadata={"zone": "a"}), "10.0.0.1", moment(0.0))
        lease = registry.lease("SHOP", "a")
        before = lease.entry, lease.version, lease.said, lease.source, lease.duration_s, lease.arrived
        told = []
        registry.changed = lambda key, change, told=told: told.append(change.name)
        late = instance(duration_s=duration_s, status=status, dirty_ms=EPOCH_MS - 1000, metadata={"zone": "b"})
        registry.register(late, "10.0.0.2", moment(5.0))
        assert before == (lease.entry, lease.version, lease.said, lease.source, lease.duration_s, lease.arrived)
        assert (lease.renewed_s, lease.ends_s, told) == (5.0, 95.0, ["RENEWED"])
