"""20,000 instances with 64 KiB of metadata each were 1.3 GB that a registry kept, and put into every full list.

And a list was compressed for whoever asked, who might not take it so: of a large one that is most of the work.
"""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from resilience.discovery.registry.copies import Copies
from resilience.discovery.registry.instance_copy import InstanceCopy
from resilience.discovery.registry.refusal import RefusedError
from tests.discovery.registry.plain_registry import instance, moment
from tests.discovery.registry.test_eureka_rest import FULL, JSON, ONE, Api

NOW = moment(0.0)


def full() -> Api:
    """A registry with two instances, and room for 23 characters more."""
    api = Api(max_characters=1024)
    for identity in ("a", "b"):
        api.registry.register(instance(identity=identity, metadata={"m": "x" * 400}), "10.0.0.9", NOW)
    free = 1024 - api.registry.table.population.characters
    api.registry.register(instance(identity="b", metadata={"m": "x" * (400 + free - 23)}), "10.0.0.9", NOW)
    return api


def says(api: Api, identity: str, size: int) -> None:
    api.registry.register(instance(identity=identity, metadata={"m": "y" * size}), "10.0.0.9", NOW)


def test_who_would_say_too_much_is_refused_and_who_says_less_is_not() -> None:
    api = full()
    for identity, size in (("c", 100), ("a", 424)):
        with pytest.raises(RefusedError, match="1024 characters") as error:
            says(api, identity, size)
        assert 429 == error.value.status
    with pytest.raises(RefusedError):
        api.registry.update_metadata("SHOP", "a", {"n": "y" * 23}, NOW)
    assert 429 == api.status("PUT", "/apps/SHOP/a/metadata?n=" + "y" * 23)
    assert 1024 - 23 == api.registry.table.population.characters
    says(api, "a", 423)
    says(api, "a", 100)
    says(api, "c", 200)
    for identity in "abc":
        assert api.registry.cancel("SHOP", identity, NOW)
    assert 0 == api.registry.table.population.characters


def test_what_another_registry_says_is_bounded_as_well() -> None:
    api, other = full(), Api()
    says(other, "c", 100)
    lease: Any = other.registry.lease("SHOP", "c")
    with pytest.raises(RefusedError, match="1024 characters"):
        Copies(api.registry).merge(InstanceCopy.of(lease, NOW), lease.entry.instance, "10.0.0.9", NOW)


def test_nor_does_another_registry_have_an_instance_grow_beyond_that() -> None:
    api, other, later = full(), Api(), moment(1.0)
    other.registry.register(instance(identity="a", metadata={"m": "y" * 424}, dirty_ms=later.unix_ms), "10.0.0.9", later)
    lease: Any = other.registry.lease("SHOP", "a")
    with pytest.raises(RefusedError, match="1024 characters"):
        Copies(api.registry).merge(InstanceCopy.of(lease, later), lease.entry.instance, "10.0.0.9", later)
    assert 1024 - 23 == api.registry.table.population.characters


def test_a_list_is_compressed_for_whoever_takes_it_so(monkeypatch: pytest.MonkeyPatch) -> None:
    api, packed, make = Api(), list[int](), zlib.compressobj

    def compressobj(*how: Any) -> Any:
        packed.append(1)
        return make(*how)

    monkeypatch.setattr(zlib, "compressobj", compressobj)
    assert 204 == api.status("POST", "/apps/SHOP", FULL)
    paths = ("/apps", "/apps/delta", "/apps/SHOP", ONE, "/vips/shop")
    for path in paths:
        assert 200 == api.ask("GET", path, headers=JSON).status
    assert not packed
    for path in paths:
        assert 200 == api.ask("GET", path, headers={**JSON, b"accept-encoding": b"gzip"}).status
    assert packed
