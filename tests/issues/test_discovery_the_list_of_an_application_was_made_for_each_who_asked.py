"""Each gateway without deltas asks for its application every five seconds; the text was joined and compressed each time."""

from __future__ import annotations

import attrs

from resilience.discovery.registry.documents import Documents
from resilience.discovery.registry.entry import Form
from resilience.discovery.registry.instance import Instance
from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.moment import Moment
from resilience.discovery.registry.settings import RegistrySettings

NOW = Moment(1000.0, 1_700_000_000_000)
ONE = Instance(app="SHOP", id="one", host_name="one.example", ip_addr="10.0.0.1")


def test_it_is_made_once_until_something_changes() -> None:
    registry, documents = InstanceRegistry(RegistrySettings(), NOW), Documents()
    registry.register(ONE, "10.0.0.1", NOW)
    registry.register(attrs.evolve(ONE, app="CART"), "10.0.0.1", NOW)
    assert documents.application(registry.snapshot(), "NONE", Form.JSON) is None
    made = {(name, form): documents.application(registry.snapshot(), name, form)
            for name in ("SHOP", "CART") for form in Form}
    registry.renew("SHOP", "one", NOW)
    for (name, form), document in made.items():
        assert document is documents.application(registry.snapshot(), name, form)
    registry.register(attrs.evolve(ONE, id="two"), "10.0.0.1", NOW)
    changed = documents.application(registry.snapshot(), "SHOP", Form.JSON)
    assert changed is not None
    assert b'"two"' in changed.plain
