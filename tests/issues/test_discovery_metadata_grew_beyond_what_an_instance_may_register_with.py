"""`PUT metadata` added pairs without a bound but their number: 1000 instances of one address could be 400 MB in every list."""

from __future__ import annotations

import pytest

from resilience.discovery.registry.instance_registry import InstanceRegistry
from resilience.discovery.registry.moment import Moment
from resilience.discovery.registry.refusal import RefusedError
from resilience.discovery.registry.settings import RegistrySettings
from tests.discovery.registry.plain_registry import EPOCH_MS, instance

NOW = Moment(0.0, EPOCH_MS)


def test_all_metadata_of_an_instance_is_as_large_as_a_registration_at_most() -> None:
    registry = InstanceRegistry(RegistrySettings(max_body_bytes=1024), NOW)
    registry.register(instance(metadata={"a": "x" * 500}), "10.0.0.9", NOW)
    assert registry.update_metadata("SHOP", "a", {"b": "y" * 522}, NOW)
    with pytest.raises(RefusedError, match="128 pairs and 1024 bytes"):
        registry.update_metadata("SHOP", "a", {"c": ""}, NOW)
    assert registry.update_metadata("SHOP", "a", {"b": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 261}, NOW), "bytes count"
    with pytest.raises(RefusedError):
        registry.update_metadata("SHOP", "a", {"b": "\N{LATIN SMALL LETTER E WITH ACUTE}" * 262}, NOW)
